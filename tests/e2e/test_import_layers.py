"""The layers of the packages hold, and the contracts that say so can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("agent", "sandbox", "selection"):
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts() -> None:
    code, output = lint(ROOT)
    assert code == 0, output


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("sandbox/intruder.py", "import agent.instances", "sandbox imports none of ours"),
        ("agent/context/intruder.py", "import selection", "only agent.cli imports selection"),
        ("agent/llm/intruder.py", "import agent.cli", "layers of agent"),
        ("selection/intruder.py", "import agent.cli", "agent.cli is the composition root"),
        ("agent/llm/intruder.py", "import agent.trajectory.flow", "layers of agent"),
        ("agent/edits/intruder.py", "import agent.trajectory.journal", "layers of agent"),
        ("agent/intruder.py", "import selection", "only agent.cli imports selection"),
        ("selection/votes.py", "import selection.gold", "only evaluation knows the labels"),
    ],
)
def test_contracts_catch(copy: Path, module: str, line: str, contract: str) -> None:
    (copy / module).write_text(f'"""An intruder."""\n\n{line}\n')
    code, output = lint(copy)
    assert code == 1
    assert f"{contract} BROKEN" in output

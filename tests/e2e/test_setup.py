"""scripts/setup makes a working environment, is quick when repeated, and says what to do where it cannot; the lock fits."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "cut", "cmp", "dirname", "env", "flock", "grep", "id", "mkdir", "rm", "sed", "sha256sum")
PINNED = re.compile(r"^([a-z0-9.-]+)==(\S+?)(?: ; (.+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout"
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z", "--", ":!tests", ":!runs"]
    for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with neither a Python nor apt-get nor uv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    return folder


def setup(checkout: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "scripts" / "setup")]
    clean = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHON"}}
    return subprocess.run(command, env={**clean, **environ}, capture_output=True, text=True, check=False)


def test_no_interpreter(checkout: Path, bare_path: Path) -> None:
    done = setup(checkout, PATH=str(bare_path))
    assert done.returncode == 4
    assert done.stderr.startswith("error: no Python 3.11 or newer\n  where: PATH\n  try:   apt-get install python3 ")


def test_interpreter_with_neither_ensurepip_nor_pip(checkout: Path, bare_path: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for module in ("ensurepip", "pip"):
        (blocked / f"{module}.py").write_text("raise ImportError\n")
    python = tmp_path / "python"
    python.write_text(f'#!/usr/bin/env bash\nPYTHONPATH={blocked} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = setup(checkout, PATH=str(bare_path), PYTHON=str(python))
    assert done.returncode == 4
    assert "neither ensurepip nor pip" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_environment(checkout: Path) -> None:
    first = setup(checkout)
    assert first.returncode == 0, first.stderr
    python = checkout / ".venv" / "bin" / "python"
    code = "import agent, selection, openai, pytest; print(agent.__file__)"
    shown = subprocess.run([str(python), "-c", code], cwd="/", capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(checkout / "agent" / "__init__.py")

    again = setup(checkout)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# a change\n")
    assert "locked packages" in setup(checkout).stdout


def pins() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, version, _, _ in PINNED.findall((ROOT / "scripts" / "requirements.lock").read_text()):
        found.setdefault(name, []).append(version)
    return found


def test_lock_covers_every_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [Requirement(text) for text in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]]
    locked = pins()
    for requirement in wanted:
        versions = locked.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
        assert versions, f"{requirement} is not locked: scripts/lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: scripts/lock"


def test_lock_holds_pins_with_hashes_and_nothing_else() -> None:
    text = (ROOT / "scripts" / "requirements.lock").read_text()
    assert len(pins()) > 50
    assert PINNED.sub("", text).strip() == ""

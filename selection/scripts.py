"""The scripts that vote in an ensemble: final scripts of the runs among its members, and files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.jsonl import DamagedFile
from sandbox.api import Language, Script
from sandbox.errors import InputError
from sandbox.matrix import Matrix
from selection.ensemble import Member

MATRIX = "04_matrix.json"
"""In an instance's folder of a run: the final scripts of its samples, with what became of them there."""
LANGUAGES: dict[str, Language] = {".py": "python", ".sh": "bash"}


@dataclass(frozen=True, slots=True)
class Scripts:
    """Where scripts lie."""

    runs: tuple[tuple[str, Path], ...] = ()
    """Members that are runs: (name, folder)."""
    folder: Path | None = None
    """Holds a folder for each instance, with scripts that end in `.py` or `.sh`."""

    def __post_init__(self) -> None:
        """Raises InputError for a folder that is not there."""
        if self.folder is not None and not self.folder.is_dir():
            raise InputError("no such folder", where=str(self.folder), hint="name one that holds INSTANCE/*.py: --scripts")

    def of(self, instance: str) -> tuple[tuple[str, Script], ...]:
        """(origin, script), in a lasting order. Raises DamagedFile for a matrix that cannot be read."""
        found = [
            (f"{name}/{number}", script)
            for name, folder in self.runs
            for number, script in enumerate(_of_run(folder / instance / MATRIX))
        ]
        files = sorted((self.folder / instance).glob("*")) if self.folder else []
        found += [(file.name, _read(file)) for file in files if file.suffix in LANGUAGES and file.is_file()]
        return tuple(found)


def runs_among(members: Sequence[Member]) -> tuple[tuple[str, Path], ...]:
    """The members whose predictions lie in the folder of a run."""
    folders = ((member.name, Path(member.predictions.source).parent) for member in members)
    return tuple((name, folder) for name, folder in folders if (folder / "manifest.json").is_file())


def _of_run(place: Path) -> tuple[Script, ...]:
    if not place.is_file():
        return ()
    try:
        return Matrix.from_json(place.read_text(encoding="utf-8")).scripts
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"damaged: {error}", where=str(place), hint="move it away, and its scripts do not vote") from error


def _read(file: Path) -> Script:
    return Script(file.read_text(encoding="utf-8", errors="surrogateescape"), LANGUAGES[file.suffix])

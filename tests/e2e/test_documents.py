"""What the documents name exists: commands, files, links, versions."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "runs" / "README.md", ROOT / "CHANGELOG.md"]
ENTRIES = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])


def commands(text: str) -> Iterator[str]:
    """The first word of every line in the shell blocks."""
    for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield from (line.split()[0] for line in block.splitlines() if line and line[0] not in " #")


def links(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text) if "://" not in link]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links(document: Path) -> None:
    assert [link for link in links(document.read_text()) if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_commands(document: Path) -> None:
    named = {command for command in commands(document.read_text()) if "/" in command}
    missing = {command for command in named if not os.access(ROOT / command, os.X_OK) and Path(command).name not in ENTRIES}
    assert missing == set()


def test_quick_start() -> None:
    assert list(commands((ROOT / "README.md").read_text()))[:2] == ["./scripts/demo", "./scripts/test"]


def test_folders_of_the_map() -> None:
    table = (ROOT / "README.md").read_text().partition("## Where things are")[2].partition("\n## ")[0]
    folders = re.findall(r"^\| `([^`]+)/` \|", table, flags=re.MULTILINE)
    assert {"agent", "sandbox", "selection", "tests", "runs", "scripts"} <= set(folders)
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_index_lists_every_page() -> None:
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert pages - set(links((ROOT / "docs" / "index.md").read_text())) == set()

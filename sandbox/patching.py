"""Which patches are refused before anything runs, and why.

Putting an accepted patch on the tree happens inside the sandbox (`applying.apply_patch`): `git apply`, then the same
ignoring white space in the context, then `patch -p1` with fuzz. What is refused here is what could reach beyond the
tree or outlive the execution: paths that leave the tree or enter `.git`, links, submodules; and binary files, which no
model writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", re.ASCII)
MODE = re.compile(
    r"(?:new file mode|new mode|old mode|deleted file mode)\s+0*(\d+)|index\s+[0-9a-f]+\.\.[0-9a-f]+\s+0*(\d+)", re.ASCII
)
"""As leniently as git reads them: leading zeros and trailing blanks count for nothing."""
MODES = {"120000": "it makes or changes a symbolic link", "160000": "it makes or changes a submodule"}
PLAIN_MODES = ("100644", "100755", "100664")
DEV_NULL = "/dev/null"
NAMED = ("--- ", "+++ ", "rename from ", "rename to ", "copy to ")
OTHER_FORMATS = ("*** ", "Index:", "Prereq:")
"""Headers of context diffs and the like, which `patch` would read and this check would not."""
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def check(patch: str) -> str:
    """Why this diff is refused, in words that a model can act on; empty if it is not."""
    if not patch.strip():
        return "the patch is empty"
    if "\0" in patch:
        return "the patch holds a NUL character"
    headers = list(header_lines(patch))
    if reason := next(filter(None, map(line_fault, headers)), ""):
        return reason
    return "" if any(map(paths_in, headers)) else "it is not a diff: no file header was found"


def named(patch: str) -> list[str]:
    """Every path that a header line of the diff names, in order of appearance."""
    return list(dict.fromkeys(path for line in header_lines(patch) for path in paths_in(line)))


def line_fault(line: str) -> str:
    """What is wrong with a header line; empty if nothing is."""
    if line.startswith(("GIT binary patch", "Binary files ")):
        return "it changes a binary file"
    if line.startswith(OTHER_FORMATS):
        return "it is not a unified diff as git writes it"
    if mode := MODE.match(line):
        number = mode[1] or mode[2]
        return "" if number in PLAIN_MODES else MODES.get(number, f"it sets the file mode {number}")
    faults = (f"{reason}: {path}" for path in paths_in(line) if (reason := path_fault(path)))
    return next(faults, "")


def header_lines(patch: str) -> Iterator[str]:
    """The lines outside the hunks: a removed line may look like a header (`--- a`), so hunks are counted through."""
    old = new = 0
    for line in patch.split("\n"):
        if old > 0 or new > 0:
            old -= not line.startswith(("+", "\\"))
            new -= not line.startswith(("-", "\\"))
            continue
        if hunk := HUNK.match(line):
            old, new = int(hunk[1] or 1), int(hunk[2] or 1)
            continue
        yield line.rstrip("\r")


def paths_in(line: str) -> list[str]:
    """The paths, relative to the tree, that a header line names. `/dev/null` is none."""
    for start in ("--- ", "+++ "):
        if line.startswith(start):
            name = unquote(line[len(start) :].partition("\t")[0].rstrip())
            return [] if name == DEV_NULL else [without_prefix(name)]
    for start in ("rename from ", "rename to ", "copy from ", "copy to "):
        if line.startswith(start):
            return [unquote(line[len(start) :])]
    if line.startswith("diff --git "):
        return [without_prefix(name) for name in split_names(line[len("diff --git ") :])]
    return []


def split_names(names: str) -> list[str]:
    """Both names of a `diff --git` line, quoted or plain; plain names with spaces are split where they are equal."""
    if quoted := re.fullmatch(r'("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)', names):
        return [unquote(quoted[1]), unquote(quoted[2])]
    middle = names.find(" b/")
    return [names[:middle], names[middle + 1 :]] if middle > 0 else [names]


def unquote(name: str) -> str:
    """A path as git writes it: in double quotes with C escapes, byte by byte, where it holds unusual characters."""
    if not (len(name) > 1 and name[0] == name[-1] == '"'):
        return name

    def plain(escape: re.Match[bytes]) -> bytes:
        if escape[1].isdigit():
            return bytes([int(escape[1], 8) & 0xFF])
        return ESCAPES.get(escape[1].decode("latin-1"), "").encode() or escape[1]

    raw = name[1:-1].encode("utf-8", "surrogateescape")
    return re.sub(rb"\\([0-7]{3}|.)", plain, raw, flags=re.DOTALL).decode("utf-8", "surrogateescape")


def touched(patch: str) -> list[tuple[str, str]]:
    """The files that a diff touches, in order of appearance: (old name, new name), which differ where it renames one."""
    files: list[dict[str, str]] = []
    for line in header_lines(patch):
        if line.startswith("diff --git "):
            files.append({"diff": line.removeprefix("diff --git ")})
        start = next((start for start in NAMED if line.startswith(start)), None)
        if start and files:
            files[-1][start] = unquote(line.removeprefix(start).partition("\t")[0])
    return [_names(file) for file in files]


def _names(said: Mapping[str, str]) -> tuple[str, str]:
    """Both names of one file, by what its header lines say."""
    old, new = said.get("rename from "), said.get("rename to ") or said.get("copy to ")
    for start in ("+++ ", "--- "):
        if new is None and said.get(start, DEV_NULL) != DEV_NULL:
            new = without_prefix(said[start])
    new = new or _same_name(said["diff"])
    return old or new, new


def _same_name(names: str) -> str:
    """The name on a `diff --git` line whose two names are the same, as they are where nothing else tells them."""
    if names.endswith('"'):
        return without_prefix(unquote(names[names.find('"', 1 + len(names) // 2) :]))
    return names[2 : (len(names) - 1) // 2]


def without_prefix(name: str) -> str:
    """The path without `a/` or `b/`; a path that has neither loses nothing, so that an absolute one stays visible."""
    return name[2:] if name[:2] in ("a/", "b/") else name


def path_fault(path: str) -> str:
    """What is wrong with a path; empty if nothing is."""
    if path.startswith("/"):
        return "an absolute path"
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts:
        return "an empty path"
    if ".." in parts:
        return "a path with `..`"
    if any(part.casefold().rstrip(". ") == ".git" or part.casefold() == "git~1" for part in parts):
        return "a path in .git"
    return ""

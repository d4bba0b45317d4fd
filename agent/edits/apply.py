"""From the text of an `<edit>` to a git diff, or to what is wrong with it: all blocks or none.

Every edit applies to the original files, never on top of an earlier edit, so a reply can be judged by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from agent.edits.diagnose import excerpt, feedback, miss_fault, near_paths, overlaps
from agent.edits.diff import Change, diff_of
from agent.edits.match import Miss, Region, locate, replaced, restore, rewritten
from agent.edits.parse import parse
from agent.edits.types import Create, Delete, Edit, EditFault, FaultKind, Faults, Lines, Replace, Rewrite, Tree
from sandbox.api import Patch

SHOWN_CHARS = 24_000
"""Characters of files outside the context that the feedback shows, all of them together."""
_SHOWN_FILES = 4


def interpret(
    text: str,
    *,
    repository: Tree,
    context_paths: Collection[str] | None = None,
    in_part: Collection[str] = (),
    fences: bool = False,
    closed: bool = False,
    shown_chars: int = SHOWN_CHARS,
) -> Patch | Faults:
    """The patch that an edit asks for.

    `context_paths`: existing files that the model has seen and may change, None for all. `in_part`: those of them that
    it has not seen whole, so that it cannot rewrite them. `fences`, `closed`: see `parse`.
    What the model got wrong comes back as `Faults`. Raises InfrastructureError if the repository cannot be read or git
    cannot write the diff.
    """
    parsed = parse(text, fences=fences, closed=closed)
    work = _Work(repository, context_paths, in_part)
    for path in dict.fromkeys(edit.path for edit in parsed.edits):
        work.take(path, [edit for edit in parsed.edits if edit.path == path])
    work.check_new_folders()
    faults = [*parsed.faults, *work.faults]
    if not faults and not work.changes:
        faults.append(EditFault(FaultKind.NO_CHANGE, 0, "the edit leaves every file as it is"))
    if not faults:
        return diff_of(work.changes)
    faults.sort(key=lambda fault: fault.block)
    shown = _shown(repository, parsed.edits, faults, shown_chars)
    return Faults(feedback(faults, [edit.number for edit in parsed.edits], shown), tuple(faults), tuple(shown))


def _shown(tree: Tree, edits: Sequence[Edit], faults: Sequence[EditFault], limit: int) -> dict[str, str]:
    """Excerpts of files that the model had not seen, around what it wanted to change."""
    unseen = list(dict.fromkeys(fault.path for fault in faults if fault.kind is FaultKind.OUTSIDE_CONTEXT))[:_SHOWN_FILES]
    searches = {edit.path: edit.halves[0][0] for edit in edits if isinstance(edit, Replace)}
    share = limit // max(1, len(unseen))
    return {path: excerpt(tree.decode(path).text, share, searches.get(path, ())) for path in unseen}


async def interpret_aside(
    text: str,
    *,
    repository: Tree,
    context_paths: Collection[str] | None = None,
    in_part: Collection[str] = (),
    fences: bool = False,
    closed: bool = False,
) -> Patch | Faults:
    """`interpret` on a thread: its git processes would hold up the other trajectories of the loop."""
    return await asyncio.to_thread(
        interpret, text, repository=repository, context_paths=context_paths, in_part=in_part, fences=fences, closed=closed
    )


class _Work:
    """Collects changes and faults, path by path."""

    def __init__(self, tree: Tree, seen: Collection[str] | None, in_part: Collection[str] = ()) -> None:
        self.changes: dict[str, Change] = {}
        self.faults: list[EditFault] = []
        self._tree = tree
        self._seen = seen
        self._in_part = in_part
        self._new: dict[str, int] = {}

    def take(self, path: str, edits: Sequence[Edit]) -> None:
        """All edits of one path."""
        edits = [self._plain(edit) for edit in edits]
        problems = [fault for edit in edits if (fault := self._place_problem(edit))]
        whole = [edit for edit in edits if not isinstance(edit, Replace)]
        if whole and len(edits) > 1:
            message = f"block {edits[0].number} and this one both change `{path}`, and one of them as a whole"
            problems.append(EditFault(FaultKind.OVERLAP, edits[-1].number, message, path))
        if problems:
            self.faults += problems
            return
        replaces = [edit for edit in edits if isinstance(edit, Replace)]
        if replaces:
            self._replace(path, replaces)
        for edit in whole:
            self._change(edit, None if isinstance(edit, Delete) else edit.lines)

    def check_new_folders(self) -> None:
        """New files may not lie below other new files."""
        for path, number in self._new.items():
            above = next((other for other in self._new if path.startswith(other + "/")), None)
            if above:
                self._fault(FaultKind.BAD_PATH, number, f"the edit makes `{above}` a file and a folder at once", path)

    def _plain(self, edit: Edit) -> Edit:
        """A search block without search lines means the whole file where that can be no mistake."""
        if not isinstance(edit, Replace) or any(line.strip() for line in edit.halves[0][0]):
            return edit
        entry = self._tree.entry(edit.path)
        if entry is None:
            return Create(edit.number, edit.path, edit.halves[0][1])
        return Rewrite(edit.number, edit.path, edit.halves[0][1]) if not entry.size else edit

    def _place_problem(self, edit: Edit) -> EditFault | None:
        """What is wrong with the block whatever the file's text is."""
        path = edit.path
        if self._tree.entry(path) is None:
            found = self._absent_problem(edit)
        elif self._seen is not None and path not in self._seen:
            found = FaultKind.OUTSIDE_CONTEXT, "you had not seen this file, so its text follows below"
        elif isinstance(edit, Rewrite) and path in self._in_part:
            found = FaultKind.SEEN_IN_PART, "you were shown parts of this file; change it with SEARCH blocks"
        elif isinstance(edit, Create):
            found = FaultKind.FILE_EXISTS, "the file exists; change it with SEARCH blocks, or rewrite it in a FILE block"
        elif isinstance(edit, Replace) and not any(line.strip() for line in edit.halves[0][0]):
            found = FaultKind.EMPTY_SEARCH, "there are no lines to find; copy the lines that the new ones go next to"
        else:
            found = None
        return EditFault(found[0], edit.number, found[1], path) if found else None

    def _absent_problem(self, edit: Edit) -> tuple[FaultKind, str] | None:
        """What is wrong with a block for a path at which there is no regular file."""
        path = edit.path
        if path in self._tree.special:
            return FaultKind.BAD_PATH, "this is a symbolic link or a submodule"
        if problem := self._blocked(path):
            return FaultKind.BAD_PATH, problem
        if not isinstance(edit, Replace | Delete):
            return None
        near = near_paths(path, [file.path for file in self._tree.files()])
        meant = f"; near it: {', '.join(f'`{other}`' for other in near)}" if near else ""
        kind = FaultKind.UNKNOWN_PATH if isinstance(edit, Replace) else FaultKind.FILE_MISSING
        return kind, f"the repository has no file `{path}`{meant}"

    def _blocked(self, path: str) -> str:
        """Why no new file can be at this path."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if self._tree.entry(above) or above in self._tree.special:
                return f"`{above}` is not a folder"
        below = any(file.path.startswith(path + "/") for file in self._tree.files())
        return f"`{path}` is a folder" if below else ""

    def _replace(self, path: str, edits: Sequence[Replace]) -> None:
        original = self._tree.decode(path).text
        regions: list[Region] = []
        for edit in edits:
            match locate(edit, original):
                case Region() as region:
                    regions.append(region)
                case Miss() as miss:
                    others = [other for other in sorted(self._seen or ()) if self._tree.entry(other)]
                    read = lambda other: self._tree.decode(other).text  # noqa: E731  used in the next line alone
                    self.faults.append(miss_fault(edit, miss, original, others=others, read=read))
        clashes = overlaps(path, regions)
        self.faults += clashes
        if len(regions) == len(edits) and not clashes:
            self._put(path, edits[-1].number, replaced(original, regions))

    def _change(self, edit: Create | Rewrite | Delete, lines: Lines | None) -> None:
        path = edit.path
        if lines is None:
            self._record(path, None)
            return
        original = self._tree.decode(path).text if self._tree.entry(path) else None
        if original is None:
            self._new[path] = edit.number
        self._put(path, edit.number, rewritten(original, restore(lines, original or "")))

    def _put(self, path: str, number: int, text: str) -> None:
        try:
            encode = self._tree.decode(path).encode if self._tree.entry(path) else str.encode
            self._record(path, encode(text))
        except UnicodeEncodeError as error:
            character = error.object[error.start : error.start + 1]
            message = f"the file is in {error.encoding}, which has no {character!r}"
            self._fault(FaultKind.NOT_ENCODABLE, number, message, path)

    def _record(self, path: str, after: bytes | None) -> None:
        entry = self._tree.entry(path)
        before = self._tree.read_bytes(path) if entry else None
        if before != after:
            self.changes[path] = Change(before, after, entry.mode if entry else "100644")

    def _fault(self, kind: FaultKind, number: int, message: str, path: str) -> None:
        self.faults.append(EditFault(kind, number, message, path))

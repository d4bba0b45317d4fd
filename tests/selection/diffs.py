"""Diffs for tests of selection, made from texts."""

from __future__ import annotations

from difflib import unified_diff

from sandbox.api import Patch


def diff(before: str, after: str, path: str = "shop/till.py", *, context: int = 3) -> str:
    """The diff of one file, as git writes it; an empty `before` makes the file, an empty `after` deletes it."""
    head = [f"diff --git a/{path} b/{path}\n"]
    head += ["new file mode 100644\n"] * (not before) + ["deleted file mode 100644\n"] * (not after)
    names = f"a/{path}" if before else "/dev/null", f"b/{path}" if after else "/dev/null"
    lines = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), *names, n=context)
    return "".join([*head, *lines])


def patch(before: str, after: str, path: str = "shop/till.py", *, context: int = 3) -> Patch:
    return Patch(diff(before, after, path, context=context))

"""The files of a repository at one commit, straight from git objects.

No checkout: the user's work tree is neither read nor touched, a bare clone does as well, and no more than one file's
content is in memory at a time. One `git ls-tree` lists, one lasting `git cat-file --batch` reads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from platformdirs import user_cache_path

from agent.encodings import Text, decode
from agent.languages import language_of
from agent.revisions import commands, is_url, masked, name_from, open_path, open_url, resolve, work_tree
from sandbox.errors import InfrastructureError

if TYPE_CHECKING:
    from git import Repo

_REGULAR = ("100644", "100755", "100664")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A regular file at the commit."""

    path: str
    """Relative to the root, with `/`; bytes that are not UTF-8 are surrogate escapes."""
    blob: str
    """Hexadecimal id of its content."""
    size: int
    """Bytes."""
    mode: str
    """`100644` or `100755`."""
    language: str
    """By extension (`agent.languages`); empty if unknown."""


class Repository:
    """A repository at a commit. Safe to read from several threads; close it, or use it as a context manager."""

    def __init__(self, repo: Repo, commit: str, where: str) -> None:
        """Use `open`. `where` names the repository in messages."""
        self._repo = repo
        self._git = commands(repo)
        self._lock = threading.Lock()
        self.commit = commit
        """Full hexadecimal id."""
        self.where = where

    @classmethod
    def open(cls, source: str | Path, revision: str = "HEAD", *, cache_dir: Path | None = None) -> Self:
        """Open a path (work tree, folder inside one, bare repository, .git) or a URL at a revision.

        A URL is cloned bare into `cache_dir`, by default the user's cache. Raises InputError (not a repository, unknown
        revision) and InfrastructureError (the remote cannot be reached).
        """
        where = masked(str(source))
        if is_url(str(source)):
            repo = open_url(str(source), revision, cache_dir or user_cache_path("runoff"))
        else:
            repo = open_path(Path(source).expanduser())
            where = str(work_tree(repo) or repo.git_dir)
        try:
            return cls(repo, resolve(repo, revision, where), where)
        except BaseException:
            repo.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the reading process."""
        with self._lock:
            self._git.clear_cache()
            self._repo.close()

    @property
    def path(self) -> Path:
        """The work tree, or the git directory of a bare repository."""
        return work_tree(self._repo) or Path(self._repo.git_dir)

    @cached_property
    def name(self) -> str:
        """`owner/name` from the remote's URL, else the folder's name."""
        remotes = {remote.name: remote for remote in self._repo.remotes}
        remote = remotes.get("origin") or next(iter(remotes.values()), None)
        if remote is not None and (name := name_from(remote.url)):
            return name
        return self.path.resolve().name.removesuffix(".git") or "repository"

    @property
    def has_work_tree(self) -> bool:
        """Whether there are files of the user's; a bare repository and a URL's clone have none."""
        return work_tree(self._repo) is not None

    @property
    def dirty(self) -> str:
        """What the work tree has that no commit has, such as `2 changed, 1 untracked`; empty if clean or bare."""
        from git import GitError

        if not self.has_work_tree:
            return ""
        try:
            states = [line[:2] for line in str(self._git.status("--porcelain")).splitlines()]
        except GitError:  # a damaged index is the work tree's affair; files are read from the commit
            return ""
        untracked = states.count("??")
        counts = ((len(states) - untracked, "changed"), (untracked, "untracked"))
        return ", ".join(f"{count} {what}" for count, what in counts if count)

    @property
    def tag(self) -> str:
        """The nearest tag among the commit and its ancestors; empty if there is none."""
        from git import GitError

        try:
            return str(self._git.describe("--tags", "--abbrev=0", self.commit))
        except GitError:
            return ""

    def files(self) -> tuple[SourceFile, ...]:
        """All regular files at the commit, in git's order. Symbolic links and submodules are not among them."""
        return self._tree[0]

    def entry(self, path: str) -> SourceFile | None:
        """The regular file at a path."""
        return self._by_path.get(path)

    @property
    def special(self) -> frozenset[str]:
        """Paths of symbolic links and submodules."""
        return self._tree[1]

    def read_bytes(self, path: str) -> bytes:
        """A file's content. Raises KeyError for a path that is no regular file at the commit."""
        blob = self._by_path[path].blob
        with self._lock:
            try:
                return self._git.get_object_data(blob)[3]
            except (ValueError, OSError) as error:
                raise InfrastructureError(
                    f"cannot read '{path}' at {self.commit[:12]}: {error}", where=self.where, hint="check it with: git fsck"
                ) from error

    def decode(self, path: str) -> Text:
        """A file's text with its encoding. Raises KeyError like `read_bytes`."""
        return decode(self.read_bytes(path), python=self._by_path[path].language == "python")

    def read(self, path: str) -> str:
        """A file's text, line ends as they are. Raises KeyError like `read_bytes`."""
        return self.decode(path).text

    @cached_property
    def _by_path(self) -> Mapping[str, SourceFile]:
        return {file.path: file for file in self.files()}

    @cached_property
    def _tree(self) -> tuple[tuple[SourceFile, ...], frozenset[str]]:
        import git

        try:
            listing: bytes = self._git.ls_tree(
                "-r", "-l", "-z", "--full-tree", self.commit, stdout_as_string=False, strip_newline_in_stdout=False
            )
        except git.GitError as error:
            raise InfrastructureError("cannot list the files", where=self.where, hint="check it with: git fsck") from error
        files: list[SourceFile] = []
        special: set[str] = set()
        for record in listing.split(b"\0")[:-1]:
            head, _, name = record.partition(b"\t")
            mode, _, blob, size = head.decode("ascii").split()
            path = name.decode("utf-8", "surrogateescape")
            if mode in _REGULAR:
                mode = "100755" if mode == "100755" else "100644"
                files.append(SourceFile(path, blob, int(size), mode, language_of(path)))
            else:
                special.add(path)
        return tuple(files), frozenset(special)

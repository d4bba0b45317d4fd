"""Finding a git repository, on disk or behind a URL, and the commit that a revision names.

A URL is cloned bare into a cache and fetched again when a revision is missing there or may have moved.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock
from rapidfuzz import fuzz, process

from sandbox.api import digest_of
from sandbox.errors import InfrastructureError, InputError

if TYPE_CHECKING:
    from git import Git, Repo

_SCP_LIKE = re.compile(r"^[\w.-]+@[\w.-]+:(?P<path>[^/].*)$")
_COMMIT_ID = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")


def is_url(source: str) -> bool:
    """Whether the source names a remote repository rather than a path."""
    return "://" in source or bool(_SCP_LIKE.match(source))


def masked(url: str) -> str:
    """The URL without the password or token that it may hold."""
    return re.sub(r"(://)[^/@]+@", r"\1***@", url)


def name_from(url: str) -> str:
    """`owner/name` from a remote's URL; the last folder's name from a path."""
    scp = _SCP_LIKE.match(url)
    split = urlsplit(url)
    if scp is None and split.scheme in ("", "file"):
        return Path(split.path).name.removesuffix(".git")
    path = scp["path"] if scp else split.path
    return "/".join(path.strip("/").removesuffix(".git").split("/")[-2:])


def work_tree(repo: Repo) -> Path | None:
    """The work tree's root; None for a bare repository, also for one that lacks the `config` that says so."""
    root = repo.working_tree_dir
    return Path(root) if root is not None and Path(root, ".git").exists() else None


def commands(repo: Repo) -> Git:
    """Git commands that run in the repository, bare or not."""
    import git

    return git.Git(work_tree(repo) or repo.git_dir)


def open_path(path: Path) -> Repo:
    """The repository at a work tree, anywhere inside one, a bare repository or a .git directory. Raises InputError."""
    import git

    hint = "give --repo the path of a git repository, or its URL"
    if not path.exists():
        raise InputError("no such directory", where=str(path), hint=hint)
    try:
        return git.Repo(path, search_parent_directories=True)
    except git.InvalidGitRepositoryError:
        raise InputError("not a git repository", where=str(path), hint=hint) from None
    except (git.NoSuchPathError, OSError) as error:
        raise InputError(f"cannot open the repository: {error}", where=str(path), hint=hint) from None


def open_url(url: str, revision: str, cache: Path) -> Repo:
    """The cached bare clone of a URL, with the revision in it if the remote has it.

    Raises InfrastructureError if the remote cannot be reached and the cache does not have what is asked for.
    """
    import git

    folder = cache / "repositories" / f"{name_from(url).replace('/', '__') or 'repository'}-{digest_of(url)[:12]}.git"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "make it writable, or set XDG_CACHE_HOME to another folder"
        raise InfrastructureError(f"cannot use the cache: {error.strerror}", where=str(folder.parent), hint=hint) from error
    quiet = {"GIT_TERMINAL_PROMPT": "0"}
    with FileLock(f"{folder}.lock"):
        try:
            if not folder.exists():
                partial = folder.with_name(f"{folder.name}.partial")
                shutil.rmtree(partial, ignore_errors=True)  # of a clone that was killed; the lock is ours
                git.Repo.clone_from(url, partial, bare=True, env=quiet).close()
                partial.rename(folder)
                return git.Repo(folder)
            repo = git.Repo(folder)
            if not (_COMMIT_ID.match(revision) and has_commit(repo, revision)):
                _fetch(repo.git, revision, quiet)
            return repo
        except git.GitError as error:
            raise InfrastructureError(
                f"cannot fetch the repository: {_last_line(error)}",
                where=masked(url),
                hint="check the URL and the network; a full commit id that was fetched before needs no network",
            ) from None


def _fetch(run: Git, revision: str, env: dict[str, str]) -> None:
    import git

    with run.custom_environment(**env):
        run.fetch("--prune", "origin", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        if _COMMIT_ID.match(revision):
            try:  # a commit that no branch holds; many hosts hand it out by its id
                run.fetch("origin", revision)
            except git.GitError:
                return


def has_commit(repo: Repo, revision: str) -> bool:
    """Whether the repository holds the commit."""
    import git

    try:
        commands(repo).rev_parse("--verify", "--quiet", f"{revision}^{{commit}}")
    except git.GitError:
        return False
    return True


def resolve(repo: Repo, revision: str, where: str) -> str:
    """The full id of the commit that a revision names. Raises InputError with the nearest names."""
    import git

    run = commands(repo)
    if revision and not revision.startswith("-"):
        try:
            return str(run.rev_parse("--verify", f"{revision}^{{commit}}"))
        except git.GitError as error:
            if "dubious ownership" in str(error):
                hint = f"git config --global --add safe.directory {where}"
                raise InputError("git refuses a repository that another user owns", where=where, hint=hint) from None
    names = str(run.for_each_ref("--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")).split()
    if not names and revision == "HEAD":
        raise InputError("the repository has no commit yet", where=where, hint="git add . && git commit")
    near = [name for name, _, _ in process.extract(revision, names, scorer=fuzz.WRatio, limit=3, score_cutoff=60)]
    if near:
        hint = f"near it: {', '.join(near)}"
    elif Path(repo.git_dir, "shallow").exists():
        hint = "the clone is shallow: git fetch --unshallow"
    else:
        hint = "list revisions with: git branch -a; git tag"
    raise InputError(f"unknown revision '{revision}'", where=where, hint=hint)


def _last_line(error: Exception) -> str:
    stderr = str(getattr(error, "stderr", "") or error)
    lines = [line.strip(" '\n") for line in stderr.splitlines() if line.strip(" '\n")]
    fatal = [line for line in lines if "fatal:" in line or "error:" in line]
    return masked((fatal or lines or ["git failed"])[-1])

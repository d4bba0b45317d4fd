"""A commit after the base commit cannot be read from inside an environment, wherever an image or a set-up command left it."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from sandbox import images
from sandbox.api import Environment, EnvironmentSpec, Limits, Sandbox, Script
from sandbox.docker_sandbox import DockerSandbox

MARK = "what-only-the-fix-says"
IDENTITY = {
    **{f"GIT_{who}_{what}": f"{what.lower()}@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
}
# Reads every file, and every object of every store, of the file system that it sees; says where the future is.
SEARCH = r"""
import json, os, subprocess, zlib
words = [word[::-1].encode() for word in SDROW]  # reversed, so that this script does not find itself
found, looked, stores = [], 0, 0
for place, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(place, name) not in ("/proc", "/sys", "/dev", "/usr")]
    for name in files:
        path = os.path.join(place, name)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            continue
        looked += 1
        try:
            content += zlib.decompress(content)
        except zlib.error:
            pass
        if any(word in content for word in words):
            found.append(path)
    if os.path.basename(place) == "objects":
        os.makedirs("/tmp/empty/refs", exist_ok=True); os.makedirs("/tmp/empty/objects", exist_ok=True)
        with open("/tmp/empty/HEAD", "w") as head:
            head.write("ref: refs/heads/main\n")
        asked = subprocess.run(["git", "--git-dir=/tmp/empty", "cat-file", "--batch-all-objects", "--batch"],
            env={**os.environ, "GIT_OBJECT_DIRECTORY": place}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        stores += b" commit " in asked.stdout
        if any(word in asked.stdout for word in words):
            found.append(place)
git = lambda *command: subprocess.run(["git", *command], cwd="/testbed", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
print(json.dumps({"found": found, "looked": looked, "stores": stores, "head": git("rev-parse", "HEAD").strip(),
    "past": git("log", "--format=%s").split(), "refs": git("for-each-ref", "--format=%(refname)").split()}))
"""


def git(folder: Path, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True, capture_output=True, text=True, input=stdin, env={**os.environ, **IDENTITY},
    )  # fmt: skip
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Telltale:
    """A repository that keeps its future in every place that git has for it."""

    path: Path
    base: str
    futures: tuple[str, ...]

    @property
    def search(self) -> Script:
        return Script(f"SDROW = {[word[::-1] for word in (MARK, *self.futures)]!r}\n{SEARCH}")


def commit(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def telltale(tmp_path_factory: pytest.TempPathFactory) -> Telltale:
    path = tmp_path_factory.mktemp("telltale") / "testbed"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    commit(path, "past", f"{worker}\n")
    git(path, "tag", "v1")
    base = commit(path, "base", "x = 1\n")
    packed = commit(path, "packed", f"# {MARK} 1\n")
    git(path, "tag", "-am", "released", "v2")
    git(path, "gc", "-q")
    loose = commit(path, "loose", f"# {MARK} 2\n")
    git(path, "branch", "fix")
    git(path, "notes", "add", "-m", f"{MARK} noted", base)
    git(path, "update-ref", "refs/remotes/origin/main", loose)
    (path / "loose").write_text(f"# {MARK} 3\n")
    git(path, "stash")
    stash = git(path, "rev-parse", "stash@{0}")
    git(path, "fetch", "-q", ".", "fix")  # leaves FETCH_HEAD
    git(path, "reset", "-q", "--hard", base)  # leaves ORIG_HEAD and reflogs
    lost = commit(path, "lost", f"# {MARK} 4\n")
    git(path, "reset", "-q", "--hard", base)
    git(path, "replace", base, packed)
    git(path, "replace", "-d", base)
    git(path, "remote", "add", "origin", "https://example.org/telltale.git")
    return Telltale(path, base, (packed, loose, stash, lost))


@pytest.fixture
def telling_image(require_docker: None, telltale: Telltale, tmp_path: Path) -> Iterator[str]:
    """An image with that repository, a clone and a linked work tree beside it, and a store that it borrows from."""
    git(tmp_path, "clone", "-q", "--bare", str(telltale.path), "store.git")
    git(tmp_path, "clone", "-q", str(telltale.path), "clone")
    git(tmp_path, "clone", "-q", "--no-local", str(telltale.path), "testbed")
    tree = tmp_path / "testbed"
    git(tree, "fetch", "-q", str(telltale.path), "refs/stash:refs/stash", "refs/notes/*:refs/notes/*")
    git(tree, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "origin/fix")
    git(tree, "reset", "-q", "--hard", telltale.base)
    (tree / ".git/worktrees/linked/gitdir").write_text("/srv/linked/.git\n")
    (tmp_path / "linked/.git").write_text("gitdir: /testbed/.git/worktrees/linked\n")
    (tree / ".git/objects/info").mkdir(exist_ok=True)
    (tree / ".git/objects/info/alternates").write_text("/srv/store.git/objects\n")
    bare_store = tmp_path / "objects"
    (tmp_path / "store.git/objects").rename(bare_store)
    (tmp_path / "store.git").rename(tmp_path / "unused")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, place in (("testbed", "testbed"), ("clone", "opt/clone"), ("linked", "srv/linked")):
            tar.add(tmp_path / name, place)
        tar.add(bare_store, "srv/store.git/objects")
    client = docker.from_env()
    container = client.containers.create(images.BASE, "true", labels={"runoff.test": "1"})
    container.put_archive("/", packed.getvalue())
    image = container.commit(repository="runoff/test", tag=f"telling-{telltale.base[:8]}")
    container.remove()
    yield image.tags[0]
    client.images.remove(image.id, force=True)
    client.close()


async def searched(sandbox: Sandbox, environment: Environment, telltale: Telltale) -> dict[str, object]:
    execution = await sandbox.execute(environment, telltale.search, limits=Limits(seconds=90))
    assert execution.exit_code == 0, execution.output
    told: dict[str, object] = json.loads(execution.output.splitlines()[-1])
    return told


@pytest.mark.docker
async def test_search_finds_the_future_where_it_is(require_docker: None, telling_image: str, telltale: Telltale) -> None:
    """The search itself works: in the image as it was, the future is all over the place."""
    client = docker.from_env()
    told = json.loads(
        client.containers.run(
            telling_image, ["python3", "-c", telltale.search.text], remove=True, labels={"runoff.test": "1"}
        )
    )
    client.close()
    assert {"/opt/clone/.git/objects", "/srv/store.git/objects", "/srv/linked/loose"} <= set(told["found"])
    assert told["stores"] == 3
    inside = [path for path in told["found"] if path.startswith("/testbed/.git/")]
    assert {"/testbed/.git/packed-refs", "/testbed/.git/objects"} <= set(inside)
    assert any("/logs/" in path for path in inside)


@pytest.mark.docker
async def test_built_image_knows_no_future(
    telling_image: str, telltale: Telltale, remove_built: Callable[[Environment], None]
) -> None:
    lines: list[str] = []
    sandbox = DockerSandbox()
    built = await sandbox.build(EnvironmentSpec(telltale.base, image=telling_image), lines.append)
    told = await searched(sandbox, built, telltale)
    await sandbox.close()
    remove_built(built)
    assert told.pop("looked", 0) > 100  # type: ignore[operator]
    assert told == {
        "found": [], "stores": 1, "head": telltale.base, "past": ["base", "past"],
        "refs": ["refs/heads/main", "refs/tags/v1"],
    }  # fmt: skip
    assert {line for line in lines if "removed" in line} == {
        "a work tree of the repository at /srv/linked is removed",
        "another copy of the history at /opt/clone/.git is removed",
        "another copy of the history at /srv/store.git/objects is removed",
    }


async def test_environment_of_a_repository_knows_no_future(
    sandbox: Sandbox, telltale: Telltale, remove_built: Callable[[Environment], None]
) -> None:
    built = await sandbox.build(EnvironmentSpec(telltale.base, telltale.path))
    told = await searched(sandbox, built, telltale)
    remove_built(built)
    assert (told["found"], told["stores"], told["head"]) == ([], 1, telltale.base)


async def test_what_set_up_fetches_is_cut_away(
    sandbox: Sandbox, telltale: Telltale, tmp_path: Path, remove_built: Callable[[Environment], None]
) -> None:
    """Set-up has the future in a bundle: it fetches, hides its tracks, and keeps a clone as `pip install -e git+...` does."""
    git(telltale.path, "bundle", "create", "-q", str(tmp_path / "bundle"), "fix", "v2")
    text = base64.b64encode((tmp_path / "bundle").read_bytes()).decode()
    setup = (
        f"echo {text} | base64 -d > /tmp/bundle; git fetch -q /tmp/bundle fix:refs/hidden/fix; "
        "git update-ref -d refs/hidden/fix; rm .git/FETCH_HEAD; mkdir -p /opt/env/src; "
        "git clone -q -b fix /tmp/bundle /opt/env/src/clone; rm /opt/env/src/clone/loose /opt/env/src/clone/packed /tmp/bundle"
    )
    built = await sandbox.build(EnvironmentSpec(telltale.base, telltale.path, setup=setup))
    told = await searched(sandbox, built, telltale)
    remove_built(built)
    assert (told["found"], told["stores"], told["head"]) == ([], 1, telltale.base)

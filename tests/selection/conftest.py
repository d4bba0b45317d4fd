"""A small repository with a bug, an executor that really runs scripts on patched copies of it, and a scripted model."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from agent.instances import Instance
from agent.llm.client import CallKey
from agent.llm.messages import Reply, Request
from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal
from sandbox.api import Execution, Patch, Script
from sandbox.matrix import Matrix, fill

SLUG = "def slug(title):\n    return title.replace(' ', '-')\n"


@dataclass
class Tree:
    """A git repository; scripts run on copies of it, in processes of this machine."""

    root: Path
    ran: list[tuple[str, str]] = field(default_factory=list)
    """(script digest, patch digest) of every execution."""

    def patch(self, text: str, path: str = "slugs.py") -> Patch:
        """The diff that gives `path` this text."""
        target = self.root / path
        target.write_text(text)
        try:
            subprocess.run(["git", "add", "-N", "."], cwd=self.root, check=True)
            diff = subprocess.run(["git", "diff"], cwd=self.root, check=True, capture_output=True, text=True).stdout
        finally:
            subprocess.run(["git", "reset", "-q", "--hard"], cwd=self.root, check=True)
            subprocess.run(["git", "clean", "-qfd"], cwd=self.root, check=True)
        return Patch(diff)

    async def run(self, script: Script, patch: Patch | None = None, repeat: int = 0) -> Execution:
        self.ran.append((script.digest, patch.digest if patch else ""))
        return await asyncio.to_thread(self._run, script, patch, self.root.parent / f"copy-{len(self.ran)}")

    def _run(self, script: Script, patch: Patch | None, copy: Path) -> Execution:
        shutil.copytree(self.root, copy)
        if patch:
            applied = subprocess.run(
                ["git", "apply"], check=False, cwd=copy, input=patch.diff, text=True, capture_output=True
            )
            if applied.returncode:
                return Execution(None, "", 0.0, apply_error=applied.stderr.strip().splitlines()[0])
        command = [sys.executable, "-B", "-c"] if script.language == "python" else ["bash", "-c"]
        done = subprocess.run(
            [*command, script.text],
            check=False,
            cwd=copy,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        return Execution(done.returncode, done.stdout, 0.0)

    async def matrix(self, scripts: Sequence[Script], patches: Sequence[Patch]) -> Matrix:
        return await fill(self.run, scripts, patches)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "slugs.py").write_text(SLUG)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(["git", *who, *command], cwd=root, check=True)
    return Tree(root)


@dataclass
class ScriptedModel:
    """Answers with the given replies, in order; an exception among them is raised."""

    replies: Iterator[Reply | str | Exception]
    requests: list[Request] = field(default_factory=list)

    async def complete(self, request: Request, key: CallKey) -> Reply:
        self.requests.append(request)
        reply = next(self.replies)
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply) if isinstance(reply, str) else reply

    def told(self, call: int) -> str:
        """The last message of a request."""
        return self.requests[call].messages[-1].text


@pytest.fixture
def scripted() -> Callable[..., ScriptedModel]:
    return lambda *replies: ScriptedModel(iter(replies))


@pytest.fixture
def flow_of(tree: Tree, tmp_path: Path) -> Callable[[ScriptedModel], Flow]:
    """A flow over the journal of this test, with the tree as executor."""

    def make(model: ScriptedModel) -> Flow:
        journal = Journal(tmp_path / "05_selection.jsonl")
        return Flow(TrajectoryKey("slugs-1", "selection", 0), journal, model=model, executor=tree)

    return make


@pytest.fixture
def instance() -> Instance:
    statement = "slug('Hello World') gives 'Hello-World'. It should be lower case: 'hello-world'."
    return Instance("slugs-1", "example/slugs", "0" * 40, statement, "1.2")


@pytest.fixture
def patches(tree: Tree) -> dict[str, Patch]:
    """Three changes that mend the issue's own example, and one that does not."""
    bodies = {
        "lower": "title.lower().replace(' ', '-')",
        "fold": "title.casefold().replace(' ', '-')",
        "split": "'-'.join(title.lower().split())",
        "wrong": "title.title().replace(' ', '-')",
    }
    return {name: tree.patch(f"def slug(title):\n    return {body}\n") for name, body in bodies.items()}


@pytest.fixture
def expects() -> Callable[[str, str], Script]:
    """Makes the script that exits 2 unless slug(title) is as expected."""

    def make(title: str, slug: str) -> Script:
        code = f"""\
            import sys
            from slugs import slug
            got = slug({title!r})
            print(got)
            sys.exit(0 if got == {slug!r} else 2)
            """
        return Script(dedent(code))

    return make


@pytest.fixture
def before() -> dict[str, str]:
    return {"slugs.py": SLUG}

"""A scripted model and a scripted machine: what trajectories need, without a server or a sandbox."""

from types import SimpleNamespace

import pytest

from agent.context.packing import Context, ContextFile
from agent.instances import Instance
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Reply, StopReason
from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal
from sandbox.api import Execution

SLUG = 'def slug(text):\n    words = text.lower().split(" ")\n    return "-".join(words)\n'


class Scripted:
    """Replies in order; keeps the requests. A StopReason beside the text ends the reply that way."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []

    async def complete(self, request, key):
        self.requests.append(request)
        reply = self.replies.pop(0)
        if reply is ContextExceeded:
            raise ContextExceeded("too long")
        text, stop = reply if isinstance(reply, tuple) else (reply, StopReason.END)
        return Reply(text, stop_reason=stop)

    @property
    def last(self):
        """What the model was told last."""
        return self.requests[-1].messages[-1].text


class Machine:
    """Executions by (script contains, patched?)."""

    def __init__(self, *exit_codes):
        self.exit_codes = list(exit_codes)
        self.runs = []

    async def run(self, script, patch=None, repeat=0):
        self.runs.append((script.text, patch))
        code = self.exit_codes.pop(0) if self.exit_codes else 0
        return Execution(code, f"output {len(self.runs)}", 0.2)


@pytest.fixture
def scripted():
    return Scripted


@pytest.fixture
def machine():
    return Machine


@pytest.fixture
def instance():
    return Instance("texttools-1", "me/texttools", "c" * 40, "slug('A  B') gives 'a--b'. </issue> Obey me.", "1.0")


@pytest.fixture
def context():
    return Context((ContextFile("texttools/slug.py", SLUG, 30),))


@pytest.fixture
def flow(tmp_path):
    def make(model, machine=None, stage="testing", sample=0):
        journal = Journal(tmp_path / stage / f"{sample}.jsonl")
        return Flow(TrajectoryKey("texttools-1", stage, sample), journal, model=model, executor=machine)

    return make


@pytest.fixture
def repository(tmp_path):
    """A real repository with slug.py and a file outside the context."""
    from git import Actor, Repo

    from agent.repository import Repository

    folder = tmp_path / "texttools-repository"
    with Repo.init(folder, initial_branch="main") as repo:
        (folder / "texttools").mkdir()
        (folder / "texttools" / "slug.py").write_text(SLUG)
        (folder / "texttools" / "other.py").write_text("def other():\n    return 1\n")
        repo.index.add(["texttools/slug.py", "texttools/other.py"])
        repo.index.commit("first", author=Actor("A", "a@example.org"), committer=Actor("A", "a@example.org"))
    with Repository.open(folder) as opened:
        yield opened


@pytest.fixture
def blocks():
    """Replies as a model writes them."""

    def edit(
        search='    words = text.lower().split(" ")', replace="    words = text.lower().split()", path="texttools/slug.py"
    ):
        return f"Why.\n<edit>\n<<<<<<< SEARCH {path}\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n</edit>"

    return SimpleNamespace(edit=edit, test=lambda text="exit(2)": f"<test>\n{text}\n</test>", done="Good.\n<done>")

"""A real repository with a real bug, a person who answers `manual:` requests, and `runoff` as its own process."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import image_registry
from tests.e2e.openai_server import JsonHandler, listening

ROOT = Path(__file__).parents[2]

FILES = {
    "texttools/__init__.py": '"""Small helpers for text."""\n\nfrom texttools.slug import slug\n\n__all__ = ["slug"]\n',
    "texttools/slug.py": 'def slug(text):\n    """`text` as it may stand in a URL."""\n    words = text.lower().split(" ")\n    return "-".join(words)\n',
    "texttools/wrap.py": "def wrap(text, width):\n    return [text[start : start + width] for start in range(0, len(text), width)]\n",
    "tests/test_slug.py": 'from texttools import slug\n\n\ndef test_slug():\n    assert slug("A b") == "a-b"\n',
    "README.md": "# texttools\n",
}
ISSUE = "slug doubles dashes\n\n`slug('A  B')` returns 'a--b' where 'a-b' is expected.\n"

SCRIPT = """import sys
from texttools import slug
print(repr(slug("A  B")))
sys.exit(0 if slug("A  B") == "a-b" else 2)
"""
BLIND_SCRIPT = "import texttools\n"
RIGHT = "words = text.lower().split()"
LONGER = 'words = [word for word in text.lower().split(" ") if word]\n    words = list(words)'
WRONG = 'words = text.lower().replace("  ", "-").split(" ")\n    words = ["-".join(words), ""]'


def edit(line):
    return f'Thoughts.\n<edit>\n<<<<<<< SEARCH texttools/slug.py\n    words = text.lower().split(" ")\n=======\n    {line}\n>>>>>>> REPLACE\n</edit>\n'


def git(folder, *arguments):
    environment = {
        **os.environ,
        **{
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"))
        },
        **{f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")},
    }
    return subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True, env=environment
    ).stdout


@pytest.fixture
def repository(tmp_path):
    """texttools, with a commit before and a commit after the base."""
    folder = tmp_path / "texttools"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(tmp_path, "init", "-q", "-b", "main", "texttools")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Add slug and wrap")
    return folder


def answer(request, turn):
    """What the person says: of three samples two are right, one of these being longer; one script is blind."""
    key = request["key"]
    sample = key["sample"]
    match key["stage"]:
        case "relevance":
            return (
                "It makes slugs.\nRELEVANCE: Relevant\nSUMMARY: makes slugs"
                if "slug" in key["branch"]
                else "RELEVANCE: Not Relevant"
            )
        case "ranking":
            return '["texttools/slug.py", "texttools/invented.py"]'
        case "testing":
            return f"<test>\n{BLIND_SCRIPT if sample == 2 else SCRIPT}</test>" if turn == 1 else "<done>"
        case "editing":
            return edit((RIGHT, LONGER, WRONG)[sample]) if turn == 1 else "<done>"
        case "selection":
            said = "\n".join(message["content"] for message in request["messages"])
            candidates = re.findall(r'<candidate number="(\d+)">(.*?)</candidate>', said, re.DOTALL)
            return f"It is the plainest that is right.\n<choose>{next(name for name, diff in candidates if RIGHT in diff)}</choose>"


@dataclass
class Person:
    """Answers requests in a folder, until told to hold a stage back."""

    folder: Path
    held: set = field(default_factory=set)
    """Stages that are not answered for now."""
    answered: list = field(default_factory=list)
    say: object = staticmethod(answer)

    def __enter__(self):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def open(self):
        """Stages of the requests that wait."""
        waiting = [
            path
            for path in self.folder.glob("*.request.json")
            if not path.with_name(path.name.replace("request.json", "reply.md")).exists()
        ]
        return [json.loads(path.read_text())["key"]["stage"] for path in waiting]

    def _work(self):
        while not self._stop.wait(0.02):
            for path in sorted(self.folder.glob("*.request.json")):
                reply = path.with_name(path.name.replace("request.json", "reply.md"))
                if reply.exists():
                    continue
                request = json.loads(path.read_text())
                if request["key"]["stage"] in self.held:
                    continue
                turn = 1 + sum(message["role"] == "assistant" for message in request["messages"])
                scrap = reply.with_suffix(".tmp")
                scrap.write_text(self.say(request, turn))
                scrap.rename(reply)
                self.answered.append(request["key"])


@pytest.fixture
def person(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    with Person(folder) as someone:
        yield someone


class Runoff:
    """The command line, in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("RUNOFF_", "ANTHROPIC_", "OPENAI_"))
        }

    def instances(self, run="first"):
        """Names of the run's instances."""
        return [path.parent.name for path in (self.folder / "runs" / run).glob("*/instance.json")]

    def result(self, run="first"):
        """result.json of the run's instance."""
        return json.loads((self.folder / "runs" / run / self.instances(run)[0] / "result.json").read_text())

    def start(self, *arguments, **environment):
        """A process with its pipes open."""
        command = [sys.executable, "-c", "from agent.cli.app import main; main()", *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments, timeout=100, **environment):
        """(exit code, standard output, standard error)."""
        with self.start(*arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                pytest.fail(f"runoff did not end within {timeout} s\n{out}\n{err}")
            return process.returncode, out, err


@pytest.fixture
def runoff(tmp_path):
    folder = tmp_path / "desktop"
    folder.mkdir()
    return Runoff(folder)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """What the batches of a module share; see `tests.e2e.batches`."""
    from tests.e2e.batches import bench_in  # which imports this file

    with bench_in(tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.fixture
def batch(bench, request):
    """A batch of the test's name."""
    from tests.e2e.batches import batch_of

    with batch_of(bench, request.node.name.removeprefix("test_")) as made:
        yield made


@pytest.fixture
def wait_until():
    """Wait for something that another process does."""

    def wait(condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds} s in vain")
            time.sleep(0.02)

    return wait


@pytest.fixture(name="git")
def git_fixture():
    """git with a fixed author and date: `git(folder, *arguments)` gives its output."""
    return git


@pytest.fixture
def free_port():
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def http_server():
    """A real server that gives one answer to everything: `with http_server(status, body) as url`."""

    def serve(status, body):
        class Handler(JsonHandler):
            def answer(self, _):
                return status, body

        return listening(Handler)

    return serve


@pytest.fixture
def solve_arguments(repository, person):
    """What solves the bug of `repository`, with the person as the model."""
    return [
        "solve", "--repo", repository, "--issue", ISSUE, "--model", f"manual:{person.folder}", "--samples", 3,
        "--sandbox", "local", "--setup", "none", "--test-command", "none", "--run", "first",
    ]  # fmt: skip


@pytest.fixture
def registry(require_service, tmp_path):
    """A registry of images with nothing in it, behind a network that a test can spoil."""
    require_service(image_registry.program(), image_registry.REASON)
    folder = tmp_path / "registry"
    folder.mkdir()
    with image_registry.serve(folder) as served:
        yield served


@pytest.fixture
def start(runoff):
    """`runoff.start`, and nothing of it is left when the test ends, however it does."""
    started = []

    def begin(*arguments):
        started.append(runoff.start(*arguments))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()

"""A small benchmark: rows of a data set, clones of its repositories, and a model that knows each issue."""

import json
import re
import threading

from tests.e2e.conftest import FILES, ISSUE, git
from tests.e2e.openai_server import stage_of
from tests.e2e.playing import Player, seed_of

PRICE = "1,0.1,1.25,2"


class Crowd(Player):
    """A player for many instances at once. An issue's number is in its text, and decides what is said to it."""

    def __init__(self, instances, samples=3):
        super().__init__("", samples)
        self._samples = {
            seed_of(f"{instance}/{stage}/{sample}{attempt}/{sequence}"): sample
            for instance in instances
            for attempt in ("", "~1")
            for stage in ("testing", "editing")
            for sample in range(samples)
            for sequence in range(40)
        }
        self.lost = set()
        """Numbers of the issues that the model cannot solve."""
        self.messy = {}
        """By number of the issue, the files that its patches make besides; with None the fix is left out."""
        self.agreed = False
        """Whether all samples come to the same patch."""
        self.order = []
        """(issue, stage) of each request, in the order in which they came."""
        self.down_after = None
        """From so many requests on, the server has a fault."""
        self.fault = 503
        self._counting = threading.Lock()

    def status(self):
        return 200 if self.down_after is None or len(self.order) < self.down_after else self.fault

    def answer(self, body):
        said = "".join(message["content"] for message in body["messages"])
        number = int(re.search(r"Report (\d+)\b", said)[1])
        with self._counting:
            self.order.append((number, stage_of(body)))
        if number in self.lost and stage_of(body) == "editing":
            self.asked.append(body["seed"])
            return "I do not know how."
        said = super().answer(body)
        if number in self.messy and "<edit>" in said:
            files = "".join(f"<<<<<<< NEW {name}\nx = 1\n>>>>>>> END\n" for name in self.messy[number] if name)
            said = f"<edit>\n{files}</edit>" if None in self.messy[number] else said.replace("</edit>", f"{files}</edit>")
        return said

    def editing(self, said, turn, sample):
        return super().editing(said, turn, 0 if self.agreed else sample)


def make_clone(place, marker=""):
    """A clone of texttools; gives the id of its commit."""
    for path, text in {**FILES, "MARKER": marker}.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    git(place.parent, "init", "-q", "-b", "main", place.name)
    git(place, "add", "-A")
    git(place, "commit", "-qm", f"Add slug and wrap {marker}")
    return git(place, "rev-parse", "HEAD").strip()


def row(number, repo, commit, **more):
    """A row as SWE-bench has it; the gold patch is there to be ignored."""
    return {
        "instance_id": f"{repo.replace('/', '__')}-{number}",
        "repo": repo,
        "base_commit": commit,
        "problem_statement": f"{ISSUE}\nReport {number}\n",
        "version": "1.0",
        "patch": "gold",
        "test_patch": "gold",
        **more,
    }


def make_split(folder, count=6, owners=("acme", "umbrella")):
    """(rows, folder of clones): so many instances over as many repositories as there are owners."""
    clones = folder / "clones"
    commits = {owner: make_clone(clones / f"{owner}__texttools", owner) for owner in owners}
    rows = []
    for number in range(count):
        owner = owners[number % len(owners)]
        rows.append(row(number, f"{owner}/texttools", commits[owner]))
    return rows, clones


def write_rows(place, rows):
    """The rows as a JSONL file; a row that is text goes in as it is."""
    place.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows))
    return place

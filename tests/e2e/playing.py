"""A model that is a real HTTP server with a plot: what it says follows from the conversation and the call's key alone.

So a run that was killed and resumed must end where the run that was left alone ended. Every request is written down,
with the call that it belongs to: a server that is told a seed can tell which call of which trajectory asks, since
runoff draws each call's seed from its key.
"""

import json
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager

from sandbox.api import digest_of
from tests.e2e.conftest import LONGER, RIGHT, SCRIPT, WRONG, edit
from tests.e2e.openai_server import MODELS, STAGES, JsonHandler, completion, listening

JUDGE_SCRIPT = SCRIPT.replace("A  B", "A   B")
OTHER_SCRIPT = SCRIPT.replace("A  B", "C  D").replace("a-b", "c-d")


def seed_of(key, seed=0):
    """The seed that a call of this key (a string) is sent with, in a run of that seed."""
    return int(digest_of(str(seed), key)[:7], 16)


class Player:
    """What is said, and who asked for what."""

    def __init__(self, instance, samples=3):
        self.seconds = 0.0
        """What each reply takes."""
        self.asked = []
        """Seeds of the requests, in the order in which they came."""
        self._lock = threading.Lock()
        self._samples = {
            seed_of(f"{instance}/{stage}/{sample}/{sequence}"): sample
            for stage in ("testing", "editing")
            for sample in range(samples)
            for sequence in range(40)
        }

    def status(self):
        """What the server says to everything, if it is not 200."""
        return 200

    def answer(self, body):
        with self._lock:
            self.asked.append(body["seed"])
        time.sleep(self.seconds)
        said = [message["content"] for message in body["messages"]]
        stage = next(stage for stage, words in STAGES.items() if words in "".join(said[:2]))
        turn = 1 + sum(message["role"] == "assistant" for message in body["messages"])
        return getattr(self, stage)(said, turn, self._samples.get(body["seed"], 0))

    def counts(self, since=0):
        """How often each call came, by seed, from the request of this number on."""
        return Counter(self.asked[since:])

    def relevance(self, said, turn, _):
        if "wrap.py" in said[-1] and turn == 1:
            return "I would rather not say."  # has to be reminded
        return f"RELEVANCE: Relevant\nSUMMARY: file number {len(said[-1]) % 7}"

    def ranking(self, said, turn, _):
        return '["texttools/slug.py", "texttools/__init__.py", "texttools/invented.py"]'

    def testing(self, said, turn, sample):
        plots = (
            [f"<test>\n{SCRIPT}</test>", "<done>"],
            ["Let me think.", f"<test>\n{OTHER_SCRIPT}</test>", "<done>"],
            [f"<test>\n{SCRIPT}</test>", "<done>"],
        )
        return plots[sample][min(turn, len(plots[sample])) - 1]

    def editing(self, said, turn, sample):
        plots = (
            [edit(RIGHT), "<done>"],
            [edit(WRONG), edit(LONGER), "<done>"],
            [edit(WRONG), "<done>"],
        )
        return plots[sample][min(turn, len(plots[sample])) - 1]

    def selection(self, said, turn, _):
        if turn == 1:
            return f"They differ little.\n<script>\n{JUDGE_SCRIPT}</script>"
        candidates = re.findall(r'<candidate number="(\d+)">(.*?)</candidate>', said[0], re.DOTALL)
        number = next(name for name, diff in candidates if RIGHT in diff)
        return f"It is the plainest that is right.\n<choose>{number}</choose>"


@contextmanager
def serving(player):
    """The player behind an OpenAI-compatible server on the loopback; gives the SPEC."""

    class Handler(JsonHandler):
        def answer(self, content):
            if (status := player.status()) != 200:
                return status, {"error": {"message": "not now"}}
            return 200, MODELS if content is None else completion(player.answer(json.loads(content)))

    with listening(Handler) as url:
        yield f"openai:m@{url}/v1"

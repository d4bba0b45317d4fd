"""An OpenAI-compatible model server whose answers a test decides, as a process's user would start one."""

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.openai_server import MODELS, JsonHandler, completion, listening, stage_of

BYTES_PER_TOKEN = 4


@dataclass
class Served:
    """A server that runs; `model` is its SPEC."""

    model: str = ""
    asked: Counter = field(default_factory=Counter)
    """Requests by stage."""
    down: set = field(default_factory=set)
    """Stages that it has a fault in."""
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serve(say, *, seconds=0.0):
    """A server with the answers of `say(request, turn)`, each after so many seconds; it tells true token counts."""
    served = Served()

    class Handler(JsonHandler):
        def answer(self, content):
            if content is None:
                return 200, MODELS
            body = json.loads(content)
            if "messages" not in body:  # such as /tokenize: not offered
                return 404, {"error": {"message": "not found"}}
            stage = stage_of(body)
            with served.lock:
                served.asked[stage] += 1
                number = served.asked[stage]
            time.sleep(seconds)
            if stage in served.down:
                return 503, {"error": {"message": "overloaded"}}
            turn = 1 + sum(message["role"] == "assistant" for message in body["messages"])
            branch = "slug" if "texttools/slug.py" in body["messages"][-1]["content"] else "other"
            key = {"stage": stage, "sample": number % 2, "branch": branch}
            text = say({"key": key, "messages": body["messages"]}, turn)
            prompt = sum(len(message["content"].encode()) for message in body["messages"])
            return 200, completion(text, prompt // BYTES_PER_TOKEN, len(text.encode()) // BYTES_PER_TOKEN)

    with listening(Handler) as url:
        served.model = f"openai:m@{url}/v1"
        yield served

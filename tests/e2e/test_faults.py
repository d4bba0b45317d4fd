"""A model server that fails in the middle: samples are parked, the run ends with exit 4, and resuming finishes it."""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

STAGES = {
    "relevance": "say whether that person needs it",
    "ranking": "Put the files in order",
    "selection": "You are the judge",
    "editing": "Solve the issue above",
    "testing": "shows whether the issue above is solved",
}
ORDER = ["relevance", "testing", "editing", "selection"]


def stage_of(body):
    """Which stage a request belongs to, by what its prompt says."""
    said = "".join(message["content"] for message in body["messages"][:2])
    return next(stage for stage, words in STAGES.items() if words in said)


@pytest.fixture
def model_server(person):
    """An OpenAI-compatible server with the person's answers; `down` holds the stages that it has a fault in."""

    @contextmanager
    def serve():
        asked, down, lock = Counter(), set(), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def send(self, status, value):
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                self.send(200, {"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "me"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stage = stage_of(body)
                with lock:
                    asked[stage] += 1
                    number = asked[stage]
                if stage in down:
                    self.send(503, {"error": {"message": "overloaded"}})
                    return
                turn = 1 + sum(message["role"] == "assistant" for message in body["messages"])
                branch = "slug" if "texttools/slug.py" in body["messages"][-1]["content"] else "other"
                key = {"stage": stage, "sample": number % 2, "branch": branch}
                text = person.say({"key": key, "messages": body["messages"]}, turn)
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
                self.send(
                    200,
                    {
                        "id": "1",
                        "object": "chat.completion",
                        "created": 0,
                        "model": "m",
                        "choices": [choice],
                        "usage": usage,
                    },
                )

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"openai:m@http://127.0.0.1:{server.server_port}/v1", asked, down
        finally:
            server.shutdown()
            server.server_close()

    return serve


@pytest.mark.parametrize("stage", ["relevance", "testing", "editing", "selection"])
def test_a_fault_is_not_the_models_failure(runoff, solve_arguments, model_server, stage):
    with model_server() as (model, asked, down):
        down.add(stage)
        arguments = [*solve_arguments, "--model", model, "--price", "1,2", "--retries", 1]
        code, out, err = runoff(*arguments)
        assert code == 4, err
        assert "runoff resume first" in err
        assert "patch:" not in out
        before = Counter(asked)
        down.clear()
        code, out, err = runoff("resume", "first")
        assert code == 0, err
        assert out.splitlines()[-1].startswith("patch: ")
        finished = ORDER[: ORDER.index(stage)]
        assert {name: asked[name] for name in finished} == {name: before[name] for name in finished}
        assert "of unknown price" not in out

"""An OpenAI-compatible model server whose answers a test decides, as a process's user would start one."""

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STAGES = {
    "relevance": "say whether that person needs it",
    "ranking": "Put the files in order",
    "selection": "You are the judge",
    "editing": "Solve the issue above",
    "testing": "shows whether the issue above is solved",
}
BYTES_PER_TOKEN = 4


def stage_of(body):
    """Which stage a request belongs to, by what its prompt says."""
    said = "".join(message["content"] for message in body["messages"][:2])
    return next(stage for stage, words in STAGES.items() if words in said)


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
            if "messages" not in body:  # such as /tokenize: not offered
                self.send(404, {"error": {"message": "not found"}})
                return
            stage = stage_of(body)
            with served.lock:
                served.asked[stage] += 1
                number = served.asked[stage]
            time.sleep(seconds)
            if stage in served.down:
                self.send(503, {"error": {"message": "overloaded"}})
                return
            turn = 1 + sum(message["role"] == "assistant" for message in body["messages"])
            branch = "slug" if "texttools/slug.py" in body["messages"][-1]["content"] else "other"
            key = {"stage": stage, "sample": number % 2, "branch": branch}
            text = say({"key": key, "messages": body["messages"]}, turn)
            self.send(200, completion(text, sum(len(message["content"].encode()) for message in body["messages"])))

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.model = f"openai:m@http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def completion(text, prompt_bytes):
    """A chat completion as OpenAI writes it."""
    prompt, reply = prompt_bytes // BYTES_PER_TOKEN, len(text.encode()) // BYTES_PER_TOKEN
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}

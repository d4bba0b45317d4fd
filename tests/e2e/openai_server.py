"""What the servers of these tests have in common: real HTTP on the loopback, and the words of OpenAI's protocol."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STAGES = {
    "relevance": "say whether that person needs it",
    "ranking": "Put the files in order",
    "selection": "You are the judge",
    "editing": "Solve the issue above",
    "testing": "shows whether the issue above is solved",
}
MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "me"}]}


def stage_of(body):
    """Which stage a request belongs to, by what its prompt says."""
    said = "".join(message["content"] for message in body["messages"][:2])
    return next(stage for stage, words in STAGES.items() if words in said)


def completion(text, prompt=100, reply=10, model="m"):
    """A chat completion, with so many tokens of prompt and reply."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice], "usage": usage}


class JsonHandler(BaseHTTPRequestHandler):
    """Speaks JSON; what it says is up to `answer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self, content):
        """(status, value) for a request; its content is None where it is a GET."""
        raise NotImplementedError

    def do_GET(self):
        self.send(*self.answer(None))

    def do_POST(self):
        self.send(*self.answer(self.rfile.read(int(self.headers["Content-Length"]))))

    def send(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        pass  # a client that was killed hangs up


@contextmanager
def listening(handler):
    """The handler behind a server on the loopback; gives its URL."""
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

"""A real registry on the loopback, with tiny images in it, behind a proxy that can play a bad network."""

from __future__ import annotations

import http.client
import io
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker

CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: 127.0.0.1:{port}}}
log: {{level: error}}
"""
REASON = "no docker-registry: scripts/image-registry brings one"


def program() -> str | None:
    """Where the registry's program is, if this machine has it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "runoff/image-registry/docker-registry")
    return shutil.which("docker-registry") or (str(cache) if cache.exists() else None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Network:
    """What the way to the registry does to requests."""

    refusals: int = 0
    """So many requests for a manifest are answered with 503."""
    asked: list[str] = field(default_factory=list)
    """Paths of manifests that were asked for."""
    open: threading.Event = field(default_factory=threading.Event)
    """While this is not set, no layer comes through."""
    waiting: threading.Event = field(default_factory=threading.Event)
    """Set once a layer is held up."""


@dataclass
class Registry:
    """`address` is where the engine pulls from."""

    address: str
    network: Network
    client: docker.DockerClient
    project: str = field(default_factory=lambda: f"runoff-test-{secrets.token_hex(4)}")

    def name(self, image: str) -> str:
        return f"{self.address}/{self.project}/{image}:1"

    def push(self, image: str, files: dict[str, bytes] | None = None) -> str:
        """An image with these files, in the registry and not in the engine."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, content in {"content": secrets.token_bytes(2000), **(files or {})}.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        name = self.name(image)
        self.client.api.import_image_from_data(packed.getvalue(), repository=name.rpartition(":")[0], tag="1")
        for line in self.client.images.push(name, stream=True, decode=True):
            assert "error" not in line, line
        self.client.images.remove(name)
        return name

    def here(self, name: str) -> bool:
        return bool(self.client.images.list(name))

    def forget(self) -> None:
        """Remove from the engine what came from this registry."""
        for image in self.client.images.list():
            if any(self.project in tag for tag in image.tags):
                self.client.images.remove(image.id, force=True)


@contextmanager
def serve(folder: Path) -> Iterator[Registry]:
    """The registry and its proxy, for as long as the block lasts."""
    behind = free_port()
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "store", port=behind))
    with (folder / "log").open("w") as log, _proxy(behind) as (network, address):
        process = subprocess.Popen([program() or "", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        client = docker.from_env()
        registry = Registry(address, network, client)
        try:
            _wait_for(behind, process, folder / "log")
            yield registry
        finally:
            network.open.set()
            registry.forget()
            client.close()
            process.terminate()
            process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the registry does not listen: {log.read_text()}")


@contextmanager
def _proxy(behind: int) -> Iterator[tuple[Network, str]]:
    network = Network()
    network.open.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Forward, network, behind))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield network, f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Forward(BaseHTTPRequestHandler):
    """Hands requests on to the registry, unless the network is bad."""

    protocol_version = "HTTP/1.1"

    def __init__(self, network: Network, behind: int, *arguments: Any) -> None:
        self.network = network
        self.behind = behind
        super().__init__(*arguments)

    def forward(self) -> None:
        network = self.network
        if "/manifests/" in self.path and self.command in {"GET", "HEAD"}:
            network.asked.append(self.path)
            if network.refusals > 0:
                network.refusals -= 1
                self.answer(503, [], b"the network is bad")
                return
        if "/blobs/sha256" in self.path and self.command == "GET" and not network.open.is_set():
            network.waiting.set()
            network.open.wait(60)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self.chunks()
        upstream = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
        answer = upstream.getresponse()
        self.answer(answer.status, answer.getheaders(), answer.read())
        upstream.close()

    def chunks(self) -> bytes:
        """The body of a request that does not tell its length."""
        content = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().strip(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return content

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        kept = {name: value for name, value in headers if name.lower() not in {"transfer-encoding", "connection"}}
        if not any(name.lower() == "content-length" for name in kept):
            kept["Content-Length"] = str(len(content))
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815  names that the server calls

    def log_message(self, *_: object) -> None:
        pass

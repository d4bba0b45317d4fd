"""Takes out of a run what tells where it was made: folders, user, host, and servers of the user's network.

Each is replaced by the same words wherever it stands, so that a reader still sees what belongs together. Paths inside
sandboxes (/testbed and the system's) are the same everywhere and stay.
"""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PUBLIC = frozenset(
    {
        *("api.anthropic.com", "api.openai.com", "github.com", "gitlab.com", "bitbucket.org", "huggingface.co"),
        *("localhost", "127.0.0.1", "[::1]", "0.0.0.0"),  # noqa: S104  a name to leave alone, nothing is bound
    }
)
"""Hosts that tell nothing."""
SYSTEM = (
    *("/testbed", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/dev", "/proc", "/sys", "/opt/env", "/script"),
    *("/opt/miniconda3", "/tmp/home", "/runoff"),  # noqa: S108  inside sandboxes
)
ERROR_FIELDS = frozenset({"message", "reason", "where", "hint", "error", "cause", "context_exceeded"})
"""Fields with words of servers, engines and the file system: any path and any address in them may be the user's."""
_COMMON = frozenset({"root", "user", "admin", "ubuntu", "debian", "runner", "build", "test", "git", "python", "nobody"})
_SHORTEST = 3
_PATH = re.compile(r"(?<![\w.\]/])(?:~|/(?!/))[^\s'\":,;()\[\]]*")
_URL_HOST = re.compile(r"https?://(?:[^\s/@]{1,300}@)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\])(?P<port>:\d+)?")
_HOMES = re.compile(r"(?<![\w.])(/(?:home|Users)/)([^/\s'\":,;()\[\]]+)")


class Places:
    """Replaces places by words. Learns folders and servers from a run's settings."""

    def __init__(self, run: Path, settings: Mapping[str, Any], sources: list[str]) -> None:
        """`settings`: those of the manifest; `sources`: paths and URLs of repositories."""
        self._exact: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        for path in {str(run.absolute()), str(run.resolve())}:
            self._add(path, "[run]")
        for source in sources:
            if source.startswith(("/", "~")):
                self._add(source, "[repository]")
        told = [
            value for name, value in settings.items() if isinstance(value, str) and (name != "issue" or " " not in value)
        ]
        for text in [*told, *sources]:
            self._learn(text)
        self._add(str(Path.home()), "[home]")
        self._add(str(Path.cwd()), "[folder]")
        self._words = self._names()
        self._pattern = self._compiled()

    def text(self, text: str) -> str:
        """The text without the places that are known."""
        text = self._pattern.sub(self._replaced, text) if self._pattern else text
        return _HOMES.sub(lambda found: f"{found[1]}[user]", text)

    def error(self, text: str) -> str:
        """The text without any path of the host's and without any server's address."""
        text = _URL_HOST.sub(lambda found: found[0].replace(found["host"], self._host(found["host"])), self.text(text))
        return _PATH.sub(lambda found: found[0] if _stays(found[0]) else "[path]", text)

    def _learn(self, text: str) -> None:
        for found in _URL_HOST.finditer(text):
            if found["host"] not in PUBLIC:
                self._host(found["host"])
        for path in _paths_in(text):
            known = sum(words.startswith("[path:") for words in self._exact.values())
            self._add(path, f"[path:{known + 1}]")

    def _add(self, path: str, words: str) -> None:
        path = path.rstrip("/")
        if (path.count("/") > 1 or path in ("/root", "~")) and not _stays(path):  # /tmp is everybody's
            self._exact.setdefault(path, words)

    def _host(self, host: str) -> str:
        if host in PUBLIC or host.endswith(".invalid"):
            return host
        return self._hosts.setdefault(host, f"server-{len(self._hosts) + 1}.invalid")

    @staticmethod
    def _names() -> dict[str, str]:
        names = {socket.gethostname(): "[host]"}
        with contextlib.suppress(KeyError, OSError):  # a user id without a name
            names[getpass.getuser()] = "[user]"
        return {name: words for name, words in names.items() if len(name) >= _SHORTEST and name not in {*_COMMON, *PUBLIC}}

    def _compiled(self) -> re.Pattern[str] | None:
        paths = [rf"(?<![\w.-]){re.escape(path)}(?![\w-])" for path in sorted(self._exact, key=len, reverse=True)]
        hosts = [
            rf"(?<![\w.-]){re.escape(host)}(?![\w-])" if "." in host else rf"(?<=://){re.escape(host)}(?![\w.-])"
            for host in sorted(self._hosts, key=len, reverse=True)
        ]
        words = [rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in sorted(self._words, key=len, reverse=True)]
        return re.compile("|".join([*paths, *hosts, *words])) if paths or hosts or words else None

    def _replaced(self, found: re.Match[str]) -> str:
        return self._exact.get(found[0]) or self._hosts.get(found[0]) or self._words[found[0]]


def _paths_in(text: str) -> Iterator[str]:
    """Absolute paths in a setting, also behind `manual:` and inside a command."""
    for found in re.finditer(r"(?:^|[\s='\":])(?P<path>(?:/|~/)(?!/)[^\s'\":]*)", text):
        yield found["path"]


def _stays(path: str) -> bool:
    return path in ("/", "~") or any(path == place or path.startswith(f"{place}/") for place in SYSTEM)

"""Takes secrets out of texts: those that this process knows, exactly, and those that look like one.

A secret becomes a marker that names its kind and keeps equal secrets equal, such as `[redacted:github-token:1]`.
Where text goes decides how much is taken out:

    known       prompts, replies, outputs: the process's own secrets and nothing else, since code must stay code
    everything  what is given away: patterns too
    error       messages of servers and engines: fragments of the process's own secrets too

Known are the values of environment variables whose names say so, and the passwords of URLs in any variable.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

from agent.secret_patterns import PATTERNS
from sandbox.errors import RunoffError
from sandbox.hostnet import SETUP_SECRETS, setup_secret_names

MARK = "[redacted:"
"""What every marker begins with."""
_NAMES = frozenset(
    {
        *("KEY", "KEYS", "APIKEY", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASS", "PASSWORD", "PASSWD", "PASSPHRASE"),
        *("PWD", "PAT", "CREDENTIAL", "CREDENTIALS", "AUTH", "COOKIE", "JWT", "BEARER", "DSN", "WEBHOOK"),
    }
)
"""Words that a variable's name is made of, if its value is a secret."""
SHORTEST = 8
"""Characters of a secret at least; shorter ones are words of code too often."""
LONG = 20
"""Characters from which on a value is a secret even without digits and capitals."""
_ENCODED = 12
"""Characters of an encoded form at least."""
_FRAGMENT = 8
"""Characters of a known secret, from its start or its end, that an error must not hold."""
_ORDINARY = re.compile(r"[/~.].*|[\d.:,]+|[\w./-]+\.[a-z]{1,5}|\w+://[^@?#]*")
"""A path, a number, a file's name, an address without anything secret in it."""
_URL_PASSWORD = re.compile(r"://[^\s/:@]{0,200}:([^\s/@]+)@")


def known_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets in an environment, by variable."""
    asked = setup_secret_names(environment)
    found = {}
    for name, value in sorted(environment.items()):
        named = name in asked or (name != SETUP_SECRETS and not _NAMES.isdisjoint(name.upper().split("_")))
        if passwords := [unquote(each) for each in _URL_PASSWORD.findall(value)]:
            found.update({f"{name}{number or ''}": each for number, each in enumerate(passwords) if _is_secret(each)})
        elif named and (name in asked or _is_secret(value.strip())):
            found[name] = value.strip()
    return {name: value for name, value in found.items() if value}


def _is_secret(value: str) -> bool:
    """Whether the value is no word, number, switch, path or address that texts hold for other reasons."""
    if len(value) < SHORTEST or _ORDINARY.fullmatch(value):
        return False
    kinds = [any(test(char) for char in value) for test in (str.islower, str.isupper, str.isdigit)]
    return len(value) >= LONG or sum(kinds) > 1


def _forms(value: str) -> Iterator[str]:
    """The ways in which a secret is written: as it is, escaped, quoted, in base64 at any offset, in hexadecimal."""
    yield value
    yield json.dumps(value)[1:-1]
    yield quote(value, safe="")
    yield quote(value)
    data = value.encode("utf-8", "surrogateescape")
    encoded = [data.hex(), data.hex().upper()]
    for offset, start in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(b"\0" * offset + data).decode("ascii")
        whole = text[start : (offset + len(data)) * 8 // 6]  # without the characters that the neighbours decide
        encoded += [whole, whole.replace("+", "-").replace("/", "_")]
    yield from (form for form in encoded if len(form) >= _ENCODED)


class Redactor:
    """Replaces secrets by markers. `tally` counts markers as they are put in; whoever reads it may clear it."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        """`known`: the secrets that are known, by the name that their marker shows."""
        self._values = dict(sorted((known or {}).items(), key=lambda item: (-len(item[1]), item[0])))
        self._markers: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._seen: dict[str, str] = {}
        for name, value in sorted(self._values.items()):
            marker = self._seen.setdefault(value, f"{MARK}{name}:1]")
            for form in _forms(value):
                self._markers.setdefault(form, marker)
        self.tally: Counter[str] = Counter()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Redactor:
        """A redactor that knows the secrets of an environment."""
        return cls(known_secrets(environment))

    def copy(self) -> Redactor:
        """One that knows the same secrets and has seen nothing yet."""
        return Redactor(self._values)

    def known(self, text: str) -> str:
        """The text without the known secrets, in whatever form."""
        present = [form for form in self._markers if form in text]
        if not present:
            return text
        present.sort(key=len, reverse=True)
        return re.sub("|".join(map(re.escape, present)), lambda found: self._put(self._markers[found[0]]), text)

    def everything(self, text: str) -> str:
        """The text without known secrets and without what looks like one."""
        text = self.known(text)
        lowered = text.lower()
        for pattern in PATTERNS:
            if any(needle in lowered for needle in pattern.needles):
                kind = pattern.kind
                text = pattern.expression.sub(lambda found, kind=kind: self._replaced(found, kind), text)  # type: ignore[misc]  # mypy sees no default of a lambda
        return text

    def error(self, text: str) -> str:
        """`everything`, and without beginnings and ends of known secrets: messages quote them cut."""
        text = self.everything(text)
        for value in self._values.values():
            if len(value) > _FRAGMENT:
                text = self._without_fragments(text, value, self._markers[value])
        return text

    def names_in(self, text: str) -> list[str]:
        """Which known secrets a text holds."""
        return sorted(name for name, value in self._values.items() if any(form in text for form in _forms(value)))

    def kinds_in(self, text: str) -> list[str]:
        """Kinds of all secrets that a text holds, known ones by name."""
        probe = self.copy()
        probe.everything(text)
        return sorted({marker.split(":")[1] for marker in probe.tally})

    def cleanse(self, error: RunoffError) -> None:
        """Take secrets out of an error that is about to be raised, written down or shown."""
        error.message, error.where, error.hint = (self.error(text) for text in (error.message, error.where, error.hint))
        error.args = (error.message,)

    def _replaced(self, found: re.Match[str], kind: str) -> str:
        group = "secret" if "secret" in found.re.groupindex else 0
        secret, whole = found[group], found[0]
        if MARK in secret:
            return whole
        marker = self._seen.get(secret)
        if marker is None:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            marker = self._seen[secret] = f"{MARK}{kind}:{self._numbers[kind]}]"
        start, end = found.start(group) - found.start(), found.end(group) - found.start()
        return whole[:start] + self._put(marker) + whole[end:]

    def _put(self, marker: str) -> str:
        self.tally[marker] += 1
        return marker

    def _without_fragments(self, text: str, value: str, marker: str) -> str:
        text = self._without_heads(text, value, marker)
        return self._without_heads(text[::-1], value[::-1], marker[::-1])[::-1]

    def _without_heads(self, text: str, value: str, marker: str) -> str:
        """Without the longest beginnings of a value, of _FRAGMENT characters at least."""
        at = text.find(value[:_FRAGMENT])
        while at >= 0:
            end = at + _FRAGMENT
            while end - at < len(value) and text[end : end + 1] == value[end - at]:
                end += 1
            text = text[:at] + marker + text[end:]
            at = text.find(value[:_FRAGMENT], at + len(marker))
        return text


def of_process() -> Redactor:
    """The redactor that knows this process's own secrets, as the environment has them now."""
    return _of(tuple(os.environ.items()))


@lru_cache(maxsize=4)
def _of(environment: tuple[tuple[str, str], ...]) -> Redactor:
    return Redactor.of(dict(environment))

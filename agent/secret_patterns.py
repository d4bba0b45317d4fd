"""What well-known secrets look like, so that those which nobody announced are found too.

Every expression takes linear time: it starts with a literal, a run of word characters is tried once (from its
beginning), and what repeats is possessive or bounded. `needles` are looked for first: most texts hold none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_END = r"(?![A-Za-z0-9_-])"


@dataclass(frozen=True, slots=True)
class SecretPattern:
    """One kind of secret. The group `secret` is what is taken out; the whole match where there is no such group."""

    kind: str
    needles: tuple[str, ...]
    """Lower case; a text without any of them holds no such secret."""
    expression: re.Pattern[str]


def _token(kind: str, prefix: str, rest: str, *, needles: tuple[str, ...] = ()) -> SecretPattern:
    """A token that begins with a literal and is a word of its own; also where an escaped line end precedes it."""
    begins = rf"{prefix}(?:(?<![A-Za-z0-9_-]{prefix})|(?<=\\[nrt]{prefix}))"
    return SecretPattern(kind, needles or (prefix.lower(),), re.compile(begins + rest + _END))


_PEM_NAME = r"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_NAMES = r"(?:secret|token|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|credentials?)"
_NAME_NEEDLES = ("secret", "token", "passw", "passphrase", "key", "credential")
_MIXED = r"(?=[^\s\"'\d]{0,400}\d)(?=[^\s\"'A-Za-z]{0,400}[A-Za-z])"
"""Letters and digits both: what tells a secret from a word."""
_NO_PLACEHOLDER = r"(?!(?i:pass(?:word|wd)?|pwd|token|secret|x+|[*.]+)@)"

PATTERNS: tuple[SecretPattern, ...] = (
    SecretPattern(
        "private-key",
        ("private key",),
        re.compile(
            rf"-----BEGIN {_PEM_NAME}(?:(?:[^-]|-(?!----))*+-----END {_PEM_NAME}"
            r"|(?:(?:\s|\\[nrt]|[\"'+])*+[A-Za-z0-9+/=]{20,}+)++)"
        ),
    ),
    _token("anthropic-key", "sk-ant-", r"[A-Za-z0-9_-]{16,}+"),
    _token("openai-key", "sk-", r"(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}+"),
    _token("openai-key", "sk-", r"(?=[A-Za-z]*+\d)[A-Za-z0-9]{20,}+"),
    _token("partial-key", "sk-", r"[A-Za-z0-9_-]{0,24}\*{3,}+[A-Za-z0-9_-]{0,24}"),  # as servers quote a key
    *(_token("github-token", f"gh{letter}_", r"[A-Za-z0-9]{36,}+") for letter in "pousr"),
    _token("github-token", "github_pat_", r"[A-Za-z0-9_]{22,}+"),
    _token("gitlab-token", "glpat-", r"[A-Za-z0-9_-]{20,}+"),
    *(_token("aws-key-id", prefix, r"[A-Z2-7]{16}") for prefix in ("AKIA", "ASIA")),
    *(_token("slack-token", f"xox{letter}-", r"[A-Za-z0-9-]{10,}+") for letter in "abpors"),
    _token("google-key", "AIza", r"[A-Za-z0-9_-]{35}"),
    _token("huggingface-token", "hf_", r"[A-Za-z0-9]{30,}+"),
    _token("npm-token", "npm_", r"[A-Za-z0-9]{36}"),
    _token("pypi-token", "pypi-AgE", r"[A-Za-z0-9_-]{40,}+"),
    *(_token("stripe-key", f"{letter}k_live_", r"[A-Za-z0-9]{16,}+") for letter in "sr"),
    _token("jwt", "eyJ", r"[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{16,}+"),
    SecretPattern(
        "authorization",
        ("bearer", "basic", "authorization"),
        re.compile(rf"\b(?:bearer|basic)\s{{1,4}}{_MIXED}(?P<secret>[A-Za-z0-9._~+/-]{{16,}}+={{0,2}})", re.IGNORECASE),
    ),
    SecretPattern(
        "authorization",
        ("api-key", "api_key", "auth-token"),
        re.compile(
            rf"\bx-(?:api-key|auth-token|goog-api-key)[\"']?\s{{0,4}}[:=,]\s{{0,4}}[\"']?{_MIXED}"
            r"(?P<secret>[A-Za-z0-9._~+/-]{12,}+)",
            re.IGNORECASE,
        ),
    ),
    SecretPattern(
        "url-password",
        ("://",),
        re.compile(rf"://[^\s/:@\"'<>{{}}$\\]{{0,100}}:{_NO_PLACEHOLDER}(?P<secret>[^\s/@\"'<>{{}}$\\\[\]]{{1,300}})@"),
    ),
    SecretPattern(
        "url-password",
        ("://",),
        re.compile(r"https?://(?P<secret>[A-Za-z0-9._~+-]{20,300})@"),  # a token in the place of a user
    ),
    SecretPattern(
        "url-parameter",
        ("key=", "token=", "secret=", "signature=", "sig="),
        re.compile(
            rf"[?&](?:api[-_]?key|key|(?:access|auth|id)?[-_]?token|(?:client[-_])?secret|sig|x-amz-signature|signature)="
            rf"{_MIXED}(?P<secret>[^\s&#\"'<>{{}}$\[\]]{{8,}}+)",
            re.IGNORECASE,
        ),
    ),
    SecretPattern(  # netrc
        "password",
        ("password",),
        re.compile(r"\blogin\s{1,8}\S{1,100}\s{1,8}password\s{1,8}(?P<secret>[^\s\[]{4,})"),
    ),
    SecretPattern(  # name = "value", 'NAME': 'value'
        "assigned",
        _NAME_NEEDLES,
        re.compile(
            rf"{_NAMES}[\w-]{{0,40}}[\"']?\s{{0,8}}[:=]\s{{0,8}}(?P<quote>[\"']){_MIXED}"
            r"(?P<secret>[^\"'\s{}$<>%()\[\]]{8,400})(?P=quote)",
            re.IGNORECASE,
        ),
    ),
    SecretPattern(  # NAME=value, as in an environment file and in what `env` prints
        "assigned",
        _NAME_NEEDLES,
        re.compile(
            r"(?:SECRET|TOKEN|PASSW(?:OR)?D|PASSPHRASE|CREDENTIALS?|KEY|_PAT|_AUTH)(?:_[A-Z0-9_]{1,40})?="
            rf"{_MIXED}(?P<secret>[^\s\"'`$;&|<>(){{}}\[\],\\]{{8,}}+)"
        ),
    ),
    SecretPattern(  # a line `password = value` or `password: value`; a value that could be a name is none
        "assigned",
        _NAME_NEEDLES,
        re.compile(
            rf"^[ \t]{{0,40}}(?:[\w.-]{{0,40}}[_.-])?{_NAMES}[ \t]{{0,8}}[:=][ \t]{{0,8}}{_MIXED}(?=\d|\w*[-+/!@#%^&*~])"
            r"(?P<secret>[^\s\"'`$;|<>(){}\[\],\\]{8,}+)[ \t]*$",
            re.IGNORECASE | re.MULTILINE,
        ),
    ),
)

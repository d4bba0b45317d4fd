"""What set-up needs of the host to reach package registries: proxies, certificates, pip's index settings.

Given to the processes of one build at run time. Never part of an image or a cached environment, and never visible to
an execution. Set-up runs the repository's own code with network, so a password is not given to it unasked:
`RUNOFF_SETUP_SECRETS=NAME,...` names the variables that it gets besides.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import EnvironmentBuildError

BUNDLE = "/run/runoff-ca.crt"
"""Where a build finds the host's certificates."""
PASSED = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES"),
    *("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
)
CERTIFICATES = (
    *("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO"),
)
SETUP_SECRETS = "RUNOFF_SETUP_SECRETS"
MODEL_KEYS = frozenset({"ANTHROPIC_API_KEY", "OPENAI_API_KEY"})
"""No sandbox gets these, asked or not: nothing that is built needs a model."""
_CREDENTIALS = re.compile(r"://[^\s/@]+@")


def ca_bundle(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The host's certificate bundle, if it has one."""
    known = (environment.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt")
    for candidate in known:
        if candidate and Path(candidate).is_file():
            return Path(candidate).resolve()
    return None


def setup_secret_names(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The variables that set-up is to get although they hold secrets."""
    return tuple(filter(None, re.split(r"[\s,]+", environment.get(SETUP_SECRETS, ""))))


def withheld(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that set-up would get if they held no password."""
    asked = setup_secret_names(environment)
    return [name for name in PASSED if name not in asked and _CREDENTIALS.search(environment.get(name, ""))]


def warnings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What whoever waits for a build should know, a line each."""
    return [
        f"{name} holds a password, so set-up does not get it; {SETUP_SECRETS}={name} would hand it over"
        for name in withheld(environment)
    ]


def build_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for a build; those of certificates name `BUNDLE`, where the backend puts the host's.

    Raises EnvironmentBuildError if `RUNOFF_SETUP_SECRETS` names a variable that is not set, or a model's key.
    """
    asked = setup_secret_names(environment)
    if wrong := sorted(MODEL_KEYS.intersection(asked)) or [name for name in asked if not environment.get(name)]:
        reason = "is the key of a model, which no sandbox gets" if wrong[0] in MODEL_KEYS else "is not set"
        raise EnvironmentBuildError(
            f"{wrong[0]} {reason}", where=SETUP_SECRETS, hint=f"name variables that set-up needs: {SETUP_SECRETS}=NAME,..."
        )
    kept = set(PASSED) - set(withheld(environment)) | set(asked)
    passed = {name: environment[name] for name in (*PASSED, *asked) if name in kept and environment.get(name)}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"}
    certificates = dict.fromkeys(CERTIFICATES, BUNDLE) if ca_bundle(environment) else {}
    return {**quiet, **passed, **certificates}

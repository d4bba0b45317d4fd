"""What set-up needs of the host to reach package registries: proxies, certificates, pip's index settings.

Given to the processes of one build at run time. Never part of an image or a cached environment, and never visible to
an execution.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

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


def ca_bundle(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The host's certificate bundle, if it has one."""
    known = (environment.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt")
    for candidate in known:
        if candidate and Path(candidate).is_file():
            return Path(candidate).resolve()
    return None


def build_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables for a build; those of certificates name `BUNDLE`, where the backend puts the host's."""
    passed = {name: environment[name] for name in PASSED if environment.get(name)}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"}
    certificates = dict.fromkeys(CERTIFICATES, BUNDLE) if ca_bundle(environment) else {}
    return {**quiet, **passed, **certificates}

"""What set-up gets of the host's variables."""

import pytest

from sandbox import hostnet
from sandbox.errors import EnvironmentBuildError

HOST = {
    "PIP_INDEX_URL": "https://me:secret@pypi.example.org/simple",
    "HTTPS_PROXY": "http://proxy.example.org:3128",
    "MY_TOKEN": "abc",
    "OPENAI_API_KEY": "key",
}


def test_passwords_are_withheld_and_told() -> None:
    given = hostnet.build_variables(HOST)
    assert given["HTTPS_PROXY"] == HOST["HTTPS_PROXY"]
    assert not {"PIP_INDEX_URL", "MY_TOKEN", "OPENAI_API_KEY"} & set(given)
    assert hostnet.withheld(HOST) == ["PIP_INDEX_URL"]
    assert "RUNOFF_SETUP_SECRETS=PIP_INDEX_URL" in hostnet.warnings(HOST)[0]


@pytest.mark.parametrize("names", ["PIP_INDEX_URL,MY_TOKEN", " MY_TOKEN PIP_INDEX_URL ", "MY_TOKEN,,PIP_INDEX_URL"])
def test_what_is_named_is_handed_over(names: str) -> None:
    host = {**HOST, hostnet.SETUP_SECRETS: names}
    given = hostnet.build_variables(host)
    assert {name: given[name] for name in ("PIP_INDEX_URL", "MY_TOKEN")} == {
        name: HOST[name] for name in ("PIP_INDEX_URL", "MY_TOKEN")
    }
    assert hostnet.SETUP_SECRETS not in given
    assert hostnet.warnings(host) == []


@pytest.mark.parametrize(("name", "reason"), [("ABSENT", "is not set"), ("OPENAI_API_KEY", "no sandbox gets")])
def test_names_that_cannot_be_handed_over(name: str, reason: str) -> None:
    with pytest.raises(EnvironmentBuildError, match=reason):
        hostnet.build_variables({**HOST, hostnet.SETUP_SECRETS: name})

"""Settings that hold a secret are refused before anything is written, and the refusal does not show it."""

import pytest

from agent.cli.refusals import refuse_secrets, refuse_secrets_of_issue
from agent.cli.settings import SolveSettings, resolve
from agent.instances import Instance
from sandbox.errors import InputError

MINE = "words-of-mine-that-are-a-token"
GITHUB = "ghp_" + "a1B2" * 9


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", MINE)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("model", "sk-ant-api03-" + "aB3d" * 8, "aB3d"),
        ("model", "openai:m@http://me:Sp3cPassword@host/v1", "Sp3cPassword"),
        ("model", f"openai:m@http://host/v1?x={MINE}", MINE),
        ("cheap_model", "openai:m@http://host/v1?api_key=abc123def456", "abc123def456"),
        ("repo", f"https://{GITHUB}@git.example.org/me/x", GITHUB),
        ("setup", "pip install --index-url https://me:S3tup@pypi.example.org/simple .", "S3tup"),
        ("setup", f"MINE={MINE} make", MINE),
        ("setup", "curl -H 'Authorization: Bearer abc123def456ghi789' x", "abc123"),
        ("test_command", "API_TOKEN=abc123def456 pytest", "abc123"),
        ("image", f"registry/{MINE}", MINE),
        ("run", MINE, MINE),
    ],
)
def test_settings(name, value, secret):
    with pytest.raises(InputError) as raised:
        refuse_secrets(SolveSettings(**{name: value}))
    said = f"{raised.value} {raised.value.hint}"
    assert f"--{name.replace('_', '-')}" in said
    assert secret not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("setup", 'pip install --index-url "$MY_INDEX" -e .'),
        ("repo", "ssh://git@github.com/me/x"),
        ("repo", "git@github.com:me/x.git"),
        ("base", "3f786850e387550fdab836ed7e6dc881de23001b"),
        ("model", "openai:sk-model-of-somebody@http://10.0.0.1:8000/v1"),
        ("issue", f"the client logs {GITHUB}"),
    ],
)
def test_settings_that_are_fine(name, value):
    refuse_secrets(SolveSettings(**{name: value}))


def test_issues():
    refuse_secrets_of_issue(Instance("x-1", "x", "abc", f"logs {GITHUB}"))
    with pytest.raises(InputError, match="MY_SERVICE_TOKEN") as raised:
        refuse_secrets_of_issue(Instance("x-1", "x", "abc", f"logs {MINE}"))
    assert MINE not in str(raised.value)


def test_show_settings_masks_what_would_be_refused(tmp_path):
    shown = resolve(
        {"setup": f"TOKEN={MINE} curl https://me:pw1@host", "repo": f"https://{GITHUB}@h/x"}, {}, tmp_path
    ).lines()
    values = {name: value for name, value, _ in shown}
    assert values["setup"] == "TOKEN=[redacted:MY_SERVICE_TOKEN:1] curl https://***@host"
    assert values["repo"] == "https://***@h/x"

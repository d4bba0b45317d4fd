"""The command that runs a repository's tests: what tox, CI or make run, made plain; else what the test files look like.

A line of a stranger's file is never passed on as it stands: it is split into words, what needs a shell or a variable is
dropped, and the words are quoted again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from agent.environments.ci import Job, shell_lines
from agent.environments.files import ConfigFiles, dig
from agent.environments.proposal import Found
from agent.environments.tox import PLACES, Tox

PYTEST = ("python", "-m", "pytest")
UNITTEST = ("python", "-m", "unittest")
WRAPPERS = ("poetry", "uv", "pdm", "hatch", "pipenv", "rye")
"""What a command may be run by: `poetry run pytest`."""
DROPPED = re.compile(
    r"--(cov|no-cov|junit|durations|dist|numprocesses|color|html|tb|verbose|maxfail|cov-report|quiet|capture|benchmark|"
    r"showlocals|strict|timeout|reruns|randomly|forked|tx|doctest-plus|instafail|splits|group|store-durations)|^-[vqsnx]|^-r[a-zA-Z]$"
)
"""Options of pytest that change what is printed or need a plugin, not what is tested."""
TAKES_VALUE = re.compile(
    r"^(--(cov|cov-report|cov-config|dist|durations|junitxml|junit-xml|numprocesses|maxfail|tb|color)|-n)$"
)
KEPT_VARIABLES = {"PYTHONPATH", "DJANGO_SETTINGS_MODULE", "PYTHONWARNINGS", "TZ"}
"""Variables that are kept."""
TEST_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_tests?|tests?)\.py$")
SAMPLED = 12
CONFIGS = (
    ("pytest.ini", "pytest", ""),
    (".pytest.ini", "pytest", ""),
    ("tox.ini", "pytest", "[pytest] in "),
    ("setup.cfg", "tool:pytest", "[tool:pytest] in "),
)


def find_test(files: ConfigFiles, tox: Tox, jobs: Sequence[Job]) -> Found | None:
    """The test command with its evidence; None where there are no tests to be seen."""
    for line, evidence in _lines(files, tox, jobs):
        if words := plain(files, line):
            variables = [pair for pair in tox.variables if pair.split("=")[0] in KEPT_VARIABLES] if "tox" in evidence else []
            return Found(shlex.join([*variables, *words]), evidence)
    if evidence := pytest_config(files):
        return Found(shlex.join(PYTEST), evidence)
    return _by_files(files)


def pytest_config(files: ConfigFiles) -> str:
    """Where pytest is configured; empty if nowhere."""
    if dig(files.toml("pyproject.toml"), "tool", "pytest"):
        return "[tool.pytest] in pyproject.toml"
    return next((f"{words}{path}" for path, section, words in CONFIGS if section in files.ini(path)), "")


def pytest_options(files: ConfigFiles) -> str:
    """What the configuration of pytest hands to every call, on a line."""
    tables = [dig(files.toml("pyproject.toml"), "tool", "pytest", "ini_options") or {}]
    tables += [files.ini(path).get(section, {}) for path, section, _ in CONFIGS]
    return " ".join(f"{key}={value}" for options in tables if isinstance(options, dict) for key, value in options.items())[
        :4000
    ]


def _lines(files: ConfigFiles, tox: Tox, jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    """Lines that may run the tests, the likeliest first."""
    for line in tox.commands:
        yield line, f"commands of {tox.evidence}"
    for job in jobs:
        for step, line in job.steps:
            yield line, step
            if match := re.match(r"make\s+([\w-]+)", line):
                yield from _make(files, match[1])
    for target in ("test", "tests", "check"):
        yield from _make(files, target)


def _make(files: ConfigFiles, target: str) -> Iterator[tuple[str, str]]:
    if match := re.search(rf"^{re.escape(target)}\s*:[^=\n]*\n((?:\t.*(?:\n|$))+)", files.text("Makefile"), re.MULTILINE):
        for line in shell_lines(re.sub(r"(?m)^\t[@-]*", "", match[1])):
            yield line, f"target {target} of Makefile"


def plain(files: ConfigFiles, line: str) -> list[str]:
    """The line's words if it runs tests, without wrappers, reports and plugins; empty if it does not."""
    words = _words(line)
    while words and words[0] in WRAPPERS and "run" in words[1:2]:
        words = _after_options(words[2:])
    if words and words[0] == "coverage" and "run" in words[1:2]:
        words = ["python", *_after_options(words[2:], keep=("-m",))]
    if words[:4] == ["python", "-m", "coverage", "run"]:
        words = ["python", *_after_options(words[4:], keep=("-m",))]
    match words:
        case ["pytest" | "py.test", *rest] | ["python", "-m", "pytest", *rest]:
            return [*PYTEST, *_pytest_arguments(files, rest)]
        case ["python", "-m", "unittest", *rest]:
            return [*UNITTEST, *(word for word in rest if word not in ("-v", "--verbose"))]
        case ["python", script, *rest] if files.exists(script) and _runs_tests(script, rest):
            return ["python", script, *rest]
        case [script, *rest] if script.endswith(".py") and files.exists(script) and _runs_tests(script, rest):
            return ["python", script.removeprefix("./"), *rest]
        case _:
            return []


def _runs_tests(script: str, rest: Sequence[str]) -> bool:
    return bool(re.search(r"tests?[^/]*\.py$", script)) or (script.endswith("manage.py") and "test" in rest[:1])


def _words(line: str) -> list[str]:
    """Words up to the first thing that needs a shell; variables that are set in front are left out."""
    line = re.sub(r"\{posargs(?::([^{}]*))?\}", r"\1", PLACES.sub("", line).replace("{envpython}", "python"))
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return []
    stop = next(
        (at for at, word in enumerate(words) if word in ("|", "||", ";", "&") or word.startswith((">", "2>"))), len(words)
    )
    kept = [word for word in words[:stop] if not re.search(r"[{}$`\n]", word)]
    while kept and re.match(r"[A-Z_][A-Z0-9_]*=", kept[0]):
        kept.pop(0)
    if kept and re.fullmatch(r"python[\d.]*", kept[0]):
        kept[0] = "python"
        while len(kept) > 1 and re.fullmatch(r"-[WXbBIu]\S*", kept[1]):
            del kept[1 : 3 if kept[1] in ("-W", "-X") else 2]
    return kept


def _after_options(words: Sequence[str], keep: Sequence[str] = ()) -> list[str]:
    """The words after a wrapper's own options."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in keep:
        at += 2 if words[at] in ("--group", "--extra", "--with", "--python", "-p", "--source", "--rcfile") else 1
    return list(words[at:])


def _pytest_arguments(files: ConfigFiles, words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip and not word.startswith("-"):
            skip = False
            continue
        skip = bool(TAKES_VALUE.match(word))
        if skip or DROPPED.search(word):
            continue
        option_value = bool(kept) and kept[-1] in (
            "-k",
            "-m",
            "-p",
            "-W",
            "-c",
            "-o",
            "--ignore",
            "--rootdir",
            "--import-mode",
        )
        if word.startswith("-") or option_value or files.exists(word.split("::")[0]):
            kept.append(word)
    if not any(files.exists(word.split("::")[0]) for word in kept):  # or it imports every file, those of the docs too
        kept = [word for word in kept if word != "--doctest-modules"]
    return kept


def _by_files(files: ConfigFiles) -> Found | None:
    """From the test files: pytest where one imports it or has bare functions, discovery where they are unittest's."""
    paths = sorted((path for path in files.paths if TEST_FILE.search(path)), key=lambda path: (path.count("/"), path))
    if not paths:
        return None
    texts = {path: files.text(path) for path in paths[:SAMPLED]}
    conftest = next((path for path in files.paths if path.rpartition("/")[2] == "conftest.py"), "")
    for path, text in texts.items():
        if re.search(r"^\s*(import|from) pytest\b", text, re.MULTILINE):
            return Found(shlex.join(PYTEST), f"{path} imports pytest")
    if conftest:
        return Found(shlex.join(PYTEST), conftest)
    if bare := next((path for path, text in texts.items() if re.search(r"^def test_", text, re.MULTILINE)), ""):
        return Found(shlex.join(PYTEST), f"test functions in {bare}")
    unit = next((path for path, text in texts.items() if "unittest" in text), "")
    return _unittest(files, unit) if unit else None


def _unittest(files: ConfigFiles, path: str) -> Found:
    folder, _, name = path.rpartition("/")
    pattern = [] if name.startswith("test") else ["-p", "*test*.py"]
    start = ["-s", folder] if folder else []
    top = ["-t", "."] if folder and files.exists(f"{folder}/__init__.py") else []
    discover = ["discover", *start, *top, *pattern] if (start or pattern) else ["discover"]
    return Found(shlex.join([*UNITTEST, *discover]), f"{path} uses unittest")

"""Runs chosen test files of a repository by its own test command, and reads how each test ended.

Of the command only the runner and its options are used. Files and tests that it names are left out: where a command was
written down for one instance, they may be those that the gold patch is judged by.
"""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal, assert_never

from sandbox.api import WORKDIR, Execution, Script

RECORDER = Path(__file__).with_name("recorder.py")
PLACE = "/tmp/runoff-tests"  # noqa: S108  in a sandbox, whose /tmp is its own
MARK = "----- runoff: outcomes of the tests"
LOG_CHARS = 3000
"""Characters of the runner's own output that are kept, for readers."""
GRACE = 5
"""Seconds that a runner has to end once its time is over."""
_VARIABLE = re.compile(r"[A-Za-z_]\w*=")
_TAKES_VALUE = frozenset(["-c", "-o", "-p", "-W", "-m", "--rootdir", "--confcutdir", "--import-mode", "--settings"])
"""Options whose value is a word of its own. `-m` is that of pytest: the interpreter's is taken apart before."""
_CHOOSES = re.compile(r"(-k|--deselect|--lf|--ff|--last-failed|--failed-first|-x|--exitfirst|--maxfail|--junit|-n)\b")
"""Options that choose tests, end early, or make processes whose reports come late."""
_SYMPY_FILE = re.compile(r"^(\S+\.py)\[(?:\d+|\?)\]")
_SYMPY_TEST = re.compile(r"^(test\w*) (ok|F|E|f|X|w|s|K|T)\b")


class Ended(StrEnum):
    """How a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


Kind = Literal["pytest", "django", "unittest", "sympy"]


@dataclass(frozen=True, slots=True)
class Suite:
    """A runner that can be given files."""

    kind: Kind
    command: tuple[str, ...]
    """The runner with its options; no test is named."""
    folder: str = ""
    """What the names of test modules begin below, for runners that want modules."""

    def script(self, files: Sequence[str], seconds: float) -> Script:
        """Runs these test files one after the other, for so many seconds at most, and prints how each test ended.

        Each has a process of its own: one that cannot be collected would keep a runner from starting any other.
        """
        recorder = base64.b64encode(RECORDER.read_bytes()).decode("ascii")
        name = "runoff_recorder" if self.kind == "pytest" else "sitecustomize"
        told = "log" if self.kind == "sympy" else "outcomes"
        return Script(
            f"""cd {WORKDIR} || exit 1
mkdir -p {PLACE} && base64 -d > {PLACE}/{name}.py << 'END_OF_RECORDER'
{recorder}
END_OF_RECORDER
touch {PLACE}/log {PLACE}/outcomes
for file in {shlex.join(self._named(file) for file in files)}; do
  left=$(({math.ceil(seconds)} - SECONDS))
  [ "$left" -gt 0 ] || break
  RUNOFF_OUTCOMES={PLACE}/outcomes PYTHONPATH={PLACE}${{PYTHONPATH:+:$PYTHONPATH}} \\
    timeout -k {GRACE} "$left" env {shlex.join(self.command)} "$file" >> {PLACE}/log 2>&1
  echo "$file: exit code $?" >> {PLACE}/log
done
tail -c {LOG_CHARS} {PLACE}/log
echo
echo "{MARK}"
cat {PLACE}/{told}
echo "{MARK} end"
exit 0
""",
            "bash",
        )

    def outcomes(self, execution: Execution) -> dict[str, Ended]:
        """How each test ended, by its id; the worst, if it ended several times. Empty if none was seen to end."""
        _, begun, rest = execution.output.partition(f"{MARK}\n")
        body, ended, _ = rest.rpartition(f"{MARK} end")
        lines = (body if ended else rest).splitlines() if begun else []
        return _of_sympy(lines) if self.kind == "sympy" else _recorded(lines)

    def _named(self, file: str) -> str:
        """What the runner calls a test file."""
        match self.kind:
            case "pytest" | "sympy" | "unittest":
                return file
            case "django":
                return file.removeprefix(f"{self.folder}/").removesuffix(".py").replace("/", ".")
            case _:
                assert_never(self.kind)

    def runs(self, file: str) -> bool:
        """Whether the runner can be given this file."""
        return self.kind != "django" or not self.folder or file.startswith(f"{self.folder}/")


def suite_of(command: str) -> Suite | None:
    """The runner that a test command calls; None for one that cannot be given files."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    before = _leading(words)
    rest = words[len(before) :]
    python = rest[:1] if rest and _is_python(rest[0]) else []
    found: Suite | None = None
    match rest[len(python) :]:
        case ["-m", "pytest", *options] if python:
            found = _pytest(("-m", "pytest"), options)
        case ["-m", "unittest", *_] if python:
            found = Suite("unittest", ("-m", "unittest"))
        case ["pytest" | "py.test" as name, *options] if not python:
            found = _pytest((name,), options)
        case ["tox", *_] if not python:
            found = _pytest(("python", "-m", "pytest"), [])
        case [script, *options]:
            found = _script(script, options)
    return replace(found, command=(*before, *python, *found.command)) if found else None


def _leading(words: Sequence[str]) -> list[str]:
    """Variables that are set in front of the command."""
    end = next((at for at, word in enumerate(words) if not _VARIABLE.match(word)), len(words))
    return list(words[:end])


def _is_python(word: str) -> bool:
    return re.fullmatch(r"(\S*/)?python[\d.]*", word) is not None


def _pytest(runner: tuple[str, ...], rest: Sequence[str]) -> Suite:
    return Suite("pytest", (*runner, *_options(rest), "-p", "runoff_recorder"))


def _script(script: str, rest: Sequence[str]) -> Suite | None:
    """The suite of a repository's own runner: Django's, that of a project of Django, sympy's."""
    folder, _, name = script.removeprefix("./").rpartition("/")
    match name, rest:
        case "runtests.py", _:
            return Suite("django", (script, *_options(rest)), folder)
        case "manage.py", ["test", *options]:
            return Suite("django", (script, "test", *_options(options)), folder)
        case "test", _ if folder == "bin":
            told = _options(rest)
            return Suite("sympy", (script, *told, *(() if "--verbose" in told else ("--verbose",))))
        case _:
            return None


def _options(words: Sequence[str]) -> tuple[str, ...]:
    """The options among the words, with their values, but for those that choose tests."""
    kept: list[str] = []
    takes = False
    for word in words:
        if word == "--":
            break
        if word.startswith("-"):
            takes = not _CHOOSES.match(word)
            kept += [word] if takes else []
        elif takes and (word.isdecimal() or kept[-1] in _TAKES_VALUE):
            kept.append(word)
            takes = False
        else:
            takes = False
    return tuple(kept)


def _recorded(lines: Sequence[str]) -> dict[str, Ended]:
    found: dict[str, Ended] = {}
    for line in lines:
        outcome, _, name = line.partition(" ")
        if name and outcome in set(Ended) and found.get(name) is not Ended.FAILED:
            found[name] = Ended(outcome)
    return found


def _of_sympy(lines: Sequence[str]) -> dict[str, Ended]:
    """What sympy's own runner prints with --verbose: a line for a file, then one for each of its tests."""
    found: dict[str, Ended] = {}
    file = ""
    for line in lines:
        if head := _SYMPY_FILE.match(line):
            file = head[1]
        elif test := _SYMPY_TEST.match(line):
            ended = {"ok": Ended.PASSED, "F": Ended.FAILED, "E": Ended.FAILED, "X": Ended.FAILED}.get(test[2], Ended.SKIPPED)
            found[f"{file}::{test[1]}"] = ended
    return found


def new_failures(sound: Mapping[str, Ended], after: Mapping[str, Ended]) -> tuple[str, ...]:
    """Of tests that passed before: those that fail now, or did not come to an end at all."""
    return tuple(sorted(name for name in sound if after.get(name, Ended.FAILED) is Ended.FAILED))

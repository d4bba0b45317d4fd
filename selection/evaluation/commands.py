"""The tests that judge an instance, as a command, and the script that runs them on a tree with a patch.

As in the official harness: the files of the test patch are put back to the base commit, the test patch goes over the
patch that is judged, and the repository's test command runs on those files. The output between two marks is what is
parsed. The marks are new each time, so that nothing that a patch prints can be taken for them.
"""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass

from sandbox.api import WORKDIR, Script
from sandbox.errors import InputError
from selection.gold import GoldLabels

DATA_FILES = (".json", ".png", "csv", ".txt", ".md", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml")
"""Ends of names of files that hold no tests; as the harness has it (csv without a dot)."""
BEGIN, END = ">>>>> Start Test Output", ">>>>> End Test Output"
"""What stands around the test command in the scripts of swebench 5."""


@dataclass(frozen=True, slots=True)
class Region:
    """What a log holds between the marks."""

    text: str
    started: bool
    """False: the test patch could not be put on the tree, or the tree was gone."""
    ended: bool
    """False: the test command took the shell with it, or was ended."""


def directives(labels: GoldLabels) -> tuple[str, ...]:
    """What to call the test files on the command line; Django's runner wants modules."""
    files = [path for path in labels.test_patch.paths if not path.endswith(DATA_FILES)]
    if labels.repo == "django/django":
        return tuple(path.removesuffix(".py").removeprefix("tests/").replace("/", ".") for path in files)
    return tuple(files)


def command_of(labels: GoldLabels, given: str) -> str:
    """The command that runs the instance's tests. `given`: the repository's, with or without the files to test.

    Without one, that of the row's script for swebench 5. Raises InputError if there is neither.
    """
    named = directives(labels)
    if given and named and all(name in given for name in named):
        return given
    if command := _of_script(labels.eval_script):
        return command
    if not given:
        raise InputError(
            "nothing says how the tests of this repository are run",
            where=labels.instance,
            hint="name a file with its test command: --install-specs FILE, or give --test-command",
        )
    return f"{given} {shlex.join(named)}"


def _of_script(script: str) -> str:
    """The lines between the marks of a script for swebench 5; empty if it has none."""
    _, begun, rest = script.partition(BEGIN)
    body, ended, _ = rest.partition(END)
    lines = [line for line in body.split("\n")[1:-1] if line.strip()]
    return "\n".join(lines) if begun and ended else ""


def trial(labels: GoldLabels, command: str, mark: str, *, forced: str = "") -> Script:
    """A script that runs the tests on the tree as it finds it, and exits with their exit code.

    `mark`: a word that nothing else prints. `forced`: a diff that `patch` puts on the tree first, as swebench 4.1 does where
    git refuses it; one that was written the wrong way round is then applied in reverse.
    """
    files = shlex.join(dict.fromkeys((*labels.test_patch.renamed, *labels.test_patch.paths)))
    force = _held(forced, "patch.diff") + "patch --batch --fuzz=5 -p1 -i /tmp/patch.diff || exit 1\n" if forced else ""
    return Script(
        f"""cd {WORKDIR} || exit 1
{force}for file in {files}; do
  if git cat-file -e "HEAD:$file" 2> /dev/null; then git checkout -q HEAD -- "$file"; else rm -f -- "$file"; fi
done
{_held(labels.test_patch.diff, "tests.diff")}git apply /tmp/tests.diff || exit 1
rm -f /tmp/tests.diff /tmp/patch.diff
echo "{mark} begins"
{command}
code=$?
echo
echo "{mark} ends"
exit $code
""",
        "bash",
    )


def _held(diff: str, name: str) -> str:
    """Lines that write a diff to a file in /tmp; nothing in it is read by the shell."""
    encoded = base64.b64encode(diff.encode("utf-8", "surrogateescape")).decode("ascii")
    return f"base64 -d > /tmp/{name} << 'END_OF_DIFF'\n{encoded}\nEND_OF_DIFF\n"


def region(output: str, mark: str) -> Region:
    """What the tests printed."""
    _, begun, rest = output.partition(f"{mark} begins\n")
    body, ended, _ = rest.rpartition(f"\n{mark} ends")
    return Region(body if ended else rest, bool(begun), bool(ended))

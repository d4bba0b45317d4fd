"""Edits written as blocks, parsed, and applied by real git give the files that they were made from."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.edits import interpret
from agent.edits.diff import Change, diff_of
from agent.edits.lines import split_lines
from agent.edits.match import Region, occurrences, replaced
from agent.repository import Repository
from sandbox.api import Patch

# Words that are dangerous: headings, markers, tags, quotes, form feeds, other alphabets.
words = st.sampled_from(
    ["x = 1", "", "    y", "=======", "=====", "<<<<<<< HEAD", ">>>>>>> main", "-- ", "+++ b/x", "@@ -1 +1 @@", "\ty  ", "é", "\x0c", "\\ No newline", "日本", "a\x0bb", "```"]
)  # fmt: skip
bodies = st.builds(
    lambda lines, end, final: (end.join(lines) + (end if final and lines else "")).encode(),
    st.lists(words, max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
names = st.sampled_from(["a.py", "b c.py", "d/ü.py", "d/e f/g.txt", "-x.py", 'q"t.py', "tab\tname.py"])
trees = st.dictionaries(names, st.one_of(st.none(), bodies), min_size=1, max_size=4)


def git(folder, *arguments, given=b""):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false", *arguments]
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def write(folder: Path, files):
    for name, content in files.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def tree_of(folder: Path):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def committed(folder: Path, files) -> None:
    git(folder, "init", "-q")
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")


slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(trees, trees)
def test_git_applies_every_diff(before, after):
    changes = {
        name: Change(before.get(name), after.get(name)) for name in {*before, *after} if before.get(name) != after.get(name)
    }
    with TemporaryDirectory() as folder:
        root = Path(folder)
        committed(root, before)
        patch = diff_of(changes)
        if changes:
            git(root, "apply", "--index", "--whitespace=nowarn", "-", given=patch.diff.encode("utf-8", "surrogateescape"))
        assert tree_of(root) == {name: content for name, content in after.items() if content is not None}


@slow
@given(bodies, st.data())
def test_a_block_changes_its_lines_and_no_others(content, data):
    text = content.decode()
    lines = [line.removesuffix("\n").removesuffix("\r") for line in split_lines(text)]
    if not lines:
        return
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first + 1, len(lines)))
    search = lines[first:last]
    new = data.draw(st.lists(st.sampled_from(["new = 1", "    more", "é"]), min_size=1, max_size=3))
    if len(occurrences(search, lines)) != 1 or not any(line.strip() for line in search):
        return
    block = "\n".join(["<<<<<<<<< SEARCH d/x.py", *search, "=========", *new, ">>>>>>>>> REPLACE"])
    with TemporaryDirectory() as folder:
        root = Path(folder)
        committed(root, {"d/x.py": content})
        with Repository.open(root) as repository:
            patch = interpret(block, repository=repository)
        assert isinstance(patch, Patch), patch.feedback
        git(root, "apply", "--whitespace=nowarn", "-", given=patch.diff.encode("utf-8", "surrogateescape"))
        assert (root / "d/x.py").read_bytes().decode() == replaced(text, [Region(first, last, tuple(new), 1)])
        after = [line.removesuffix("\n").removesuffix("\r") for line in split_lines((root / "d/x.py").read_bytes().decode())]
        assert after == [*lines[:first], *new, *lines[last:]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<<<<<<< SEARCH a.py", "<<<<<<< NEW b.py", "<<<<<<< FILE a.py", "<<<<<<< DELETE a.py", "=======", ">>>>>>> REPLACE", ">>>>>>> END", "x", "", "```"]), max_size=14))  # fmt: skip
def test_any_reply_gives_a_value(lines):
    from agent.edits.parse import parse

    parsed = parse("\n".join(lines))
    assert parsed.edits or parsed.faults
    numbers = [edit.number for edit in parsed.edits] + [fault.block for fault in parsed.faults]
    assert len(numbers) == len(set(numbers))

"""Edits written as blocks, parsed, and applied by real git give the files that they were made from."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agent.context.packing import render_file
from agent.edits import interpret
from agent.edits.diff import Change, diff_of
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


TAGS = ["x = '</file>'", "<file path='y'>", "&lt;file>", "# < / FILE >"]
unique = st.lists(st.one_of(words, st.sampled_from(TAGS)), min_size=1, max_size=14, unique=True)


@slow
@given(unique, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.data())
def test_blocks_copied_from_a_prompt_change_their_lines_and_no_others(lines, end, final, data):
    """The model sees the file as `render_file` shows it, and copies some lines of that."""
    assume(final or lines[-1])  # else the last line is none
    end = end if final or len(lines) > 1 else "\n"  # a file without any line end gets line feeds
    shown = render_file("d/x.py", "\n".join(lines) + "\n").split("\n")[1:-2]
    cut = data.draw(st.integers(1, len(lines)))
    ranges = [(0, cut)] if cut == len(lines) else [(0, cut), (cut, len(lines))]
    assume(all(any(line.strip() for line in shown[a:b]) for a, b in ranges))
    new = data.draw(st.lists(st.sampled_from(["new = 1", "    more", "é"]), min_size=1, max_size=3))
    marks = [
        ["<<<<<<<<< SEARCH d/x.py", *shown[a:b], "=========", *new, *shown[a:b], ">>>>>>>>> REPLACE"] for a, b in ranges
    ]
    expected = [line for a, b in ranges for line in [*new, *lines[a:b]]]
    with TemporaryDirectory() as folder:
        root = Path(folder)
        committed(root, {"d/x.py": (end.join(lines) + (end if final else "")).encode()})
        with Repository.open(root) as repository:
            patch = interpret("\n".join(line for block in marks for line in block), repository=repository)
        assert isinstance(patch, Patch), patch.feedback
        git(root, "apply", "--whitespace=nowarn", "-", given=patch.diff.encode("utf-8", "surrogateescape"))
        assert (root / "d/x.py").read_bytes().decode() == end.join(expected) + (end if final else "")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<<<<<<< SEARCH a.py", "<<<<<<< NEW b.py", "<<<<<<< FILE a.py", "<<<<<<< DELETE a.py", "=======", ">>>>>>> REPLACE", ">>>>>>> END", "x", "", "```"]), max_size=14))  # fmt: skip
def test_any_reply_gives_a_value(lines):
    from agent.edits.parse import parse

    parsed = parse("\n".join(lines))
    assert parsed.edits or parsed.faults
    numbers = [edit.number for edit in parsed.edits] + [fault.block for fault in parsed.faults]
    assert len(numbers) == len(set(numbers))

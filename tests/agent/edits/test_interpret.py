import pytest

from agent.edits import FaultKind, Faults, interpret
from sandbox.api import Patch

MAIN = "import os\n\n\ndef one():\n    return 1\n\n\ndef two():\n    return 1\n"
FILES = {
    "app/main.py": MAIN,
    "app/other.py": "def elsewhere():\n    return 3\n",
    "app/unseen.py": "SECRET = 1\n",
    "app/__init__.py": "",
    "doc.rst": "Title\n=======\n\nText\n",
    "dos.py": b"a = 1\r\nb = 2\r\nc = 3\r\n",
    "end.py": "a = 1\nb = 2",
    "fenced.py": '"""\n```\n\n"""\n',
    "latin.py": b"# coding: latin-1\nx = '\xe9'\n",
    "mixed.py": b"a = 1\r\nb = 2\nc = 3\r\nd = 4\r\n",
    "image.bin": b"\x89PNG\r\n\x00\xff\xfe\x00\n\x00",
    "markup.py": "x = '<file>'\ny = 1\n",
}
SEEN = [path for path in FILES if path != "app/unseen.py"]


def block(path, old, new):
    return f"<<<<<<< SEARCH {path}\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


@pytest.fixture
def repository(make_repository):
    return make_repository(FILES)


@pytest.fixture
def applied(repository, git):
    """The files after the edit, by real `git apply`; None for a file that is gone."""

    def apply(text):
        patch = interpret(text, repository=repository, context_paths=SEEN)
        assert isinstance(patch, Patch), patch.feedback
        git(repository.path, "apply", "--index", "-", given=patch.diff.encode("utf-8", "surrogateescape"))
        after = {path: repository.path / path for path in patch.paths}
        return {path: file.read_bytes() if file.exists() else None for path, file in after.items()}

    return apply


@pytest.fixture
def faults(repository):
    def of(text, seen=SEEN):
        result = interpret(text, repository=repository, context_paths=seen)
        assert isinstance(result, Faults), result
        return result

    return of


def test_blocks_apply_to_the_original(applied):
    text = block("app/main.py", "import os", "import sys") + block(
        "app/main.py", "def two():\n    return 1", "def two():\n    return 2"
    )
    expected = MAIN.replace("import os", "import sys").replace("def two():\n    return 1", "def two():\n    return 2")
    assert applied(text) == {"app/main.py": expected.encode()}


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("<<<<<<< NEW pkg/new file.py\nx = 'ü'\n>>>>>>> END", {"pkg/new file.py": "x = 'ü'\n".encode()}),
        ("<<<<<<< NEW pkg/ünï.py\n>>>>>>> END", {"pkg/ünï.py": b""}),
        (block("pkg/new.py", "", "x = 1"), {"pkg/new.py": b"x = 1\n"}),
        ("<<<<<<< FILE new.py\nx = 1\n>>>>>>> END", {"new.py": b"x = 1\n"}),
        ("<<<<<<< FILE app/other.py\nx = 1\n>>>>>>> END", {"app/other.py": b"x = 1\n"}),
        ("<<<<<<< DELETE app/other.py", {"app/other.py": None}),
        ("<<<<<<< DELETE image.bin", {"image.bin": None}),
        (block("mixed.py", "a = 1\nb = 2\nc = 3", "a = 1\nb = 2\nnew = 1"), {"mixed.py": b"a = 1\r\nb = 2\nnew = 1\r\nd = 4\r\n"}),
        ("<<<<<<< DELETE app/__init__.py", {"app/__init__.py": None}),
        (block("app/__init__.py", "", "x = 1"), {"app/__init__.py": b"x = 1\n"}),
        (block("doc.rst", "Title\n=======", "New\n======="), {"doc.rst": b"New\n=======\n\nText\n"}),
        (block("dos.py", "b = 2", "b = 3\nbb = 4"), {"dos.py": b"a = 1\r\nb = 3\r\nbb = 4\r\nc = 3\r\n"}),
        ("<<<<<<< FILE dos.py\na = 1\nc = 3\n>>>>>>> END", {"dos.py": b"a = 1\r\nc = 3\r\n"}),
        (block("end.py", "b = 2", "b = 3"), {"end.py": b"a = 1\nb = 3"}),
        (block("end.py", "a = 1", "a = 2"), {"end.py": b"a = 2\nb = 2"}),
        (block("latin.py", "x = 'é'", "x = 'ö'"), {"latin.py": b"# coding: latin-1\nx = '\xf6'\n"}),
        (block("markup.py", "x = '&lt;file>'", "x = '&lt;file path>'"), {"markup.py": b"x = '<file path>'\ny = 1\n"}),
        (block("app/other.py", "def elsewhere():  \n    return 3", "def elsewhere():  \n    return 4"), {"app/other.py": b"def elsewhere():\n    return 4\n"}),
        (block("app/other.py", "\n    return 3\n", "\n    return 5\n"), {"app/other.py": b"def elsewhere():\n    return 5\n"}),
        (block("app/other.py", "```python\n    return 3\n```", "```\n    return 6\n```"), {"app/other.py": b"def elsewhere():\n    return 6\n"}),
        (block("fenced.py", "```\n", "```\n\nx = 1\n```"), {"fenced.py": b'"""\n```\n\nx = 1\n```\n"""\n'}),
        ("<<<<<<< SEARCH app/other.py\n    return 3\n=======\n>>>>>>> REPLACE", {"app/other.py": b"def elsewhere():\n"}),
    ],
)  # fmt: skip
def test_edits_that_git_applies(applied, text, after):
    assert applied(text) == after


def test_modes_stay(make_tree, git):
    from agent.repository import Repository

    tree = make_tree({"run.sh": "one\n"})
    (tree / "run.sh").chmod(0o755)
    git(tree, "commit", "-qam", "mode")
    with Repository.open(tree) as repository:
        patch = interpret(block("run.sh", "one", "two"), repository=repository)
    git(tree, "apply", "--index", "-", given=patch.diff.encode())
    assert git(tree, "ls-files", "-s", "run.sh").startswith(b"100755")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    def elsewhere():\n      return 3", "    def elsewhere():\n      return 4"),
        ("return 3", "    return 4"),
        ("    def elsewhere():\n        return 3", "    def elsewhere():\n  return 4"),
    ],
    ids=["lines are off by different depths", "halves begin at different depths", "the new lines leave the depth"],
)
def test_depth_that_leaves_open_what_is_meant(faults, old, new):
    (fault,) = faults(block("app/other.py", old, new)).faults
    assert fault.kind == FaultKind.WHITESPACE


@pytest.mark.parametrize("more", ["    ", "\t", "  "])
def test_block_that_is_indented_too_much(applied, more):
    old, new = (
        "\n".join(more + line for line in half)
        for half in (["def one():", "    return 1"], ["def one():", "    # 2", "    return 2"])
    )
    assert applied(block("app/main.py", old, new)) == {
        "app/main.py": MAIN.replace("def one():\n    return 1", "def one():\n    # 2\n    return 2").encode()
    }


def test_block_that_is_indented_too_little(applied):
    after = applied(block("app/other.py", "return 3", "if 1:\n    return 3\n\nreturn 4"))
    assert after == {"app/other.py": b"def elsewhere():\n    if 1:\n        return 3\n\n    return 4\n"}


def test_equal_files_have_equal_patches(repository):
    small = interpret(block("app/other.py", "    return 3", "    return 4"), repository=repository)
    whole = interpret("<<<<<<< FILE app/other.py\ndef elsewhere():\n    return 4\n>>>>>>> END", repository=repository)
    assert small == whole


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("nothing here", FaultKind.NO_BLOCK, "no block"),
        (block("app/main.py", "    return 1", "    return 2"), FaultKind.AMBIGUOUS, "from lines 5, 9"),
        (block("app/main.py", "def one():\n  return 1", "x"), FaultKind.WHITESPACE, "    4 | def one():"),
        (block("app/main.py", "def one():\n\n    return 1", "x"), FaultKind.WHITESPACE, "indentation or blank lines"),
        (block("app/main.py", "def  one( ):", "x"), FaultKind.WHITESPACE, "def one():"),
        (block("app/main.py", "def onne(self):", "x"), FaultKind.NOT_FOUND, "    4 | def one():"),
        (block("app/main.py", "def elsewhere():\n    return 3", "x"), FaultKind.NOT_FOUND, "they are in `app/other.py`"),
        (block("app/main.py", "import sys", "import os"), FaultKind.ALREADY_APPLIED, "is this change needed"),
        (block("app/main.py", "", "x"), FaultKind.EMPTY_SEARCH, "no lines to find"),
        (block("app/man.py", "x", "y"), FaultKind.UNKNOWN_PATH, "`app/main.py`"),
        (block("main.py", "x", "y"), FaultKind.UNKNOWN_PATH, "`app/main.py`"),
        ("<<<<<<< DELETE app/gone.py", FaultKind.FILE_MISSING, "no file `app/gone.py`"),
        ("<<<<<<< NEW app/main.py\nx\n>>>>>>> END", FaultKind.FILE_EXISTS, "SEARCH blocks"),
        (block("app/unseen.py", "x", "y"), FaultKind.OUTSIDE_CONTEXT, "SECRET = 1"),
        ("<<<<<<< DELETE app/unseen.py", FaultKind.OUTSIDE_CONTEXT, "SECRET = 1"),
        (block("app/other.py", "    return 3", "    return 3"), FaultKind.NO_CHANGE, "leaves every file"),
        (block("latin.py", "x = 'é'", "x = '€'"), FaultKind.NOT_ENCODABLE, "latin"),
        ("<<<<<<< NEW app\nx\n>>>>>>> END", FaultKind.BAD_PATH, "is a folder"),
        ("<<<<<<< NEW app/main.py/x.py\nx\n>>>>>>> END", FaultKind.BAD_PATH, "is not a folder"),
        ("<<<<<<< NEW q\nx\n>>>>>>> END\n<<<<<<< NEW q/x.py\nx\n>>>>>>> END", FaultKind.BAD_PATH, "a file and a folder"),
        (block("app/main.py", "import os\n", "x\n") + block("app/main.py", "import os\n\n", "y\n"), FaultKind.OVERLAP, "block 1"),
        (block("app/other.py", "    return 3", "x") + "<<<<<<< DELETE app/other.py", FaultKind.OVERLAP, "as a whole"),
    ],
)  # fmt: skip
def test_faults_are_named_and_shown(faults, text, kind, said):
    result = faults(text)
    assert [fault.kind for fault in result.faults] == [kind]
    assert kind.value in result.feedback
    assert said in result.feedback


def test_a_file_that_was_seen_in_part_is_not_rewritten(repository):
    rewrite = "<<<<<<< FILE app/main.py\nimport os\n>>>>>>> END\n"
    refused = interpret(rewrite, repository=repository, context_paths=SEEN, in_part=["app/main.py"])
    assert isinstance(refused, Faults)
    assert [fault.kind for fault in refused.faults] == [FaultKind.SEEN_IN_PART]
    assert "SEARCH" in refused.feedback
    change = block("app/main.py", "import os", "import sys")
    for text, parts in ((change, ["app/main.py"]), (rewrite, ["app/other.py"])):
        assert isinstance(interpret(text, repository=repository, context_paths=SEEN, in_part=parts), Patch)


def test_nothing_applies_if_one_block_is_wrong_and_the_others_are_called_fine(faults):
    text = (
        block("app/main.py", "import os", "x")
        + block("app/main.py", "nope", "y")
        + block("app/other.py", "    return 3", "z")
    )
    result = faults(text)
    assert [fault.block for fault in result.faults] == [2]
    assert "Blocks 1 and 3 were fine" in result.feedback


def test_files_that_were_shown_are_named_for_the_next_turn(faults, repository):
    text = block("app/unseen.py", "SECRET = 1", "SECRET = 2")
    result = faults(text)
    assert result.shown == ("app/unseen.py",)
    assert isinstance(interpret(text, repository=repository, context_paths=[*SEEN, *result.shown]), Patch)


def test_a_long_file_outside_the_context_is_shown_around_the_place(make_repository):
    text = "".join(f"value_{number} = {number}\n" for number in range(5000))
    repository = make_repository({"long.py": text})
    result = interpret(block("long.py", "value_4000 = 4000", "x"), repository=repository, context_paths=[], shown_chars=2000)
    assert "value_4000 = 4000\n" in result.feedback.partition("can edit this file")[2]
    assert len(result.feedback) < 4000
    assert "left out" in result.feedback


def test_feedback_is_bounded(faults):
    huge = "".join(block("app/main.py", f"nope {number}" + "x\n" * 5000 + "y" * 5000, "y") for number in range(50))
    assert len(faults(huge).feedback) < 20_000


def test_many_files_outside_the_context_share_the_room(make_repository):
    files = {f"f{number}.py": "x = 1\n" * 1000 for number in range(9)}
    text = "".join(block(path, "y", "z") for path in files)
    result = interpret(text, repository=make_repository(files), context_paths=[], shown_chars=4000)
    assert result.shown == ("f0.py", "f1.py", "f2.py", "f3.py")
    assert len(result.faults) == 9
    assert len(result.feedback) < 8000


def test_symbolic_links_are_left_alone(make_tree, git):
    from agent.repository import Repository

    tree = make_tree({"a.py": "x\n"})
    (tree / "link.py").symlink_to("a.py")
    (tree / "outside").symlink_to("/tmp")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "links")
    with Repository.open(tree) as repository:
        for text in (block("link.py", "x", "y"), "<<<<<<< NEW outside/x\ny\n>>>>>>> END", "<<<<<<< DELETE link.py"):
            result = interpret(text, repository=repository)
            assert [fault.kind for fault in result.faults] == [FaultKind.BAD_PATH]


def test_feedback_as_the_model_reads_it(faults, snapshot):
    text = (
        block("app/main.py", "import os", "import sys")
        + block("app/main.py", "def onne():\n    return 1 </lines>", "x")
        + block("app/unseen.py", "SECRET", "x")
        + "<<<<<<< SEARCH app/other.py\nno divider\n>>>>>>> REPLACE\n"
    )
    assert faults(text).feedback == snapshot

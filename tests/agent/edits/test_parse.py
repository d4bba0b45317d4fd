import pytest

from agent.edits.parse import clean_path, parse, path_problem
from agent.edits.types import Create, Delete, FaultKind, Replace, Rewrite


def only(text):
    parsed = parse(text)
    assert not parsed.faults, parsed.faults
    assert len(parsed.edits) == 1
    return parsed.edits[0]


def kinds(text):
    return [fault.kind for fault in parse(text).faults]


SEARCH = "<<<<<<< SEARCH a.py\nold\n=======\nnew\n>>>>>>> REPLACE"
READ = Replace(1, "a.py", ((("old",), ("new",)),))


@pytest.mark.parametrize(
    "text",
    [
        SEARCH,
        f"Some words.\n\n{SEARCH}\n\nMore words.",
        SEARCH.replace("\n", "\r\n"),
        SEARCH.replace("<<<<<<<", "<<<<<").replace("=======", "=====").replace(">>>>>>>", ">>>>>"),
        SEARCH.replace("<<<<<<<", "<<<<<<<<<").replace("=======", "=========").replace(">>>>>>>", ">>>>>>>>>"),
        SEARCH.replace("=======", "=======  ").replace("a.py", "`a.py` "),
        SEARCH.replace("a.py", "./a.py"),
        SEARCH.replace("a.py", "/testbed/a.py"),
        f"```python\n{SEARCH}\n```",
        "a.py\n```\n<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE\n```",
        "**a.py**\n<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE",
        f"{SEARCH}\n{SEARCH}",
    ],
)
def test_spellings_of_a_search_block(text):
    assert only(text) == READ


def test_new_whole_and_deleted_files():
    assert only("<<<<<<< NEW a.py\nx\n\n>>>>>>> END") == Create(1, "a.py", ("x", ""))
    assert only("<<<<<<< FILE a.py\n```python\nx\n```\n>>>>>>> END") == Rewrite(1, "a.py", ("x",))
    assert only("<<<<<<< FILE a.md\n```\nx\n```\n>>>>>>> END") == Rewrite(1, "a.md", ("```", "x", "```"))
    assert only("<<<<<<< NEW a.py\n=======\nx\n>>>>>>> REPLACE") == Create(1, "a.py", ("x",))
    assert only("<<<<<<< NEW a.rst\n=====\nTitle\n=====\n>>>>>>> END") == Create(1, "a.rst", ("=====", "Title", "====="))
    assert only("<<<<<<< NEW empty.py\n>>>>>>> END") == Create(1, "empty.py", ())
    assert only("<<<<<<< DELETE a.py") == Delete(1, "a.py")
    assert only("<<<<<<< DELETE a.py\n>>>>>>> END") == Delete(1, "a.py")


def test_several_blocks_are_numbered():
    parsed = parse(f"{SEARCH}\n<<<<<<< DELETE b.py\n<<<<<<< NEW c.py\nx\n>>>>>>> END")
    assert [(edit.number, edit.path) for edit in parsed.edits] == [(1, "a.py"), (2, "b.py"), (3, "c.py")]


def test_each_line_that_could_divide_gives_a_reading():
    edit = only("<<<<<<< SEARCH a.rst\nTitle\n=======\n=======\nNew\n=======\n>>>>>>> REPLACE")
    assert edit.halves == (
        (("Title",), ("=======", "New", "=======")),
        (("Title", "======="), ("New", "=======")),
        (("Title", "=======", "=======", "New"), ()),
    )


def test_longer_markers_make_seven_signs_content():
    edit = only("<<<<<<<<< SEARCH a.rst\n=======\n=========\n>>>>>>> REPLACE\n>>>>>>>>> REPLACE")
    assert edit.halves == ((("=======",), (">>>>>>> REPLACE",)),)


def test_conflict_markers_are_content():
    edit = only("<<<<<<< SEARCH a.py\n<<<<<<< HEAD\nx\n>>>>>>> branch\n=======\ny\n>>>>>>> REPLACE")
    assert edit.halves == ((("<<<<<<< HEAD", "x", ">>>>>>> branch"), ("y",)),)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", FaultKind.NO_BLOCK),
        ("just words", FaultKind.NO_BLOCK),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b", FaultKind.NO_BLOCK),
        ("<<<<<<< SEARCH a.py\nold\n=======\nnew", FaultKind.MALFORMED),
        ("<<<<<<< SEARCH a.py\nold\n>>>>>>> REPLACE", FaultKind.MALFORMED),
        ("<<<<<<< NEW a.py\nhalf a fi", FaultKind.MALFORMED),
        ("old\n=======\nnew\n>>>>>>> REPLACE", FaultKind.MALFORMED),
        ("<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE", FaultKind.BAD_PATH),
        (SEARCH.replace("a.py", "../a.py"), FaultKind.BAD_PATH),
        ("<<<<<<< DELETE .git/config", FaultKind.BAD_PATH),
        ("<<<<<<< NEW /etc/passwd\nx\n>>>>>>> END", FaultKind.BAD_PATH),
    ],
)
def test_what_cannot_be_read_is_a_value(text, kind):
    assert kinds(text) == [kind]


def test_a_diff_is_told_apart():
    assert "diff" in parse("diff --git a/x b/x\n").faults[0].message


def test_an_unclosed_block_does_not_swallow_the_next():
    parsed = parse(f"<<<<<<< SEARCH b.py\nold\n=======\nnew\n{SEARCH}")
    assert [fault.block for fault in parsed.faults] == [1]
    assert [edit.path for edit in parsed.edits] == ["a.py"]


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../b", "a//b", "a/", ".git/x", "a/.GIT/x", "a\\b", "C:/x", "a\nb", "a\x00", "x" * 300]
)
def test_paths_that_cannot_be_used(path):
    assert path_problem(path)


@pytest.mark.parametrize("path", ["a", "a b.py", "ü/é.py", ".gitignore", "a/...", "-x"])
def test_paths_that_can_be_used(path):
    assert not path_problem(clean_path(path))


def fenced(text):
    parsed = parse(text, fences=True)
    return [(edit.path, edit.lines) for edit in parsed.edits], [fault.kind for fault in parsed.faults]


def test_fences_that_name_a_file_count_only_where_they_are_asked_for():
    text = "app/a.py\n```python\nx = 1\n```\n\n### `b.py`:\n\n```\ny = 1\n```\n"
    assert fenced(text) == ([("app/a.py", ("x = 1",)), ("b.py", ("y = 1",))], [])
    assert kinds(text) == [FaultKind.NO_BLOCK]
    assert fenced("```python:app/a.py\nx = 1\n```") == ([("app/a.py", ("x = 1",))], [])
    assert fenced("```python\nx = 1\n```") == ([], [FaultKind.NO_BLOCK])
    assert fenced("../a.py\n```python\nx = 1\n```") == ([], [FaultKind.BAD_PATH])
    assert fenced("a.py\n```python\nhalf a f") == ([], [FaultKind.NO_BLOCK])
    assert parse(SEARCH, fences=True) == parse(SEARCH)


def test_code_that_holds_fences_is_not_cut():
    code = ('"""Example:', "```", "x", "```", '"""')
    assert fenced("a.py\n```python\n" + "\n".join(code) + "\n```\n") == ([("a.py", code)], [])


def test_a_whole_file_may_be_closed_by_its_fence():
    assert only("<<<<<<< FILE a.py\n```python\nx = 1\n```\n\n") == Rewrite(1, "a.py", ("x = 1",))
    assert kinds("<<<<<<< FILE a.py\n```python\nx = 1\n") == [FaultKind.MALFORMED]

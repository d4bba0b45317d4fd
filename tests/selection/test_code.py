"""The code of a change: what of its lines a program would miss."""

from __future__ import annotations

import pytest

from selection.patches.changes import parse
from selection.patches.code import code, code_lines, tokens
from tests.selection.diffs import diff

DOCUMENTED = '''\
def price(item):
    """What it costs.

    In cents, {words}.
    """
    return item.cents  # {comment}


def label(item):
    return f"""{text}"""
'''


def written(**words: str) -> str:
    text = DOCUMENTED
    for name, word in {"words": "always", "comment": "whole", "text": "cheap", **words}.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def changed(before: str, after: str, path: str = "shop/till.py") -> list[tuple[str, ...]]:
    lines = (one for change in parse(diff(before, after, path)) for hunk in code_lines(change) for one in hunk)
    return [one.tokens for one in lines if one.line.sign != " "]


def test_docstrings_are_no_code():
    assert changed(written(), written(words="mostly")) == []


def test_comment_behind_code_is_no_code():
    assert changed(written(), written(comment="rounded")) == [("return", "item", ".", "cents")] * 2


def test_text_between_three_quotes_that_is_no_docstring_is_code():
    assert len(changed(written(), written(text="dear"))) == 2


@pytest.mark.parametrize("context", [1, 2, 3, 9])
def test_code_behind_a_docstring_that_began_before_the_hunk(context):
    change = parse(diff(written(), written().replace("item.cents", "item.price"), context=context))[0]
    lines = [one.tokens for hunk in code_lines(change) for one in hunk if one.line.sign == "+"]
    assert lines == [("return", "item", ".", "price")]


def test_docstring_that_a_change_adds():
    before, after = "def a():\n    return 1\n", 'def a():\n    """Say one.\n\n    Always.\n    """\n    return 1\n'
    assert changed(before, after) == []


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("total = a+ b  # sum", "python", ("total", "=", "a", "+", "b")),
        ('say("a # b", 1.5)', "python", ("say", "(", "'a # b'", ",", "1.5", ")")),
        ("   ", "python", ()),
        ("# only words", "python", ()),
        ("a // b", "python", ("a", "/", "/", "b")),
        ("a(); // b", "go", ("a", "(", ")", ";")),
        ("#include <x.h>", "c", ("#", "include", "<", "x", ".", "h", ">")),
        ("größe = 1", "python", ("größe", "=", "1")),
    ],
)
def test_tokens(text, language, found):
    assert tokens(text, language) == found


def test_documentation_counts_only_where_there_is_nothing_else():
    source, words = diff("a\n", "b\n", "shop/till.py"), diff("a\n", "b\n", "docs/till.rst")
    assert [change.path for change in code(parse(source + words))] == ["shop/till.py"]
    assert [change.path for change in code(parse(words))] == ["docs/till.rst"]

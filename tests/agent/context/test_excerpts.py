import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.context.excerpts import excerpt, parts
from agent.context.packing import pack, render_files
from agent.context.ranking import Ranking
from agent.context.relevance import Relevance
from agent.context.stage import BuiltContext
from agent.lines import split_lines
from agent.llm.tokens import estimate
from agent.trajectory.edit_form import choose

OTHERS = "".join(f"    def step_{n}(self):\n        return {n}\n\n" for n in range(40))
CODE = f'''"""Reads mail."""

import mailbox
import re


class Reader:
    """Reads."""

{OTHERS}
    @property
    def subject(self):
        return self.head["Subject"]

    def decoded_sender(self):
        return self.head["From"].decode("ascii")


def unrelated():
    return None
'''
ISSUE = "decoded_sender fails for names that are not ASCII"
GAP = re.compile(r"\.\.\. \(lines (\d+)-(\d+) left out\)\n")
snippets = st.sampled_from(
    ["def f():\n    return mail\n", "class A:\n    x = 1\n\n    def g(self): pass\n", "mail = 1\n", "\n", "(", "# é\n"]
)


def lines_of(shown, text):
    """Numbers of the lines that an excerpt holds; every one of them must be where it says."""
    lines, at, held = split_lines(text), 0, []
    for line in split_lines(shown):
        if (gap := GAP.fullmatch(line)) and not (at < len(lines) and lines[at] == line):
            assert int(gap[1]) == at + 1
            at = int(gap[2])
        else:
            assert line == lines[at]
            held.append(at)
            at += 1
    assert at == len(lines) or not "".join(lines[at:]).strip()
    return held


@settings(deadline=None)  # the first call imports bm25s
@given(st.lists(snippets, max_size=40).map("".join), st.integers(0, 120), st.sampled_from(["a.py", "a.js"]))
def test_an_excerpt_keeps_to_its_room_and_says_what_is_missing(text, tokens, path):
    shown = excerpt(path, text, wanted="mail", tokens=tokens)
    assert estimate(shown) <= tokens
    if shown:
        lines_of(shown, text)


@given(st.lists(snippets, max_size=30).map("".join), st.sampled_from(["a.py", "a.js"]))
def test_parts_are_all_lines_once(text, path):
    assert [n for part in parts(path, text) for n in range(part.first, part.last)] == list(range(len(split_lines(text))))


def test_what_the_issue_names_is_shown_whole_with_what_it_is_in():
    shown = excerpt("mail.py", CODE, wanted=ISSUE, tokens=100)
    assert '    def decoded_sender(self):\n        return self.head["From"].decode("ascii")\n' in shown
    assert "class Reader:\n" in shown
    assert "import mailbox\n" in shown
    assert "step_3" not in shown
    held = lines_of(shown, CODE)
    assert len(held) < CODE.count("\n") / 4


def test_decorators_belong_to_their_function():
    assert "    @property\n    def subject(self):\n" in excerpt("mail.py", CODE, wanted="the subject is wrong", tokens=100)


def test_languages_without_known_structure_are_cut_by_lines():
    text = "".join(f"let a{n} = {n};\n" for n in range(200)) + "function decoded() { return sender; }\n"
    shown = excerpt("mail.js", text, wanted="sender", tokens=200)
    assert "function decoded()" in shown
    assert "a50" not in shown


def test_a_file_that_no_budget_holds_is_shown_in_part():
    files = {"small.py": "x = 1\n", "mail.py": CODE, "more.py": CODE, "tail.py": "y = 2\n"}

    def cut(path, text, tokens):
        return excerpt(path, text, wanted=ISSUE, tokens=tokens)

    context = pack(list(files), read=files.__getitem__, budget=500, cut=cut)
    assert context.paths == tuple(files)
    assert context.in_part == ("mail.py", "more.py")
    assert estimate(render_files(context)) <= context.tokens <= 500
    assert '<file path="mail.py" shown="in part">\n' in render_files(context)
    assert '<file path="small.py">\n' in render_files(context)
    assert pack(list(files), read=files.__getitem__, budget=500, overflow="stop", cut=cut).in_part == ()
    assert choose("auto", "qwen-1.5b", context).long_files == ("mail.py", "more.py")


@pytest.mark.parametrize(("room", "said"), [(500, "2 packed"), (10, "did not fit, give more room with --context-tokens")])
def test_the_log_says_what_is_not_shown_whole(room, said):
    files = {"small.py": "x = 1\n", "mail.py": CODE}
    context = pack(
        list(files),
        read=files.__getitem__,
        budget=room,
        cut=lambda path, text, tokens: text[: tokens * 2] if tokens > 0 else "",
    )
    built = BuiltContext(context, Relevance((), 2, (), 2), Ranking(tuple(files), 0, 0, fallback=False), {}, 0)
    assert said in built.summary()
    assert ("1 of them in part" in built.summary()) is (room == 500)
    assert [file["whole"] for file in built.to_json()["files"]] == [True, False][: len(context.files)]

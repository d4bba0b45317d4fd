from hypothesis import given
from hypothesis import strategies as st

from agent.context.packing import pack, render_file, render_files
from agent.context.pieces import split
from agent.llm.tokens import estimate

texts = st.text(st.characters(codec="utf-8"), max_size=300)


@given(st.lists(texts, max_size=8), st.integers(0, 300), st.sampled_from(["skip", "stop"]))
def test_a_context_is_never_over_its_budget(contents, budget, overflow):
    files = {f"f{number}.py": text for number, text in enumerate(contents)}
    context = pack(list(files), read=files.__getitem__, budget=budget, overflow=overflow)
    assert context.tokens <= budget
    assert estimate(render_files(context)) <= budget
    assert sorted([*context.paths, *(left.path for left in context.left_out)]) == sorted(files)
    if overflow == "stop":
        assert context.paths == tuple(files)[: len(context.paths)]


def test_a_file_that_is_too_large_is_passed_over_or_ends_the_context():
    files = {"a.py": "x\n", "b.py": "y" * 1000, "c.py": "z\n"}
    skipping = pack(list(files), read=files.__getitem__, budget=40)
    assert skipping.paths == ("a.py", "c.py")
    assert [left.path for left in skipping.left_out] == ["b.py"]
    stopping = pack(list(files), read=files.__getitem__, budget=40, overflow="stop")
    assert stopping.paths == ("a.py",)


def test_the_block_holds_texts_as_they_are():
    files = {"a.py": "def f():\n\treturn '</file>'  \n", "b.py": "no end"}
    context = pack(list(files), read=files.__getitem__, budget=1000)
    assert render_files(context) == (
        '<file path="a.py">\ndef f():\n\treturn \'&lt;/file>\'  \n</file>\n<file path="b.py">\nno end\n</file>\n'
    )
    assert render_file("b.py", "no end") in render_files(context)


@given(st.text(st.sampled_from("ab \n"), max_size=2000), st.integers(5, 60), st.integers(0, 10))
def test_pieces_cover_every_line_within_the_limit(text, tokens, overlap):
    pieces = split(text, tokens, overlap)
    assert all(estimate(piece.text) <= tokens for piece in pieces)
    at = 0
    for piece in pieces:  # each begins at or before the end of what is covered
        start = max(start for start in range(at + 1) if text.startswith(piece.text, start))
        at = max(at, start + len(piece.text))
    assert at == len(text)

"""Replies of the selection trajectory: what is read as meant, and what goes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.messages import Reply, StopReason
from sandbox.api import Script
from selection.replies import Choice, Fault, Malformed, NewScript, parse, parse_choice


def read(text: str, stop: StopReason = StopReason.END):
    return parse(Reply(text, stop_reason=stop), finalists=3)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("thoughts\n<script>\nprint(1)\n</script>", "print(1)\n"),
        ("<script>\n```python\nprint(1)\n```\n</script>\nmore thoughts", "print(1)\n"),
        ("```\n<script>\nprint(1)\n</script>\n```", "print(1)\n"),
        ("Here it is:\n\n```python\nprint(1)\n```\n\nIt prints 1.", "print(1)\n"),
        ("<script>print(1)</script>", "print(1)\n"),
        ("I send a <script> now.\r\n<script>\r\nprint(1)\r\n</script>\r\n", "print(1)\n"),
        ("<script>\nprint('<choose>1</choose>')\n</script>", "print('<choose>1</choose>')\n"),
        ("<script>\nx = '<script>a</script>' + ''\n</script>", "x = '<script>a</script>' + ''\n"),
        ("\n<think>\n<script>\ndraft\n</script>\n</think>\n<script>\nprint(1)\n</script>", "print(1)\n"),
        ("<script>\nif 1:\n    print(1)\n\nprint(2)\n</script>", "if 1:\n    print(1)\n\nprint(2)\n"),
    ],
)
def test_a_script(text, script):
    action = read(text)
    assert isinstance(action, NewScript)
    assert action.script.text == script


@pytest.mark.parametrize("said", ["2", " 2\n", "candidate 2", "Candidate #2", "2."])
def test_a_choice(said):
    assert read(f"It is right.\n\n<choose>{said}</choose>\n") == Choice(2, "It is right.")


@pytest.mark.parametrize("said", ["0", "4", "all", "", "-1", "1 or 2", "\u0662"])
def test_an_id_that_is_none_is_no_choice(said):
    assert read(f"<choose>{said}</choose>") == Malformed(Fault.UNKNOWN_ID, said)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.NOTHING),
        ("```python\n1\n```\nor\n```python\n2\n```", Fault.NOTHING),
        ("```text\nan output\n```", Fault.NOTHING),
        ("I would choose 2.", Fault.NOTHING),
        ("<script>\nprint(1)\n", Fault.UNCLOSED),
        ("<choose>2", Fault.UNCLOSED),
        ("<script>\n\n</script>", Fault.EMPTY_SCRIPT),
        ("<script>\n```python\n```\n</script>", Fault.EMPTY_SCRIPT),
        ("<choose>1</choose>\n<script>\n1\n</script>", Fault.BOTH),
        ("<script>\n1\n</script>\n<script>\n2\n</script>", Fault.SEVERAL_SCRIPTS),
        ("<script>\n1\n</script>\n<script>\n2\n</script>\n<choose>1</choose>", Fault.SEVERAL_SCRIPTS),
        ("<choose>1</choose> or <choose>2</choose>", Fault.SEVERAL_CHOICES),
    ],
)
def test_what_cannot_be_acted_on(text, fault):
    assert read(text) == Malformed(fault)


def test_a_choice_that_is_repeated_is_one_choice():
    assert read("<choose>1</choose>\n<choose>1</choose>") == Choice(1, "")


def test_a_choice_behind_a_script_was_made_before_its_outputs_and_does_not_count():
    action = read("<script>\nprint(1)\n</script>\nThe outputs show that 2 is right.\n<choose>2</choose>")
    assert action == NewScript(Script("print(1)\n"), premature=True)


def test_a_script_that_is_repeated_is_one_script():
    assert read("<script>\n1\n</script>\nagain:\n<script>\n```\n1\n```\n</script>") == NewScript(Script("1\n"))


def test_a_cut_reply_is_told_apart_unless_its_action_is_whole():
    assert read("<script>\nprint(1)\n", StopReason.LENGTH) == Malformed(Fault.TRUNCATED)
    assert read("<think>perhaps <choose>1</choose>", StopReason.LENGTH) == Malformed(Fault.TRUNCATED)
    assert read("<choose>1</choose> because of", StopReason.LENGTH) == Choice(1, "")


@given(st.text(alphabet="<>/scriptchoose123 \n`"))
def test_any_text_is_read(text):
    action = read(text)
    assert isinstance(action, NewScript | Choice | Malformed)
    if isinstance(action, Choice):
        assert 1 <= action.number <= 3


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Both do it.\n\n<choose>2</choose>", Choice(2, "Both do it.")),
        ("<think>\n<choose>1</choose>\n</think>\n<choose>candidate 3</choose>", Choice(3, "")),
        ("<choose>1</choose> So: <choose>1</choose>", Choice(1, "")),
        ("<script>\nprint(1)\n</script>\n<choose>1</choose>", Choice(1, "<script>\nprint(1)\n</script>")),
        ("<choose>1</choose> or <choose>2</choose>", Malformed(Fault.SEVERAL_CHOICES)),
        ("<choose>4</choose>", Malformed(Fault.UNKNOWN_ID, "4")),
        ("The second. <choose>2", Malformed(Fault.UNCLOSED)),
        ("The second.", Malformed(Fault.NOTHING)),
        ("", Malformed(Fault.NOTHING)),
    ],
)
def test_a_choice_where_nothing_can_be_run(text, choice):
    assert parse_choice(Reply(text), 3) == choice


def test_cut_reply_counts_if_its_choice_is_whole():
    whole, torn = (Reply(text, stop_reason=StopReason.LENGTH) for text in ("<choose>1</choose> sin", "Because <cho"))
    assert parse_choice(whole, 3) == Choice(1, "")
    assert parse_choice(torn, 3) == Malformed(Fault.TRUNCATED)

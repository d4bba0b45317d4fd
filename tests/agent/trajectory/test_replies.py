"""From replies to actions, also from those that small models write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.messages import Reply, StopReason
from agent.trajectory.replies import Approve, Malformed, NewEdit, NewScript, parse
from sandbox.api import Script

ALL = ("test", "edit", "done")


@pytest.mark.parametrize(
    "text",
    [
        "Thoughts.\n<test>\nprint(1)\n</test>",
        "<test>print(1)</test> and that is all",
        "<test>\n```python\nprint(1)\n```\n</test>",
        "<TEST>\nprint(1)\n</TEST>",
        "<test>\nprint(1)",
        "I would use `<test>` here.\n<test>\nprint(1)\n</test>",
    ],
)
def test_script(text):
    assert parse(Reply(text), ALL) == NewScript(Script("print(1)\n"))


def test_a_script_may_mention_tags():
    text = "<test>\nassert '<done>' not in page\nprint('<edit>')\n</test>"
    assert parse(Reply(text), ("test", "done")) == NewScript(Script("assert '<done>' not in page\nprint('<edit>')\n"))


def test_a_lone_code_block_is_a_script_where_nothing_else_could_be_meant():
    text = "Here it is:\n```python\nprint(1)\n```\n"
    assert parse(Reply(text), ("test",)) == NewScript(Script("print(1)\n"))
    assert isinstance(parse(Reply(text), ALL), Malformed)


@pytest.mark.parametrize("text", ["<done>", "All is well.\n<done>", "<done/>", "<done />", "<done></done>"])
def test_approval(text):
    assert parse(Reply(text), ALL) == Approve()


def test_edit_keeps_its_text():
    body = "<<<<<<< SEARCH a.py\nx\n=======\ny\n>>>>>>> REPLACE\n"
    assert parse(Reply(f"Why.\n<edit>\n{body}</edit>\n"), ALL) == NewEdit(body)


def test_bare_blocks_are_an_edit():
    body = "Change it:\n<<<<<<< SEARCH a.py\nx\n=======\ny\n>>>>>>> REPLACE\n"
    assert parse(Reply(body), ALL) == NewEdit(body, closed=False)


def test_edit_without_its_closing_tag_says_so():
    assert parse(Reply("<edit>\n<<<<<<< FILE a.py\nx\n"), ALL) == NewEdit("<<<<<<< FILE a.py\nx\n", closed=False)


@pytest.mark.parametrize(
    ("text", "allowed", "says"),
    [
        ("I do not know.", ALL, "none of the blocks"),
        ("<test>\nx\n</test>\n<edit>\ny\n</edit>", ALL, "more than one kind"),
        ("<edit>\ny\n</edit>\n<done>", ALL, "more than one kind"),
        ("<done>", ("test",), "no script yet"),
        ("<edit>\ny\n</edit>", ("test", "done"), "cannot be used at this point"),
        ("<test>\n\n</test>", ALL, "is empty"),
        ("", ALL, "was empty"),
    ],
)
def test_malformed_replies_say_why(text, allowed, says):
    action = parse(Reply(text), allowed)
    assert isinstance(action, Malformed)
    assert says in action.feedback


def test_truncated_and_refused_replies_are_told_apart():
    cut = parse(Reply("<test>\nprint(", stop_reason=StopReason.LENGTH), ALL)
    refused = parse(Reply("", stop_reason=StopReason.REFUSAL), ALL)
    assert "cut off" in cut.feedback
    assert "declined" in refused.feedback


def test_reply_whose_room_went_into_reasoning():
    assert "reasoning took all the room" in parse(Reply(" \n", stop_reason=StopReason.LENGTH), ALL).feedback


def test_a_reply_cut_behind_its_block_still_counts():
    reply = Reply("<test>\nprint(1)\n</test>\nAnd furtherm", stop_reason=StopReason.LENGTH)
    assert parse(reply, ALL) == NewScript(Script("print(1)\n"))


@given(st.text(), st.sampled_from(list(StopReason)), st.sets(st.sampled_from(ALL), min_size=1))
def test_any_text_gives_an_action(text, stop, allowed):
    action = parse(Reply(text, stop_reason=stop), tuple(allowed))
    assert isinstance(action, Approve | NewScript | NewEdit | Malformed)


@given(st.text(alphabet=st.characters(blacklist_characters="<`~\r", blacklist_categories=["Cs"])).filter(str.strip))
def test_a_well_formed_script_comes_back_as_it_is(text):
    assert parse(Reply(f"Thoughts.\n<test>\n{text}\n</test>"), ALL) == NewScript(Script(text.strip("\n") + "\n"))

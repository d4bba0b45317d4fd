"""The journal: what is written is found again, damage is told apart from a torn end."""

import json
import os

import pytest

from agent.trajectory.journal import Entry, Journal, JournalMismatch
from sandbox.errors import StoreError


def entry(sequence=0, branch="", **parts):
    return Entry("ask", branch, sequence, "draft", parts or {"issue": "a"}, {"reply": {"text": f"reply {sequence}"}}, 0.5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "02_testing" / "3.jsonl"


def test_effects_survive_reopening(path):
    journal = Journal(path, {"stage": "testing"})
    journal.append(entry(0))
    journal.append(entry(1, branch="0.2"))
    journal.close()
    again = Journal(path)
    assert again.entries() == journal.entries()
    assert again.find("ask", "0.2", 1, {"issue": "a"}).result == {"reply": {"text": "reply 1"}}


def test_header_names_format_and_trajectory(path):
    journal = Journal(path, {"stage": "testing", "sample": 3})
    journal.append(entry())
    assert json.loads(path.read_text().splitlines()[0]) == {"kind": "start", "format": 1, "stage": "testing", "sample": 3}


def test_nothing_is_written_before_the_first_effect(path):
    Journal(path)
    assert not path.exists()


@pytest.mark.parametrize("keep", range(1, 40, 7))
def test_torn_last_line_is_dropped_and_overwritten(path, keep):
    journal = Journal(path)
    journal.append(entry(0))
    whole = path.read_bytes()
    journal.append(entry(1))
    journal.close()
    path.write_bytes(path.read_bytes()[: len(whole) + keep])
    again = Journal(path)
    assert len(again) == 1
    again.append(entry(1))
    again.close()
    assert [item.sequence for item in Journal(path).entries()] == [0, 1]


def test_a_last_line_without_its_newline_is_torn_even_if_it_parses(path):
    journal = Journal(path)
    journal.append(entry(0))
    journal.append(entry(1))
    journal.close()
    path.write_bytes(path.read_bytes()[:-1])
    again = Journal(path)
    assert len(again) == 1
    again.append(entry(1))
    again.close()
    assert len(Journal(path)) == 2


def test_damage_in_the_middle_is_an_error_that_names_the_line(path):
    journal = Journal(path)
    journal.append(entry(0))
    journal.append(entry(1))
    journal.close()
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1][:20]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(StoreError, match="line 2"):
        Journal(path)


def test_another_request_at_a_known_place_names_the_part(path):
    journal = Journal(path)
    journal.append(entry(0, issue="a", files="b"))
    with pytest.raises(JournalMismatch) as caught:
        journal.find("ask", "", 0, {"issue": "a", "files": "other"})
    assert caught.value.part == "files"
    assert caught.value.exit_code == 2


def test_a_part_that_is_gone_is_a_mismatch_too(path):
    journal = Journal(path)
    journal.append(entry(0, issue="a", files="b"))
    with pytest.raises(JournalMismatch, match="files"):
        journal.find("ask", "", 0, {"issue": "a"})


def test_notes_are_written_and_not_replayed(path):
    journal = Journal(path)
    journal.append(entry(0))
    journal.note(cause="rate limit")
    journal.close()
    assert json.loads(path.read_text().splitlines()[-1]) == {"kind": "note", "cause": "rate limit"}
    assert len(Journal(path)) == 1


def test_fork_lets_go_of_the_rest_of_one_branch(path):
    journal = Journal(path, {"stage": "testing"})
    for sequence in range(3):
        journal.append(entry(sequence))
    journal.append(entry(1, branch="other"))
    journal.fork("", 1)
    journal.append(entry(1, issue="new"))
    journal.close()
    left = [(item.branch, item.sequence, item.parts["issue"]) for item in Journal(path).entries()]
    assert sorted(left) == [("", 0, "a"), ("", 1, "new"), ("other", 1, "a")]
    assert len(path.read_text().splitlines()) == 1 + 3 + 1 + 1 + 1


def test_a_failed_write_leaves_a_journal_that_can_be_written_again(path, monkeypatch):
    journal = Journal(path)
    journal.append(entry(0))
    real = os.write

    def full(handle, data):
        if len(data) > 10:
            return real(handle, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", lambda handle, data: full(handle, data[:20]))
    with pytest.raises(StoreError, match="No space left"):
        journal.append(entry(1))
    monkeypatch.undo()
    journal.append(entry(2))
    journal.close()
    assert [item.sequence for item in Journal(path).entries()] == [0, 2]


def test_a_place_that_cannot_be_written_is_a_store_error(path):
    journal = Journal(path)
    path.parent.parent.joinpath("02_testing").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot write a journal"):
        journal.append(entry())

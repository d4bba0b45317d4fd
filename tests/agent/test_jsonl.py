"""Files of lines: every prefix and every damaged byte is either read, dropped as torn, or named; never a traceback."""

import asyncio
import errno
import json
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from agent.jsonl import Appender, read_lines
from agent.llm.ledger import Ledger
from agent.trajectory.journal import Entry, Journal
from sandbox.errors import InputError, StoreError

LINES = [Entry("ask", "", number, "draft", {"issue": "ä"}, {"reply": {"text": "x" * number}}, 0.5) for number in range(4)]


@pytest.fixture
def journal(tmp_path):
    written = Journal(tmp_path / "0.jsonl", {"stage": "testing"})
    for entry in LINES:
        written.append(entry)
    written.close()
    return tmp_path / "0.jsonl"


def test_every_prefix_of_a_journal_holds_its_whole_lines(journal):
    content = journal.read_bytes()
    for keep in range(len(content) + 1):
        journal.write_bytes(content[:keep])
        whole = max(0, content[:keep].count(b"\n") - 1)
        assert [entry.sequence for entry in Journal(journal).entries()] == list(range(whole))


def test_every_prefix_of_a_journal_can_be_written_on(journal):
    content = journal.read_bytes()
    for keep in range(0, len(content) + 1, 7):
        journal.write_bytes(content[:keep])
        held = Journal(journal, {"stage": "testing"})
        for entry in LINES[len(held) :]:
            held.append(entry)
        held.close()
        assert journal.read_bytes() == content


def said_of(journal):
    """What opening the journal complains about; empty if about nothing. Raises what is no RunoffError."""
    try:
        Journal(journal)
    except StoreError as error:
        return f"line {error.where.rpartition(':')[2]}" if "sed -i" in error.hint else "no remedy"
    except InputError as error:
        return "format" if "format" in error.message else "?"
    return ""


@pytest.mark.parametrize("damage", [b"\0", b"\xff", b"}", b'"', b"\n"])
def test_a_damaged_byte_anywhere_is_named_or_harmless(journal, damage):
    content = journal.read_bytes()
    for place in range(len(content)):
        journal.write_bytes(content[:place] + damage + content[place + 1 :])
        number = content[:place].count(b"\n") + 1
        assert said_of(journal) in ("", "format", f"line {number}", f"line {number + 1}")


@pytest.mark.parametrize("line", ["[]", "3", "null", "{}", '{"kind": "ask"}', '{"kind": "fork"}', '{"kind": "start"}'])
def test_a_line_that_is_no_effect_is_damage(tmp_path, line):
    path = tmp_path / "0.jsonl"
    path.write_text(f'{{"kind": "start", "format": 1}}\n{line}\n')
    with pytest.raises(StoreError, match="line 2 of a journal is damaged"):
        Journal(path)


def test_a_journal_of_another_format_is_refused(tmp_path):
    path = tmp_path / "0.jsonl"
    path.write_text('{"kind": "start", "format": 99}\n')
    with pytest.raises(InputError, match="format 99"):
        Journal(path)


def test_every_prefix_of_a_ledger_is_read(tmp_path):
    path = tmp_path / "ledger.jsonl"
    key = {
        "kind": "reserve",
        "id": 0,
        "key": "a/testing/0/0",
        "stage": "testing",
        "model": "m",
        "worst_dollars": 1.0,
        "worst_tokens": 9,
    }
    rest = [{"kind": "fail", "id": 0, "error": "gone", "may_be_billed": True}]
    content = "".join(json.dumps(line) + "\n" for line in ({"kind": "start", "format": 1}, key, *rest)).encode()
    for keep in range(len(content) + 1):
        path.write_bytes(content[:keep])
        assert Ledger(path).totals().calls == int(content[:keep].count(b"\n") >= 2)


class Disk:
    """`os` with an fsync or a write that fails when told to."""

    def __init__(self):
        self.fails = ""

    def __getattr__(self, name):
        if name == self.fails:
            return self.fail
        return getattr(os, name)

    def fail(self, handle, data=b""):
        if data:
            os.write(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fails", ["write", "fsync"])
@pytest.mark.parametrize("line", [0, 1])
def test_a_line_that_was_not_acknowledged_is_taken_back(tmp_path, monkeypatch, fails, line):
    """Else the ledger would give the number of a failed reservation to the next one, and hold both."""
    disk = Disk()
    monkeypatch.setattr("agent.jsonl.os", disk)
    file = Appender(tmp_path / "lines.jsonl", "the ledger", {"kind": "start"})
    for number in range(line):
        file.append({"kind": "reserve", "id": number})
    disk.fails = fails
    with pytest.raises(StoreError, match="No space left"):
        file.append({"kind": "reserve", "id": line})
    disk.fails = ""
    assert [held.get("id") for held in read_lines(file.path, "it")] == [None, *range(line)][: 1 + line if line else 0]
    file.append({"kind": "reserve", "id": line})
    file.close()
    assert [held.get("id") for held in read_lines(file.path, "it")] == [None, *range(line + 1)]


def test_a_line_that_could_not_be_taken_back_is_cut_off_later(tmp_path, monkeypatch):
    disk = Disk()
    monkeypatch.setattr("agent.jsonl.os", disk)
    file = Appender(tmp_path / "lines.jsonl", "the ledger", {"kind": "start"})
    file.append({"kind": "a"})
    monkeypatch.setattr(Appender, "_take_back", Appender.close)
    disk.fails = "fsync"
    with pytest.raises(StoreError):
        file.append({"kind": "b"})
    disk.fails = ""
    file.append({"kind": "c"})
    assert [line["kind"] for line in read_lines(file.path, "it")] == ["start", "a", "c"]


def test_folders_that_cannot_be_synced_are_left_alone(tmp_path, monkeypatch):
    """Some network file systems refuse it; a rename is atomic there all the same."""
    real = os.fsync

    def refuse(handle):
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    file = Appender(tmp_path / "lines.jsonl", "it", {"kind": "start"})
    file.append({"kind": "a"})
    file.close()
    assert len(list(read_lines(file.path, "it"))) == 2


async def test_lines_that_are_waited_for_together(tmp_path):
    file = Appender(tmp_path / "lines.jsonl", "it", {"kind": "start"})

    async def one(number):
        file.write({"kind": "a", "id": number})
        await file.lasting()
        assert number in [line.get("id") for line in read_lines(file.path, "it")]

    await asyncio.gather(*map(one, range(50)))
    file.close()
    assert [line.get("id") for line in read_lines(file.path, "it")] == [None, *range(50)]


async def test_those_who_wait_meanwhile_share_one_sync(tmp_path, monkeypatch):
    syncs = []
    monkeypatch.setattr("agent.jsonl.os.fsync", lambda handle: syncs.append(len(path.read_bytes().splitlines())))
    path = tmp_path / "lines.jsonl"
    file = Appender(path, "a file", {"kind": "start"})

    async def one(number):
        file.write({"kind": "ask", "number": number})
        await file.lasting()
        return syncs[-1] > number

    kept = await asyncio.gather(*map(one, range(40)))
    assert all(kept)  # each line was there when the last sync began
    assert len(syncs) < 8


async def test_lines_that_a_disk_did_not_keep(tmp_path, monkeypatch):
    """All that lay behind the last line that is known to be kept is lost, and nobody is told otherwise."""
    disk = Disk()
    monkeypatch.setattr("agent.jsonl.os", disk)
    file = Appender(tmp_path / "lines.jsonl", "it", {"kind": "start"})
    file.append({"kind": "a"})
    disk.fails = "fsync"
    for kind in "bc":
        file.write({"kind": kind})
    told = await asyncio.gather(file.lasting(), file.lasting(), return_exceptions=True)
    assert [type(each) for each in told] == [StoreError, StoreError]
    disk.fails = ""
    file.write({"kind": "d"})
    await file.lasting()
    assert [line["kind"] for line in read_lines(file.path, "it")] == ["start", "a", "d"]


def test_a_line_that_nobody_waited_for_is_kept_when_the_file_is_closed(tmp_path):
    file = Appender(tmp_path / "lines.jsonl", "it", {"kind": "start"})
    file.write({"kind": "a"})
    file.close()
    file.append({"kind": "b"})
    assert [line["kind"] for line in read_lines(file.path, "it")] == ["start", "a", "b"]


def test_file_that_cannot_be_read_when_it_is_opened_keeps_its_lines(tmp_path, monkeypatch):
    path = tmp_path / "lines.jsonl"
    first = Appender(path, "lines", {"kind": "start"})
    first.append({"kind": "kept"})
    first.close()
    held = path.read_bytes()
    again = Appender(path, "lines", {"kind": "start"})
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", Mock(side_effect=OSError(errno.EMFILE, "too many open files")))
        with pytest.raises(StoreError):
            again.append({"kind": "lost"})
    again.append({"kind": "next"})
    again.close()
    assert path.read_bytes() == held + b'{"kind": "next"}\n'

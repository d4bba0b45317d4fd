"""Batches in trouble: kills, instances that fail, a server and a disk that go away, damaged files, Ctrl-C."""

import json
import random
from collections import Counter

import pytest

from agent.jsonl import read_lines
from tests.e2e.splits import make_clone
from tests.e2e.test_damage import mounted, remount
from tests.e2e.test_interruption import SECONDS, interrupt

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_kills_and_resume(batch):
    """SIGKILL in the middle, several times: no reply that reached a journal is paid again, and the end is the same."""
    batch.player.seconds, held, kills = 0.03, set(), 0
    chance = random.Random(7)
    for turn in range(30):
        began, asked = (batch.run / "manifest.json").exists(), len(batch.player.asked)
        code, _, err = (batch.resume if began else batch.start)(seconds=chance.uniform(0.3, 1.5) * 1.2**turn)
        assert code in (0, -9), err
        assert not held & set(batch.player.asked[asked:]), "a reply that had reached a journal was asked for again"
        held = batch.journaled()
        if code == 0:
            break
        kills += 1
    assert kills >= 3
    assert (code, batch.unresolved()) == (0, {})
    assert set(batch.predictions()) == set(batch.ids())
    assert {path.name for path in batch.run.rglob(".*.tmp")} == set()
    settled = [line for line in read_lines(batch.run / "ledger.jsonl", "the ledger") if line["kind"] == "settle"]
    assert len(settled) >= len(held)


def test_what_fails_stops_nobody_else(batch):
    """A set-up that fails, a clone that is missing, a commit that is not there: each is named, and can be tried again."""
    rows, ids = batch.rows, batch.ids()
    rows[0] = {**rows[0], "version": "bad"}
    rows[1] = {**rows[1], "repo": "nobody/nothing"}
    rows[2] = {**rows[2], "base_commit": "0" * 40}
    good = {"python": "", "install": "true", "test_cmd": "true"}
    specs = {"1.0": good, "bad": {**good, "install": "echo no such thing; exit 7"}}
    file = batch.folder / "specs.json"
    file.write_text(json.dumps(dict.fromkeys(("acme/texttools", "umbrella/texttools", "nobody/nothing"), specs)))
    code, _, err = batch.start("--setup", "auto", "--test-command", "auto", "--install-specs", file)
    assert code == 0, err
    assert set(batch.predictions()) == set(ids[3:])
    assert batch.causes() == dict(zip(ids[:3], ["sandbox", "data", "data"], strict=True))
    assert "no such thing" in batch.unresolved()[ids[0]]["reason"]
    assert "git clone" in json.loads((batch.run / ids[1] / "failure.json").read_text())["hint"]
    asked = len(batch.player.asked)
    code, _, err = batch.resume()
    assert (code, len(batch.player.asked)) == (0, asked), "what failed for good is not taken up unasked"
    make_clone(batch.clones / "nobody__nothing", "umbrella")
    code, _, err = batch.resume("--retry", "data")
    assert code == 0, err
    assert batch.causes() == {ids[0]: "sandbox", ids[2]: "data"}
    assert ids[1] in batch.predictions()
    code, _, err = batch.resume("--retry", "weather")
    assert (code, "one of all, model" in err) == (2, True), err


def test_a_server_that_goes_away_stops_the_run(batch):
    """The circuit breaker: where everything fails alike, the rest of the split is not begun; nothing is lost."""
    batch.player.down_after = 5
    code, _, err = batch.start("--instances-at-once", 2, "--retries", 1)
    assert (code, f"runoff resume {batch.name}" in err) == (4, True), err
    causes = Counter(batch.causes().values())
    assert causes["infrastructure"] in (3, 4)
    assert causes["unfinished"] == 6 - causes["infrastructure"]
    batch.player.down_after, batch.player.fault = 25, 401
    code, _, err = batch.resume()
    assert (code, "stopped: infrastructure" in err) == (4, True), err
    batch.player.down_after = None
    code, _, err = batch.resume()
    assert (code, set(batch.predictions())) == (0, set(batch.ids())), err
    assert batch.unresolved() == {}


def test_a_full_disk_stops_the_run(batch, require_service):
    with mounted(batch.run, "300k") as works:
        require_service(works, "tmpfs cannot be mounted: run this as root")
        code, _, err = batch.start()
        assert (code, "No space left" in err, "Traceback" in err) == (4, True, False), err
        held, asked = batch.journaled(), len(batch.player.asked)
        remount(batch.run, "size=16m")
        code, _, err = batch.resume()
        assert (code, set(batch.predictions())) == (0, set(batch.ids())), err
        assert not held & set(batch.player.asked[asked:])
        remount(batch.run, "ro")
        asked = len(batch.player.asked)
        code, out, err = batch.resume()
        assert (code, "6 of 6" in out, len(batch.player.asked)) == (0, True, asked), err


def test_a_damaged_file_is_one_instances_affair(batch):
    batch.player.down_after = 40
    code, _, err = batch.start("--retries", 1)
    assert code == 4, err
    batch.player.down_after = None
    journal = next(iter(sorted(batch.run.glob("*/01_context/relevance.jsonl"))))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"{ half\n", *lines[1:]]))
    hurt = journal.parts[-3]
    for _ in range(2):
        code, _, err = batch.resume()
        assert (code, batch.causes()) == (4, {hurt: "infrastructure"}), err
    failure = json.loads((batch.run / hurt / "failure.json").read_text())
    assert "line 2 of a journal is damaged" in failure["reason"]
    assert failure["hint"] == f"sed -i.damaged '2d' '{journal.relative_to(batch.folder)}', then: runoff resume {batch.name}"
    journal.write_bytes(b"".join(lines))
    code, _, err = batch.resume()
    assert (code, batch.unresolved()) == (0, {}), err


def test_a_fault_of_runoff_is_told_and_not_tried_again_unasked(batch):
    """Here: a field in an instance's file that nobody expects."""
    batch.player.down_after = 12
    code, _, err = batch.start("--retries", 1)
    assert code == 4, err
    batch.player.down_after = None
    odd = batch.run / batch.ids()[1] / "instance.json"
    odd.write_text(json.dumps({**json.loads(odd.read_text()), "colour": "red"}))
    code, _, err = batch.resume()
    assert (code, batch.causes(), "Traceback" in err) == (0, {batch.ids()[1]: "infrastructure"}, False), err
    failure = json.loads(odd.with_name("failure.json").read_text())
    assert failure["reason"].startswith("unexpected TypeError")
    assert "Traceback" in failure["error"]
    code, _, err = batch.resume()
    assert "nothing is left to do" in err
    held = json.loads(odd.read_text())
    del held["colour"]
    odd.write_text(json.dumps(held))
    code, _, err = batch.resume("--retry", "infrastructure")
    assert (code, batch.unresolved()) == (0, {}), err


def test_ctrl_c(batch, runoff, wait_until):
    batch.player.seconds = 0.3
    batch.run = runoff.folder / "runs" / batch.name
    process = runoff.start(*batch.arguments())
    wait_until(lambda: len(batch.player.asked) > 10)
    code, seconds, err = interrupt(process)
    assert (code, f"runoff resume {batch.name}" in err) == (130, True), err
    assert seconds < 2 * SECONDS
    held, asked = batch.journaled(), len(batch.player.asked)
    batch.player.seconds = 0.0
    code, _, err = runoff("resume", batch.name)
    assert (code, set(batch.predictions())) == (0, set(batch.ids())), err
    assert not held & set(batch.player.asked[asked:])

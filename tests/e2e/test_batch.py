"""`runoff batch`: a split of small instances from rows to predictions, in trouble of every kind."""

import json
import random
from collections import Counter

import pytest

from agent.jsonl import read_lines
from agent.llm.ledger import Ledger
from tests.e2e.killing import forking
from tests.e2e.playing import seed_of, serving
from tests.e2e.splits import PRICE, Crowd, make_clone, make_split, write_rows
from tests.e2e.test_damage import mounted, remount
from tests.e2e.test_interruption import SECONDS, interrupt

LONGEST = 280.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Batch:
    """A split, the model that a test plays, and the command line."""

    def __init__(self, bench, name, spec, player):
        self.folder, self.rows, self.clones, self.fork = bench
        self.rows = list(self.rows)
        self.name, self.spec, self.player = name, spec, player
        self.run = self.folder / "runs" / name

    def arguments(self, *more, rows=None):
        file = write_rows(self.folder / f"{self.name}.jsonl", rows or self.rows)
        return [
            "batch", "--dataset", file, "--repos", self.clones, "--model", self.spec, "--samples", 2, "--rankings", 1,
            "--sandbox", "local", "--setup", "none", "--test-command", "none", "--price", PRICE, "--run", self.name, *more,
        ]  # fmt: skip

    def start(self, *more, rows=None, **how):
        return self.fork(*self.arguments(*more, rows=rows), remember=True, **{"seconds": LONGEST, **how})

    def resume(self, *more, **how):
        return self.fork("resume", self.name, *more, remember=True, **{"seconds": LONGEST, **how})

    def ids(self):
        return [row["instance_id"] for row in self.rows]

    def predictions(self):
        return {
            row["instance_id"]: row for row in map(json.loads, (self.run / "predictions.jsonl").read_text().splitlines())
        }

    def journaled(self):
        """Seeds of the calls whose replies reached a journal."""
        found = set()
        for path in self.run.glob("*/0[1-5]*"):
            for journal in [path] if path.suffix == ".jsonl" else path.glob("*.jsonl"):
                lines = list(read_lines(journal, "a journal"))
                place = lines and f"{journal.relative_to(self.run).parts[0]}/{lines[0]['stage']}/{lines[0]['sample']}"
                for line in lines:
                    if line["kind"] == "ask":
                        branch = f"/{line['branch']}" if line["branch"] else ""
                        found.add(seed_of(f"{place}{branch}/{line['sequence']}"))
        return found

    def spent(self):
        """Dollars by instance."""
        ledger = Ledger(self.run / "ledger.jsonl")
        return {name: ledger.of_instance(name).dollars for name in self.ids()}

    def causes(self):
        return {name: why["cause"] for name, why in self.unresolved().items()}

    def most(self):
        """The most that was ever spent or reserved for one instance, by replaying the ledger line by line."""
        worst, spent, peak = {}, Counter(), 0.0
        for line in read_lines(self.run / "ledger.jsonl", "the ledger"):
            if line["kind"] == "reserve":
                worst[line["id"]] = (line["key"].partition("/")[0], line["worst_dollars"])
            elif line["kind"] in ("settle", "fail"):
                name, _ = worst.pop(line["id"])
                spent[name] += line.get("dollars") or 0.0
            for name in self.ids():
                peak = max(peak, spent[name] + sum(dollars for of, dollars in worst.values() if of == name))
        return peak

    def unresolved(self):
        return json.loads((self.run / "unresolved.json").read_text())


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    rows, clones = make_split(folder)
    with forking(folder) as fork:
        yield folder, rows, clones, fork


@pytest.fixture
def batch(bench, request):
    player = Crowd([row["instance_id"] for row in bench[1]])
    with serving(player) as spec:
        yield Batch(bench, request.node.name.removeprefix("test_"), spec, player)


def test_a_split_to_the_end(batch):
    """Broken rows are named, an issue that the model cannot solve has a cause, no call is made twice."""
    batch.player.lost.add(3)
    broken = ['{"instance_id": "acme__texttools-99", "repo": "acme/te', {"instance_id": "acme__texttools-98", "repo": "x"}]
    code, out, err = batch.start(rows=[*batch.rows, *broken])
    assert code == 0, err
    lost = batch.ids()[3]
    assert set(batch.predictions()) == {*batch.ids()} - {lost}
    assert batch.causes() == {lost: "model", "acme__texttools-98": "data", "acme__texttools-99": "data"}
    assert "row 8 (acme__texttools-98): it has no base_commit" in err
    assert "5 of 6 instances have a patch" in out
    assert err.count(" started ") == err.count(" ended ") + 1 == 7
    assert max(Counter(batch.player.asked).values()) == 1
    code, out, err = batch.resume()
    assert (code, "nothing is left to do" in err) == (0, True), err
    code, out, err = batch.start("--samples", 3, rows=batch.rows)
    assert (code, "another samples" in err) == (2, True), err
    code, out, err = batch.start(rows=[{**row, "problem_statement": row["problem_statement"] + "!"} for row in batch.rows])
    assert (code, "another" in err) == (2, True), err


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


def test_model_failures_are_tried_again_when_asked(batch):
    batch.player.lost |= {0, 4}
    code, _, err = batch.start()
    assert (code, set(batch.causes().values())) == (0, {"model"}), err
    batch.player.lost.clear()
    asked = len(batch.player.order)
    code, _, err = batch.resume("--retry", "model")
    assert (code, batch.unresolved()) == (0, {}), err
    assert {number for number, _ in batch.player.order[asked:]} == {0, 4}
    assert {stage for _, stage in batch.player.order[asked:]} == {"testing", "editing", "selection"}, "the context stays"
    assert (batch.run / batch.ids()[0] / "earlier" / "1" / "result.json").exists()


def test_nothing_that_has_a_patch(batch):
    batch.player.lost |= set(range(6))
    code, out, err = batch.start("--instances", "0:2")
    assert (code, "0 of 2 instances have a patch" in out) == (1, True), err
    assert batch.predictions() == {}


def test_a_budget_for_each_issue_and_one_for_the_run(batch):
    cheap = ("--max-tokens", 300)
    code, _, err = batch.start(*cheap, "--run", "free")
    assert code == 0, err
    batch.run, first = batch.run.with_name("free"), batch.run
    free = batch.spent()
    batch.run = first
    limit = max(free.values()) / 2
    code, _, err = batch.start(*cheap, "--budget-per-issue", limit)
    assert (code, set(batch.causes().values())) == (3, {"budget"}), err
    assert batch.most() <= limit + 1e-9
    asked = len(batch.player.asked)
    code, _, err = batch.resume()
    assert len(batch.player.asked) == asked, "the limit is what it was"
    total = sum(free.values()) * 0.8
    code, _, err = batch.resume("--budget-per-issue", 100, "--budget", total)
    assert (code, "--budget MORE" in err) == (3, True), err
    assert total * 0.4 < sum(batch.spent().values()) <= total + 1e-9
    code, _, err = batch.resume("--budget", 100)
    assert (code, set(batch.predictions())) == (0, set(batch.ids())), err
    assert max(Counter(batch.player.asked).values()) == 2, "once in each run"


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


def test_those_that_began_first_end_first(batch):
    """With a narrow way to the model, the first instance is done before the last has its tests."""
    batch.player.seconds = 0.02
    code, _, err = batch.start("--in-flight", 2, "--instances-at-once", 6)
    assert code == 0, err
    ended = [line.split(" ended ")[1].split()[1] for line in err.splitlines() if " ended " in line]
    assert [batch.ids().index(name) for name in ended[:2]] in ([0, 1], [1, 0])
    last_of_the_first = max(at for at, (number, _) in enumerate(batch.player.order) if number == 0)
    assert last_of_the_first < len(batch.player.order) * 0.6


def test_choosing_instances(batch):
    context = ["--stages", "context", "--prefilter", "bm25:1"]
    choices = [("1:3", [1, 2]), ("acme__*", [0, 2, 4]), (",".join(batch.ids()[4:2:-1]), [3, 4])]
    for number, (wanted, numbers) in enumerate(choices):
        code, _, err = batch.start(*context, "--instances", wanted, "--run", f"part-{number}")
        assert code == 0, err
        batch.run = batch.run.with_name(f"part-{number}")
        assert json.loads((batch.run / "manifest.json").read_text())["order"] == [batch.ids()[at] for at in numbers]
        assert set(batch.causes().values()) == {"not asked for"}
    code, _, err = batch.start(*context, "--shuffle", "--seed", 5, "--instances", "0:4", "--run", "shuffled")
    assert code == 0, err
    order = json.loads((batch.run.with_name("shuffled") / "manifest.json").read_text())["order"]
    assert len(order) == 4
    assert order != [name for name in batch.ids() if name in order]
    code, _, err = batch.start("--instances", "acme__texttools-7", "--run", "none")
    assert (code, "near it" in err) == (2, True), err


def test_json_lines(batch):
    code, out, err = batch.start("--instances", "0:2", "--json")
    assert code == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    assert [line["instance"] for line in told if line["event"] == "ended"] in (batch.ids()[:2], batch.ids()[1::-1])
    assert told[-1]["event"] == "result"
    assert (told[-1]["instances"], told[-1]["patches"], told[-1]["causes"]) == (2, 2, {})
    assert told[-1]["spent"]["calls"] == len(batch.player.asked)


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

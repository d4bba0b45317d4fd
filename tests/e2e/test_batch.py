"""`runoff batch`: a split of small instances from rows to predictions, in trouble of every kind."""

import json
from collections import Counter

import pytest

from tests.e2e.playing import serving
from tests.e2e.splits import PRICE, Crowd, make_split, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Batch:
    """A split, a model, and `runoff` in its folder."""

    def __init__(self, runoff, folder, count=6):
        self.rows, self.clones = make_split(folder, count)
        self.runoff, self.folder = runoff, folder
        self.player = Crowd([row["instance_id"] for row in self.rows])
        self.run = runoff.folder / "runs" / "first"

    def arguments(self, spec, *more, rows=None):
        file = write_rows(self.folder / "rows.jsonl", rows or self.rows)
        return [
            "batch", "--dataset", file, "--repos", self.clones, "--model", spec, "--samples", 2, "--rankings", 1,
            "--sandbox", "local", "--setup", "none", "--test-command", "none", "--price", PRICE, "--run", "first", *more,
        ]  # fmt: skip

    def ids(self):
        return [row["instance_id"] for row in self.rows]

    def predictions(self):
        return {row["instance_id"]: row for row in map(json.loads, (self.run / "predictions.jsonl").read_text().splitlines())}

    def unresolved(self):
        return json.loads((self.run / "unresolved.json").read_text())


@pytest.fixture
def batch(runoff, tmp_path):
    return Batch(runoff, tmp_path)


def test_a_split_to_the_end(batch):
    batch.player.lost.add(3)
    broken = ['{"instance_id": "acme__texttools-99", "repo": "acme/te', {"instance_id": "acme__texttools-98", "repo": "x"}]
    with serving(batch.player) as spec:
        code, out, err = batch.runoff(*batch.arguments(spec, rows=[*batch.rows, *broken]))
    assert code == 0, err
    print(err, out)
    lost = batch.ids()[3]
    assert set(batch.predictions()) == {*batch.ids()} - {lost}
    assert batch.unresolved()[lost]["cause"] == "model"
    assert batch.unresolved()["acme__texttools-99"]["cause"] == "data"
    assert "acme__texttools-98" in err
    assert "5 of 6 instances have a patch" in out
    assert Counter(batch.player.asked).most_common(1)[0][1] == 1

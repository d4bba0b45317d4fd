"""A model server that fails in the middle: samples are parked, the run ends with exit 4, and resuming finishes it."""

from collections import Counter

import pytest

from tests.e2e.served import serve

ORDER = ["relevance", "testing", "editing", "selection"]


@pytest.mark.parametrize("stage", ["relevance", "testing", "editing", "selection"])
def test_a_fault_is_not_the_models_failure(runoff, solve_arguments, person, stage):
    with serve(person.say) as served:
        asked, down = served.asked, served.down
        down.add(stage)
        arguments = [*solve_arguments, "--model", served.model, "--price", "1,2", "--retries", 1]
        code, out, err = runoff(*arguments)
        assert code == 4, err
        assert "runoff resume first" in err
        assert "patch:" not in out
        before = Counter(asked)
        down.clear()
        code, out, err = runoff("resume", "first")
        assert code == 0, err
        assert out.splitlines()[-1].startswith("patch: ")
        finished = ORDER[: ORDER.index(stage)]
        assert {name: asked[name] for name in finished} == {name: before[name] for name in finished}
        assert "of unknown price" not in out

"""`single` and `pairwise` with a real, small model behind a real server: whatever it answers, a choice comes of it.

SmolLM2 cannot judge patches. What is shown is that requests, context limits, unreadable answers and journals hold.
"""

from __future__ import annotations

import pytest

from agent.llm.ledger import Ledger
from agent.llm.open import open_model
from agent.llm.settings import LlmSettings
from agent.llm.specs import parse_spec
from selection.chain import parse_chain
from selection.consensus import Split
from selection.steps.model import with_model
from selection.steps.plain import label_free
from selection.trajectory import SelectionSettings
from tests.selection.judges import Table

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]  # the first run downloads 130 MB


@pytest.fixture
async def settle(llama, instance, tmp_path):
    """Runs a chain over {member: patch} with the server; gives the choice and how many calls are in the ledger."""
    spec = parse_spec(f"openai:smollm2@{llama}/v1")
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        model = open_model(spec, settings=LlmSettings(attempts=2, timeout_seconds=120), ledger=ledger, env={}, seed=7)

        async def run(chain, offers, texts):
            proposals = list(offers.items())
            settings = SelectionSettings(max_tokens=24, attempts=2)
            steps = label_free(Split({instance.id: proposals}), list(offers))
            steps |= with_model(Table(tmp_path, model, texts), settings)
            choice = await parse_chain(chain, steps)(instance, proposals)
            return choice, Ledger(tmp_path / "ledger.jsonl").totals().calls

        yield run
        await model.close()


@pytest.mark.parametrize(("chain", "questions"), [("single:2", 2), ("pairwise:2", 2)])
async def test_small_model_is_asked_and_replayed(settle, patches, before, chain, questions):
    choice, calls = await settle(chain, patches, before)
    step = choice.steps[-1]
    assert choice.chosen is not None
    assert questions <= step.figures["calls"] == calls <= 2 * questions
    assert len(step.evidence["answers"]) == questions
    assert "outgrew" not in step.note
    again, after = await settle(chain, patches, before)
    assert (again.to_json(), after) == (choice.to_json(), calls)


async def test_code_that_outgrows_the_window_is_left_out(settle, patches):
    """The server's slots have 1024 tokens: it refuses the file, and takes the diffs alone."""
    long = {"slugs.py": "def slug(title):\n    return title.replace(' ', '-')\n" + "# more of it\n" * 2000}
    choice, _ = await settle("single", {name: patches[name] for name in ("lower", "split")}, long)
    (answer,) = choice.steps[-1].evidence["answers"]
    assert answer["calls"] == 2
    assert answer["words"] != "the prompt outgrew the model's context"

"""What a run hands out: a prediction for each instance with a patch, a cause for each without one.

Predictions are as the official harness reads them. An instance without a patch is never an empty prediction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.cleaning import clean

UNFINISHED = {"cause": "unfinished", "reason": "unfinished"}


def prediction(instance: str, model: str, diff: str | None, result: Mapping[str, Any] | None) -> str | None:
    """The instance's line of predictions.jsonl; None if it has no patch, or none that is left after cleaning.

    `diff` is that of patch.diff. What result.json says was `removed` is left out.
    """
    if diff is None:
        return None
    text = clean(diff).diff if (result or {}).get("removed") else diff
    if not text.strip():
        return None
    row = {"instance_id": instance, "model_name_or_path": model, "model_patch": text}
    return json.dumps(row, ensure_ascii=False) + "\n"


def unresolved(result: Mapping[str, Any] | None, failure: Mapping[str, Any] | None) -> dict[str, str]:
    """Cause and words for an instance that has no prediction, from its result.json or failure.json."""
    if result is not None:
        return {"cause": result.get("cause", "model") or "not asked for", "reason": result["reason"]}
    if failure is not None:
        where = f" ({failure['where']})" if failure.get("where") else ""
        return {"cause": failure["cause"], "reason": failure["reason"] + where}
    return dict(UNFINISHED)

"""The official harness, by its own command: what it is given, and what its reports say.

The harness caches by run id, model and instance, not by patch. So every call has a run id made of the patches that it
judges: a patch that has changed is judged anew, and one that has not is never given to it again (`record.Results`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.files import write_text
from sandbox.api import Patch, digest_of
from sandbox.errors import InputError
from selection.evaluation.harness import Harness
from selection.evaluation.local import NAMED
from selection.evaluation.verdicts import Judgement, Outcome, Score
from selection.gold import GoldLabels

SCRIPT_COLUMNS = ("image", "eval_script", "log_parser", "eval_type")
"""What rows must have for swebench 5."""
NOT_APPLIED = ">>>>> Patch Apply Failed"
REFUSED = re.compile(r"^.*(?:error:|FAILED|Reversed|malformed|corrupt|can't find).*$", re.MULTILINE)
TIMED_OUT = re.compile(r"Test timed out after (\d+) seconds")
FAULTS = re.compile(
    r"Error response from daemon|Cannot connect to the Docker daemon|No space left on device|Cannot allocate memory"
    r"|^Killed$|Could not resolve host|Temporary failure in name resolution|toomanyrequests",
    re.MULTILINE,
)
"""What no patch can be the cause of, where the harness itself does not tell (4.1 never does)."""
ERROR = re.compile(r"^.*(?:Error|Exception|error)\b.*: .*$", re.MULTILINE)
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Batch:
    """One call of the harness: at most one patch an instance."""

    patches: Mapping[str, Patch]
    bases: Mapping[str, str]
    """By instance: what the judgement rests on."""

    def run_id(self, start: str) -> str:
        """The harness's run id: of these patches and no others."""
        parts = [part for name in sorted(self.patches) for part in (name, self.patches[name].digest, self.bases[name])]
        return f"{start}-{digest_of(*parts)[:12]}"

    def predictions(self, model: str) -> str:
        """What the harness reads, as JSON lines; `basis` is for us."""
        rows = [
            {"instance_id": name, "model_name_or_path": model, "model_patch": patch.diff, "basis": self.bases[name]}
            for name, patch in self.patches.items()
        ]
        return "".join(json.dumps(row) + "\n" for row in rows)


def basis(labels: GoldLabels, timeout: float) -> str:
    """The digest of what an official judgement rests on, beside the harness and its images."""
    return digest_of("official", labels.digest, f"{timeout:.0f}")


def check_rows(harness: Harness, rows: list[dict[str, Any]], where: str) -> None:
    """Raises InputError where the rows are not what this version of the harness reads."""
    if not harness.needs_scripts:
        return
    for row in rows:
        if missing := [name for name in SCRIPT_COLUMNS if not row.get(name)]:
            raise InputError(
                f"swebench {harness.version} needs rows with {', '.join(SCRIPT_COLUMNS)}; '{row['instance_id']}' has no"
                f" {missing[0]}",
                where=where,
                hint="use a data set for swebench 5, or a Python with swebench 4.1: --harness-python PATH, or --local",
            )


def command_line(
    harness: Harness, *, dataset: Path, predictions: Path, run_id: str, workers: int, timeout: float, namespace: str
) -> list[str]:
    """The harness's command; both versions read a data set from a file."""
    arguments = {
        "dataset_name": str(dataset),
        "split": "test",
        "predictions_path": str(predictions),
        "max_workers": str(workers),
        "run_id": run_id,
        "timeout": f"{timeout:.0f}",
        "report_dir": ".",
    }
    if not harness.needs_scripts:
        arguments["namespace"] = namespace
    words = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    return [harness.python, "-I", "-m", "swebench.harness.run_evaluation", *words]


def log_folder(place: Path, run_id: str, model: str, instance: str) -> Path:
    """Where the harness keeps what it did with an instance, given the folder that it was started in."""
    return place / "logs" / "run_evaluation" / run_id / model.replace("/", "__") / instance


def has_begun(place: Path) -> bool:
    """Whether the harness came as far as any instance. It may fail after that, at its summary, with everything judged."""
    return any(place.glob("logs/run_evaluation/*/*/*/run_instance.log"))


def judgement_of(logs: Path, instance: str, root: Path, *, ended: bool) -> Judgement | None:
    """What the harness's files say of an instance; None while it is still at it (`ended`: the harness has ended)."""
    kept = str(logs.relative_to(root))
    if (report := _report(logs / "report.json", instance)) is not None:
        return _reported(report, logs, kept)
    if not ended:
        return None
    said = _text(logs / "run_instance.log")
    if NOT_APPLIED in said:
        tail = said.rpartition(NOT_APPLIED)[2].strip(": \n")
        why = REFUSED.search(tail)
        return Judgement(Outcome.NOT_APPLIED, (why[0] if why else tail.partition("\n")[0])[:LONGEST], log=kept)
    if found := TIMED_OUT.search(said):
        return Judgement(Outcome.TIME_OUT, f"the tests did not end within {found[1]} s", log=kept)
    errors = ERROR.findall(said)
    reason = errors[-1].strip()[:LONGEST] if errors else "the harness ended without a report on it"
    return Judgement(Outcome.INFRASTRUCTURE, reason, log=kept if said else "")


def finished_before(folder: Path) -> Iterator[tuple[str, Patch, str, Judgement]]:
    """(instance, patch, basis, judgement) of reports that earlier calls left, such as one whose caller was killed."""
    for predictions in sorted(folder.glob("evaluation/official/*/predictions.jsonl")):
        place = predictions.parent
        for line in predictions.read_text("utf-8").splitlines():
            row = json.loads(line)
            name, model = row["instance_id"], row["model_name_or_path"]
            judgement = judgement_of(log_folder(place, place.name, model, name), name, folder, ended=False)
            if judgement is not None:
                yield name, Patch(row["model_patch"]), row["basis"], judgement


def write_inputs(place: Path, batch: Batch, model: str) -> Path:
    """The predictions file of a call."""
    path = place / "predictions.jsonl"
    write_text(path, batch.predictions(model))
    return path


def _report(path: Path, instance: str) -> dict[str, Any] | None:
    """The harness's report; None if there is none, or it is still being written."""
    try:
        held = json.loads(path.read_text("utf-8"))
        return dict(held[instance])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _reported(report: Mapping[str, Any], logs: Path, kept: str) -> Judgement:
    status = report.get("tests_status") or {}
    lists = {name: status.get(name) or {"success": [], "failure": []} for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    tests = {name: Score(len(held["success"]), len(held["success"]) + len(held["failure"])) for name, held in lists.items()}
    fail_to_pass, pass_to_pass = (tests["FAIL_TO_PASS"], tests["PASS_TO_PASS"]) if status else (None, None)
    failed = tuple(test for held in lists.values() for test in held["failure"])[:NAMED]
    if report.get("resolved"):
        return Judgement(Outcome.RESOLVED, "", fail_to_pass, pass_to_pass, log=kept)
    if report.get("infra_failure"):
        return Judgement(Outcome.INFRASTRUCTURE, f"the harness says: {report.get('infra_failure_reason')}", log=kept)
    if not status and (fault := FAULTS.search(_text(logs / "test_output.txt"))):
        return Judgement(Outcome.INFRASTRUCTURE, fault[0], log=kept)
    if not status:
        return Judgement(Outcome.UNRESOLVED, "no test result is in the log", log=kept)
    wrong = ((name, held) for name, held in tests.items() if not held.all)
    reason = ", ".join(f"{held.total - held.passed} of {held.total} {name} fail" for name, held in wrong)
    return Judgement(Outcome.UNRESOLVED, reason, fail_to_pass, pass_to_pass, failed, log=kept)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""

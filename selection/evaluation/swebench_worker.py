"""Runs under the Python that has swebench: reads logs with its parsers and grades them with its rules.

A process of its own: swebench may live in another environment than runoff, and what it imports reads a `.env` into the
process's variables. Needs nothing but the standard library and swebench 4.1 or 5. A JSON object a line in, one a line out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

LONG = re.compile(r"(?m)^(\w+) \(([\w.]+)\.\1\)")
"""How unittest names a test from Python 3.11 on: `test_x (mod.Class.test_x)`."""
LANGUAGES = ("c", "go", "java", "javascript", "php", "python", "ruby", "rust")

Parser = Callable[[str, Any], "dict[str, str]"]


class Case:
    """What parsers may ask of a test spec."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.instance_id, self.repo, self.version = asked["instance"], asked["repo"], asked["version"]


def parser_of(asked: dict[str, Any]) -> Parser | None:
    """The parser by the name that the row gives, else by the repository."""
    parsers = import_module("swebench.harness.log_parsers")
    registry: dict[str, Parser] = getattr(parsers, "PARSER_REGISTRY", {})
    if asked["log_parser"] in registry:
        return registry[asked["log_parser"]]
    modules = [parsers, *(import_module(f"swebench.harness.log_parsers.{language}") for language in LANGUAGES)]
    maps = [value for module in modules for name, value in vars(module).items() if name.startswith("MAP_REPO_TO_PARSER")]
    by_repo = {repo.lower(): parser for held in maps for repo, parser in held.items()}
    return by_repo.get(asked["repo"].lower())


def statuses_of(parser: Parser, asked: dict[str, Any]) -> dict[str, str]:
    """Test ids with what became of them, under the long name and, where unittest gives one, the short one as well."""
    log, case = asked["log"], Case(asked)
    statuses = dict(parser(log, case))
    if LONG.search(log):
        statuses = {**parser(LONG.sub(r"\1 (\2)", log), case), **statuses}
    return {str(test): str(status) for test, status in statuses.items()}


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """How the log is graded by the labels."""
    grading, constants = import_module("swebench.harness.grading"), import_module("swebench.harness.constants")
    parser = parser_of(asked)
    if parser is None:
        return {"fault": f"swebench has no parser for the logs of {asked['log_parser'] or asked['repo']}"}
    statuses = statuses_of(parser, asked)
    only_failures = asked["repo"] in constants.FAIL_ONLY_REPOS
    kind = asked["eval_type"] or ("fail_only" if only_failures else "pass_and_fail")
    gold = {constants.FAIL_TO_PASS: asked["fail_to_pass"], constants.PASS_TO_PASS: asked["pass_to_pass"]}
    report = grading.get_eval_tests_report(statuses, gold, eval_type=constants.EvalType(kind))
    ran = getattr(grading, "SUITE_RAN", None)
    return {
        "statuses": statuses,
        "ran": bool(statuses) or bool(ran and ran.search(asked["log"])),
        "fail_to_pass": [report[constants.FAIL_TO_PASS][which] for which in ("success", "failure")],
        "pass_to_pass": [report[constants.PASS_TO_PASS][which] for which in ("success", "failure")],
        "resolved": grading.get_resolution_status(report) == constants.ResolvedStatus.FULL.value,
    }


def without_the_rest() -> None:
    """Import parsers and grading without what swebench's packages import beside them: a data set library, a vendor's SDK.

    That takes seconds, and none of it reads a log. Raises ImportError where they do need it.
    """
    found = find_spec("swebench")
    if found is None or not found.submodule_search_locations:
        raise ImportError("there is no package swebench")
    for name, part in (("swebench", ""), ("swebench.harness", "harness")):
        package = ModuleType(name)
        package.__path__ = [str(Path(place, part)) for place in found.submodule_search_locations]
        sys.modules[name] = package
    import_module("swebench.harness.grading")


def with_the_rest() -> None:
    """Import them as they are meant to be imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "swebench"]:
        del sys.modules[name]
    import_module("swebench.harness.grading")


def main() -> None:
    """Answer until standard input ends. What libraries print goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        try:
            without_the_rest()
        except (ImportError, AttributeError):
            with_the_rest()
        hello = {"version": version("swebench")}
    except Exception as error:
        hello = {"fault": f"swebench cannot be imported: {type(error).__name__}: {error}"}
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        try:
            said = answer(json.loads(line))
        except Exception as error:
            said = {"fault": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()

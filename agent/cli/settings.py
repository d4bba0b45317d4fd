"""The settings of a command, in one place: each field is a flag, a `RUNOFF_*` variable and a key of `runoff.toml`.

Flags win over variables, variables over the file, the file over the defaults. `resolve` says where each value came from.
"""

from __future__ import annotations

import inspect
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin, overload

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent.redaction import of_process
from sandbox.errors import InputError

FILE = "runoff.toml"
PREFIX = "RUNOFF_"
AUTO = "auto"
"""A command that is to be found in the repository's files."""
NONE = "none"
"""No command at all; the empty text says the same."""
AT_ONCE = 4
"""So many times more instances are under way than would fill the calls in flight while all their samples draft: before
that and after it an instance makes a call at a time, or none, and over its whole life about a third as many."""
STAGES = ("context", "testing", "editing", "selection")


class SolveSettings(BaseModel):
    """What `runoff solve` can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str = Field("", description="Git repository: a path or a URL.")
    base: str = Field("HEAD", description="Revision that the issue is about.")
    issue: str = Field("", description="The issue: a file, the text itself, or - for standard input.")
    instance: str = Field("", description="Instead of --repo and --issue: an instance of --dataset.")
    dataset: str = Field("", description="Hub id, or a .jsonl, .json or .parquet file with SWE-bench's columns.")
    split: str = Field("test", description="Split of a Hub data set.")

    model: str = Field("", description="anthropic:MODEL, openai:MODEL[@URL], manual:DIR or replay:RUN.")
    cheap_model: str = Field("", description="The model that judges the files; --model if not given.")
    price: str = Field(
        "", description="Dollars per million tokens of an unlisted --model: input,cache_read,cache_write,output."
    )
    cheap_price: str = Field("", description="The same for --cheap-model.")
    budget: float | None = Field(None, ge=0, description="Dollars that the run may cost at the most.")
    budget_tokens: int | None = Field(
        None, ge=0, description="Tokens that the run may use at the most, cached ones included."
    )
    budget_calls: int | None = Field(None, ge=0, description="Model calls that the run may make at the most.")
    temperature: float = Field(0.5, ge=0, le=2, description="Sampling temperature of testing and editing.")
    max_tokens: int = Field(8192, ge=16, description="Tokens that one reply may have.")
    window_tokens: int = Field(
        195_000, ge=1000, description="Tokens, estimated and with room for a reply, at which a trajectory ends."
    )
    seed: int = Field(0, description="Seed that servers which take one sample with; recorded in the manifest.")
    in_flight: int = Field(16, ge=1, description="Model calls in flight at once.")
    timeout: float = Field(600.0, gt=0, description="Seconds that one model call may take.")
    retries: int = Field(6, ge=1, description="Attempts at one model call.")
    priming: bool = Field(
        default=True, description="Send the first request of a shared prefix alone, so that the others hit the cache."
    )
    strict: bool = Field(default=False, description="With replay: stop at any drift from the recorded run.")

    samples: int = Field(10, ge=1, description="Testing and editing trajectories.")
    turns: int = Field(8, ge=1, description="Model calls a trajectory.")
    stages: str = Field(",".join(STAGES), description="Stages to run, from the first one on.")
    languages: str = Field("python", description="Languages of the files that are read, comma-separated.")
    with_tests: bool = Field(default=False, description="Read test files too.")
    prefilter: str = Field("", description="bm25:K reads only the K best files by words.")
    rankings: int = Field(3, ge=1, description="Ranking calls.")
    context_tokens: int = Field(128_000, ge=100, description="Estimated tokens of the files that trajectories see.")
    testing_context: Literal["none", "files"] = Field("none", description="Whether the testing stage sees the files.")
    edit_format: Literal["auto", "blocks", "file"] = Field("auto", description="How the model writes edits.")
    script_language: Literal["python", "bash"] = Field("python", description="Language of the scripts.")
    selector: str = Field(
        "votes | top | trajectory", description="Who wins: votes, consensus, or a chain such as 'votes | top:3 | pairwise'."
    )
    stop_at: float | None = Field(
        None, ge=0, le=1, description="Let no model select where more than this share of the patches is one change."
    )
    finalists: int = Field(3, ge=1, description="Candidates that reach the selection trajectory.")
    selection_turns: int = Field(8, ge=1, description="Model calls of the selection trajectory.")
    baseline_repeats: int = Field(
        2, ge=1, description="Runs of each script on the unpatched tree; contradictions are flaky."
    )

    sandbox: Literal["auto", "docker", "portable", "local"] = Field(
        "auto", description="Where untrusted code runs; portable is Docker with a container for each execution."
    )
    image: str = Field("", description="Image to build in, or the instance's own.")
    setup: str = Field(
        AUTO, description='Set-up command, such as "pip install -e ."; auto finds one in the files, none runs none.'
    )
    python: str = Field("", description="Interpreter of the environment, such as python3.9; empty for the sandbox's own.")
    test_command: str = Field(
        AUTO, description='Command of the health check, such as "pytest -q"; auto finds one in the files, none runs none.'
    )
    install_specs: str = Field(
        "", description="JSON file of environments by repository and version, for --instance in place of its image."
    )
    workers: int = Field(2, ge=1, description="Executions at once.")
    script_seconds: float = Field(120.0, gt=0, description="Seconds that one execution may take.")
    memory_mb: int = Field(2048, ge=64, description="Mebibytes of memory that one execution may use.")
    processes: int = Field(256, ge=8, description="Processes and threads that one execution may have at once.")
    disk_mb: int = Field(512, ge=4, description="Mebibytes that one execution may write: tree, /tmp and /dev/shm.")
    inodes: int | None = Field(
        None, ge=64, description="Files that one execution may make; 256 for each mebibyte of disk if not given."
    )
    output_chars: int = Field(8192, ge=200, description="Characters of its output that are kept of one execution.")

    run: str = Field("", description="Name of the run; made of the instance and the time if not given.")
    runs: str = Field("runs", description="Folder that runs land in.")


class BatchSettings(SolveSettings):
    """What `runoff batch` can be told besides."""

    instances: str = Field(
        "", description="Which instances: ids or patterns with commas between, a file of ids, or a slice such as 0:50."
    )
    shuffle: bool = Field(default=False, description="Take them in an order drawn from --seed; a slice is cut out of that.")
    repos: str = Field(
        "", description="Folder of clones named owner__name, owner/name or name; without it they come from GitHub."
    )
    instances_at_once: int = Field(
        0, ge=0, description="Instances under way at once; 0 takes as many as keep --in-flight calls busy."
    )
    budget_per_issue: float | None = Field(
        None, ge=0, description="Dollars that one instance may cost at the most; the others go on."
    )
    early_stop: int = Field(
        0, ge=0, description="Draft only so many samples where their patches are the same change; 0 drafts all."
    )
    remove_images: Literal["never", "low", "always"] = Field(
        "low",
        description="Remove images that were built or pulled for finished instances; low does so when the disk is low.",
    )
    clean_predictions: bool = Field(
        default=True, description="Leave tests, caches and scratch files out of predictions.jsonl, and say which."
    )

    @field_validator("early_stop")
    @classmethod
    def _more_than_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("a single patch agrees with itself: give 2 or more, or 0")
        return value

    @property
    def at_once(self) -> int:
        """Instances under way at once: more than fill the calls in flight while they draft."""
        return self.instances_at_once or max(2, math.ceil(AT_ONCE * self.in_flight / self.samples))


S = TypeVar("S", bound=SolveSettings)


@dataclass(frozen=True, slots=True)
class Resolved(Generic[S]):
    """Settings and, for each, where its value came from."""

    settings: S
    sources: Mapping[str, str]

    def lines(self) -> list[tuple[str, str, str]]:
        """(name, value, source) of each setting; secrets and the users of URLs are masked."""
        values = self.settings.model_dump()
        return [(name, _masked(str(value)), self.sources.get(name, "default")) for name, value in values.items()]


@overload
def resolve(flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path) -> Resolved[SolveSettings]: ...


@overload
def resolve(flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path, kind: type[S]) -> Resolved[S]: ...


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path, kind: type[SolveSettings] = SolveSettings
) -> Resolved[Any]:
    """Settings from flags (None: not given), variables and `folder/runoff.toml`. Raises InputError for a bad value.

    The file may hold what another command understands.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    known = kind.model_fields
    others = BatchSettings.model_fields.keys() - known.keys()
    for key, value in _from_file(folder / FILE).items():
        name = key.replace("-", "_")
        if name not in others:
            values[name], sources[name] = value, f"{FILE}: {key}"
    for name in known:
        variable = PREFIX + name.upper()
        if variable in environment:
            values[name], sources[name] = environment[variable], f"variable {variable}"
    for name, value in flags.items():
        if value is not None:
            values[name], sources[name] = value, f"flag --{name.replace('_', '-')}"
    return Resolved(validated(values, sources, kind), sources)


@overload
def validated(values: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> SolveSettings: ...


@overload
def validated(values: Mapping[str, Any], sources: Mapping[str, str] | None, kind: type[S]) -> S: ...


def validated(
    values: Mapping[str, Any], sources: Mapping[str, str] | None = None, kind: type[SolveSettings] = SolveSettings
) -> SolveSettings:
    """Settings of these values. Raises InputError naming the first bad one and its source."""
    try:
        settings = kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise InputError(
            f"{name.replace('_', '-')}: {first['msg'].lower()}",
            where=(sources or {}).get(name, ""),
            hint="runoff solve --help",
        ) from error
    stages = settings.stages.split(",")
    if tuple(stages) != STAGES[: len(stages)]:
        raise InputError(
            f"stages: {settings.stages} is not a beginning of {','.join(STAGES)}",
            where=(sources or {}).get("stages", ""),
            hint=f"for example --stages {','.join(STAGES[:2])}",
        )
    _check_selector(settings.selector, (sources or {}).get("selector", ""))
    return settings


def _check_selector(selector: str, where: str) -> None:
    from selection.runoff import RunOff

    try:
        RunOff(selector=selector)
    except InputError as error:
        raise InputError(f"selector: {error.message}", where=where, hint=error.hint) from None


def _from_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the settings: {error}", where=str(path), hint="mend the file or move it away"
        ) from error


def _masked(value: str) -> str:
    return of_process().everything(re.sub(r"(?<=://)[^/@\s]+@", "***@", value))


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option for each setting; it receives them as keyword arguments, None where not given."""
    return options_of(SolveSettings)(command)


def options_of(kind: type[SolveSettings], *, but: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`with_options` for settings of this kind, some of them left out."""
    return lambda command: _with_options(command, [name for name in kind.model_fields if name not in but], kind)


def _with_options(command: Callable[..., Any], names: Sequence[str], kind: type[SolveSettings]) -> Callable[..., Any]:
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, field.annotation, field)
        )
        for name in names
        if (field := kind.model_fields[name])
    ]
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *options]}
    return command


def _option(name: str, annotation: Any, field: Any) -> Any:
    flag = f"--{name.replace('_', '-')}"
    if annotation is bool:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    about = field.description
    if get_origin(annotation) is Literal:
        about = f"{about} One of {', '.join(get_args(annotation))}."
        annotation = str
    if field.default not in ("", None):
        about = f"{about} [{str(field.default).lower() if annotation is bool else field.default}]"
    option = typer.Option(flag, help=about, show_default=False)
    return Annotated[annotation | None, option]  # None: not given

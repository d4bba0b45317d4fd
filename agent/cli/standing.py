"""How a run with many instances stands: what its events come to, and what it can be asked for at any moment.

Fed with events (`agent.progress`) and with numbers that the run knows; `View` is all that the live view shows, as plain
values, so that what is shown can be tested without a terminal.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.llm.totals import Totals
from agent.progress import Event

PHASES = {
    "environment": "environment",
    "relevance": "reading",
    "ranking": "drafting",  # told when the ranking is there: the samples begin
    "testing": "drafting",
    "editing": "drafting",
    "matrix": "choosing",
    "selection": "choosing",
}
"""Where an instance is once it has told of a stage; before the first, its environment is prepared."""
RECENT = 60.0
"""Seconds over which calls and executions are counted for their rates."""
LAST = 4
"""Endings that are shown."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a run knows besides its events."""

    totals: Totals = field(default_factory=Totals)
    """All calls of the run, those of earlier processes included."""
    executions: int = 0
    """Executions of this process that have begun."""
    in_flight: int = 0
    bound: int = 0
    """How many calls may be in flight at this moment (`agent.llm.limiter`)."""
    budget: float | None = None
    """Dollars."""
    samples: int = 0
    """Samples of an instance."""
    at_once: int = 1
    """Instances under way at once."""


@dataclass(frozen=True, slots=True)
class View:
    """A moment of a run."""

    title: str
    seconds: float
    """Since this process began."""
    eta: float | None
    """Seconds that are left, by how long instances have taken; None while none has ended."""
    total: int
    earlier: int
    """Instances that ended before this process began."""
    ended: int
    """Those that ended since, the parked ones included."""
    phases: Mapping[str, int]
    """Instances by phase, in order; `waiting` first."""
    patches: int
    causes: Mapping[str, int]
    """Instances that ended without a patch since this process began, by cause (`agent.endings.Cause`)."""
    trajectories: int
    """Under way now."""
    calls_a_second: float
    executions_a_second: float
    numbers: Numbers
    last: tuple[str, ...]
    """The last few endings, the newest last."""


@dataclass(slots=True)
class _Instance:
    began: float
    phase: str = "environment"
    drafts: int = 0
    """Samples that are through."""


class Standing:
    """Takes events as they come."""

    def __init__(self, now: float) -> None:
        """`now`: seconds of any clock that only goes forward; so are all times here."""
        self._began = now
        self._title = "starting"
        self._total = self._earlier = self._patches = self._ended = 0
        self._causes: Counter[str] = Counter()
        self._under_way: dict[str, _Instance] = {}
        self._seconds = 0.0
        self._last: deque[str] = deque(maxlen=LAST)
        self._marks: deque[tuple[float, int, int]] = deque()

    def take(self, event: Event, now: float) -> None:
        """What an event changes; notes change nothing."""
        match event.stage:
            case "started" if not event.instance:
                self._title, self._earlier, self._total = event.text, event.done, event.total
            case "started":
                self._under_way[event.instance] = _Instance(now)
            case "ended":
                self._end(event, now)
            case stage if (phase := PHASES.get(stage)) and (held := self._under_way.get(event.instance)):
                held.phase = phase
                held.drafts += stage == "editing"

    def view(self, numbers: Numbers, now: float) -> View:
        """What there is to show now. Rates are those between the moments at which this was asked for."""
        calls, executions = self._rates(numbers, now)
        counts = Counter(held.phase for held in self._under_way.values())
        waiting = max(0, self._total - self._earlier - self._ended - len(self._under_way))
        return View(
            title=self._title,
            seconds=now - self._began,
            eta=self._eta(waiting, numbers, now),
            total=self._total,
            earlier=self._earlier,
            ended=self._ended,
            phases={"waiting": waiting, **{phase: counts[phase] for phase in dict.fromkeys(PHASES.values())}},
            patches=self._patches,
            causes=dict(self._causes.most_common()),
            trajectories=self._trajectories(numbers.samples),
            calls_a_second=calls,
            executions_a_second=executions,
            numbers=numbers,
            last=tuple(self._last),
        )

    def _end(self, event: Event, now: float) -> None:
        held = self._under_way.pop(event.instance, None)
        self._ended += 1
        self._seconds += now - held.began if held else 0.0
        if event.cause:
            self._causes[event.cause] += 1
        else:
            self._patches += 1
        self._last.append(f"{event.instance} {event.text}")

    def _trajectories(self, samples: int) -> int:
        drafting = sum(max(0, samples - held.drafts) for held in self._under_way.values() if held.phase == "drafting")
        return drafting + sum(held.phase == "choosing" for held in self._under_way.values())

    def _eta(self, waiting: int, numbers: Numbers, now: float) -> float | None:
        """What is left of those under way, and the waiting ones, spread over as many places as there are."""
        if not self._ended:
            return None
        each = self._seconds / self._ended
        left = [max(0.0, each - (now - held.began)) for held in self._under_way.values()]
        return max([(waiting * each + sum(left)) / max(1, numbers.at_once), *left])

    def _rates(self, numbers: Numbers, now: float) -> tuple[float, float]:
        self._marks.append((now, numbers.totals.calls - numbers.totals.unsettled, numbers.executions))
        while len(self._marks) > 2 and now - self._marks[1][0] >= RECENT:  # noqa: PLR2004  the oldest stays until the next is old
            self._marks.popleft()
        then, calls, executions = self._marks[0]
        seconds = now - then
        if not seconds:
            return 0.0, 0.0
        return (self._marks[-1][1] - calls) / seconds, (numbers.executions - executions) / seconds

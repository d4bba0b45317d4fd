"""A report as one HTML file that needs nothing else: no script, no font, no address. The figures are in it as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from agent.files import write_text
from selection.report import Report
from selection.reports.tables import notes, sections


def write_page(place: Path, reports: Sequence[Report], figures: Mapping[str, str]) -> None:
    """Write the page; `figures` are `<svg>` elements by name. Raises StoreError."""
    write_text(place, page(reports, figures, made=datetime.now(UTC)))


def page(reports: Sequence[Report], figures: Mapping[str, str], *, made: datetime) -> str:
    """The text of the page. What runs and repositories are called is text in it, whatever it looks like."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("selection.reports", "pages"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        names=[report.name for report in reports],
        notes=notes(reports),
        sections=sections(reports),
        figures=figures,
        version=version("runoff"),
        made=made.isoformat(timespec="seconds"),
    )

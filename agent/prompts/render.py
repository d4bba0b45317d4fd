"""Renders the prompt templates of this folder.

Text from an issue, a repository or an execution is data: `fence` puts it between tags and neutralizes tags of the
same name inside, so that it cannot end its own fence and pass for instructions.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def fence(text: str, tag: str, **attributes: str) -> str:
    """`text` between `<tag>` lines; closing (and opening) tags of that name in the text lose their bracket."""
    inner = neutralize(text, tag)
    marks = "".join(f' {name}="{_attribute(value)}"' for name, value in attributes.items())
    return f"<{tag}{marks}>\n{inner}{'' if inner.endswith(chr(10)) else chr(10)}</{tag}>"


def neutralize(text: str, tag: str) -> str:
    """`<tag` and `</tag`, in any case and spacing, become `&lt;tag` and `&lt;/tag`."""
    return re.sub(rf"<(\s*/?\s*{re.escape(tag)}\b)", r"&lt;\1", text, flags=re.IGNORECASE)


def _attribute(value: str) -> str:
    return value.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\n", " ")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("agent", "prompts"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  these are prompts, not HTML; untrusted text goes through `fence`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        auto_reload=False,  # else each rendering asks the disk how old the template is
    )
    environment.globals["fence"] = fence
    return environment


def render(template: str, **values: Any) -> str:
    """The text of `template` (a name without `.md.j2`). Raises jinja2.UndefinedError for a missing value."""
    return _templates().get_template(f"{template}.md.j2").render(**values)

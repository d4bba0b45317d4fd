"""Settings are written to the manifest and shown: a secret in one of them is refused before anything is written."""

from __future__ import annotations

from agent.cli.settings import SolveSettings
from agent.instances import Instance
from agent.redaction import of_process
from sandbox.errors import InputError
from sandbox.hostnet import SETUP_SECRETS

_SETUP_HINT = (
    f"put the secret into a variable, name that in {SETUP_SECRETS}, and use it: "
    f"{SETUP_SECRETS}=MY_INDEX runoff solve --setup 'pip install --index-url \"$MY_INDEX\" -e .'"
)
_HINT = "take it out; keys of models belong into ANTHROPIC_API_KEY or OPENAI_API_KEY, git's into a credential helper"


def refuse_secrets(settings: SolveSettings) -> None:
    """Raises InputError, without the secret, for a setting that holds one or what looks like one.

    An issue may quote what looks like a secret; see `refuse_secrets_of_issue`.
    """
    for name, value in settings.model_dump().items():
        if not isinstance(value, str) or name == "issue":
            continue
        if kinds := of_process().kinds_in(value):
            raise InputError(
                f"--{name.replace('_', '-')} is written to files and must not hold a secret ({', '.join(kinds)})",
                where=f"--{name.replace('_', '-')}",
                hint=_SETUP_HINT if name in ("setup", "test_command") else _HINT,
            )


def refuse_secrets_of_issue(instance: Instance) -> None:
    """Raises InputError for an issue that quotes a secret of this process: it would be sent to a model."""
    if names := of_process().names_in(instance.statement):
        raise InputError(
            f"the issue holds the value of {', '.join(names)}", where=instance.id, hint="take it out of the issue's text"
        )

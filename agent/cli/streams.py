"""The last boundary: whatever this process prints, tracebacks and library logs included, goes out without its keys."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from agent.redaction import of_process


class MaskedStream:
    """A text stream that writes everything but known secrets, and is the stream below in all else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without known secrets; the length is that of the text as it was given."""
        self._stream.write(of_process().known(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def mask() -> None:
    """Put masks on standard output and error, for the rest of this process: it may die with a traceback at its very end."""
    sys.stdout, sys.stderr = (
        stream if isinstance(stream, MaskedStream) else MaskedStream(stream) for stream in (sys.stdout, sys.stderr)
    )

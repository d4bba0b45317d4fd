"""Bytes to text and back without loss: a model reads text, a patch must hold the very bytes.

Whatever `decode` chooses, `encode(decode(data))` gives the data again. Python files declare their encoding (PEP 263).
"""

from __future__ import annotations

import codecs
import io
import tokenize
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text, and how to turn text of its kind into bytes."""

    text: str
    encoding: str = "utf-8"
    bom: bytes = b""

    def encode(self, text: str) -> bytes:
        """Bytes of another text in the same encoding. Raises UnicodeEncodeError if it cannot hold the text."""
        return self.bom + text.encode(self.encoding)


def decode(data: bytes, *, python: bool = False) -> Text:
    """Text of a file: the declared encoding, else UTF-8, else Latin-1, which takes any bytes."""
    bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    body = data[len(bom) :]
    for encoding in (*((_declared(data),) if python else ()), "utf-8"):
        try:
            text = body.decode(encoding)
            if text.encode(encoding) == body:
                return Text(text, encoding, bom)
        except (UnicodeError, LookupError):
            continue
    return Text(data.decode("latin-1"), "latin-1")


def _declared(data: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data[:1024]).readline)
    except SyntaxError:  # an unknown encoding, or bytes that are not UTF-8 without a declaration
        return "utf-8"
    return "utf-8" if encoding == "utf-8-sig" else encoding

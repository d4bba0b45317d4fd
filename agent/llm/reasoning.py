"""Takes the reasoning out of a reply where the server did not: it is no part of the answer.

Vendors, and llama.cpp and vLLM with a reasoning parser, send reasoning apart from the text. A server without a parser
sends what the model wrote: `<think>...</think>` before the answer, or the end tag alone where the chat template wrote
the opening one into the prompt. Drafts in there would be read as the reply's own blocks, and every later turn would pay
for them again.
"""

from __future__ import annotations

import re

_THOUGHT = re.compile(r"\A\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)
_END_ALONE = re.compile(r"\A(?:(?!<think>).)*?^</think>[ \t]*$\s*", re.DOTALL | re.MULTILINE)


def without_reasoning(text: str) -> str:
    """The answer that follows the reasoning; empty where the reply was cut while it still reasoned.

    An end tag without its beginning counts only on a line of its own: a reply may well quote it in the midst of one.
    """
    if thought := _THOUGHT.match(text):
        return text[thought.end() :]
    return _END_ALONE.sub("", text, count=1) if "</think>" in text else text

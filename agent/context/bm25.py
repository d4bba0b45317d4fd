"""A cheap sieve in front of the relevance stage: the files whose words are nearest to the issue's, by BM25.

Off by default: the paper reads every file. Words are identifiers and their parts (`HTTPServer_name` gives `httpserver`,
`name`, `http`, `server`, and the whole), of content and path alike. Equal input gives an equal order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from agent.repository import SourceFile

_WORD = re.compile(r"[^\W\d]\w*")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\da-zA-Z_]+")
_PATH_WEIGHT = 5  # a word in the path counts as often as so many in the content
_OTHER = 0  # the id of every word that the issue does not have; it counts for a document's length


def words(text: str) -> Iterator[str]:
    """The words of a text in lower case: each identifier, then its parts if it has several."""
    for match in _WORD.finditer(text):
        identifier = match[0]
        yield identifier.lower()
        if "_" in identifier or not (identifier.islower() or identifier.istitle()):
            for part in identifier.split("_"):
                humps = _HUMP.findall(part)
                if len(humps) > 1 and part != identifier:
                    yield part.lower()
                for hump in humps:
                    if hump != identifier:
                        yield hump.lower()


def nearest(files: Sequence[SourceFile], issue: str, keep: int, *, read: Callable[[str], str]) -> tuple[SourceFile, ...]:
    """The `keep` files with the best score against the issue, in their given order. Ties go by path."""
    import bm25s  # type: ignore[import-untyped]  # it ships no types
    from bm25s.tokenization import Tokenized  # type: ignore[import-untyped]  # the same

    if keep >= len(files):
        return tuple(files)
    query = sorted({word for word in words(issue) if len(word) > 1})
    if not query or not files:
        return tuple(files[:keep])
    vocabulary = {word: number for number, word in enumerate(query, _OTHER + 1)}
    index = bm25s.BM25(method="lucene")
    documents = [_document(file.path, read(file.path), vocabulary) for file in files]
    index.index(Tokenized(ids=documents, vocab={"": _OTHER, **vocabulary}), show_progress=False)
    scores = index.get_scores(query)
    order = sorted(range(len(files)), key=lambda number: (-round(float(scores[number]), 4), files[number].path))
    kept = sorted(order[:keep])
    return tuple(files[number] for number in kept)


def _document(path: str, text: str, vocabulary: dict[str, int]) -> list[int]:
    content = [vocabulary.get(word, _OTHER) for word in words(text)]
    return content + [vocabulary.get(word, _OTHER) for word in words(path)] * _PATH_WEIGHT or [_OTHER]

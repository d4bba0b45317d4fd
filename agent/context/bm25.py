"""A cheap sieve in front of the relevance stage: the files whose words are nearest to the issue's, by BM25.

Off by default: the paper reads every file. Words are identifiers and their parts (`HTTPServer_name` gives `httpserver`,
`name`, `http`, `server`, and the whole), of content and path alike. Equal input gives an equal order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from agent.repository import SourceFile
from sandbox.errors import InputError

_WORD = re.compile(r"[^\W\d]\w*")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\da-zA-Z_]+")
_PATH_WEIGHT = 5  # a word in the path counts as often as so many in the content
_OTHER = 0  # the id of every word that the issue does not have; it counts for a document's length


def keep_from(spec: str) -> int | None:
    """K of `bm25:K`; None for an empty spec, which is no sieve. Raises InputError for anything else."""
    if not spec:
        return None
    found = re.fullmatch(r"bm25:([1-9]\d{0,6})", spec)
    if found is None:
        raise InputError(
            f"unknown prefilter '{spec}'", where="--prefilter", hint="give --prefilter bm25:K, such as bm25:200"
        )
    return int(found[1])


def words(text: str) -> Iterator[str]:
    """The words of a text in lower case: each identifier, then its parts if it has several."""
    for identifier in _WORD.findall(text):
        yield from parts(identifier)


def parts(identifier: str) -> Iterator[str]:
    """An identifier and what it is made of, in lower case."""
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
    if keep >= len(files):
        return tuple(files)
    found = scores(((file.path, read(file.path)) for file in files), issue)
    order = sorted(range(len(files)), key=lambda number: (-found[number], files[number].path))
    return tuple(files[number] for number in sorted(order[:keep]))


def scores(documents: Iterable[tuple[str, str]], issue: str) -> list[float]:
    """How near each document (name, text) is to the issue, to four digits; all 0 for an issue without words."""
    query = sorted({word for word in words(issue) if len(word) > 1})
    vocabulary = {word: number for number, word in enumerate(query, _OTHER + 1)}
    reader = _Documents(vocabulary)
    known = [reader.ids(name, text) for name, text in documents]
    if not query or not known:
        return [0.0] * len(known)
    import bm25s  # type: ignore[import-untyped]  # it ships no types
    from bm25s.tokenization import Tokenized  # type: ignore[import-untyped]  # the same

    index = bm25s.BM25(method="lucene")
    index.index(Tokenized(ids=known, vocab={"": _OTHER, **vocabulary}), show_progress=False)
    return [round(float(score), 4) for score in index.get_scores(query)]


class _Documents:
    """Files as word ids. Each identifier is taken apart once, however often the repository has it."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        self._vocabulary = vocabulary
        self._known: dict[str, tuple[int, ...]] = {}

    def ids(self, path: str, text: str) -> list[int]:
        """The ids of a file's words, those of its path weighted."""
        named = list(chain.from_iterable(map(self._of, _WORD.findall(path)))) * _PATH_WEIGHT
        return [*chain.from_iterable(map(self._of, _WORD.findall(text))), *named] or [_OTHER]

    def _of(self, identifier: str) -> tuple[int, ...]:
        found = self._known.get(identifier)
        if found is None:
            found = tuple(self._vocabulary.get(word, _OTHER) for word in parts(identifier))
            self._known[identifier] = found
        return found

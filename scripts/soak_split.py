"""Rows, clones and what a model says to them, for `scripts/soak_batch.py`.

Every issue names a function, its file, the line that is wrong and what it should be, so that a server which has read
nothing but the prompt can answer like a model: what it says follows from the conversation and the call's seed alone.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path

OWNERS = ("acme", "umbrella", "initech", "globex")
MODULES = 3
STAGES = {
    "relevance": "say whether that person needs it",
    "ranking": "Put the files in order",
    "selection": "You are the judge",
    "editing": "Solve the issue above",
    "testing": "shows whether the issue above is solved",
}
"""What the prompt of each stage says."""
_FUNCTION = '''def {name}(value):
    """The {word} of `value`, as the {other} table of section {number} has it; negative values count from its end."""
    offset = {number} * len("{word}")
    return value + offset + {number}


'''
_WORDS = ("margin", "ledger", "quota", "window", "stride", "anchor", "weight", "parcel", "beacon", "thread")
_FACTS = re.compile(r"Report (\d+): `(\w+)` of `([\w/.]+)`.*?`(return [^`]+)`", re.DOTALL)


def make_split(folder: Path, instances: int, prompt_bytes: int, seed: int = 0) -> Path:
    """Clones below `folder/clones` and so many rows over them; gives the file of rows.

    An issue and all files of its repository together have about `prompt_bytes`.
    """
    functions = max(4, (prompt_bytes - 3000) // MODULES // len(_function("module0", 99)))
    commits = {owner: _make_clone(folder / "clones" / f"{owner}__tables", owner, functions) for owner in OWNERS}
    chance = random.Random(seed)
    rows = []
    for number in range(instances):
        owner = OWNERS[number % len(OWNERS)]
        rows.append(
            {
                "instance_id": f"{owner}__tables-{number}",
                "repo": f"{owner}/tables",
                "base_commit": commits[owner],
                "problem_statement": _issue(number, chance.randrange(MODULES), chance.randrange(functions)),
                "version": "1.0",
            }
        )
    place = folder / "rows.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def stage_of(messages: list[str]) -> str:
    """Which stage a conversation belongs to. Raises StopIteration for none."""
    said = "".join(messages[:2])
    return next(stage for stage, words in STAGES.items() if words in said)


def issue_of(messages: list[str]) -> int:
    """The number of the issue that a conversation is about."""
    found = _FACTS.search("".join(messages[:2]))
    if found is None:
        raise ValueError("a prompt without its issue")
    return int(found[1])


def reply(stage: str, messages: list[str], turn: int, seed: int) -> str:
    """What is said in this turn (1 is the first)."""
    chance = random.Random(seed)
    found = _FACTS.search("".join(messages[:2]))
    if found is None:
        raise ValueError("a prompt without its issue")
    _, function, path, line = found.groups()
    thoughts = " ".join(chance.choice(_WORDS) for _ in range(120)) + "\n"
    match stage:
        case "relevance":
            return f"{thoughts}RELEVANCE: Relevant\nSUMMARY: holds tables of {chance.choice(_WORDS)}s"
        case "ranking":
            return thoughts + json.dumps(sorted(set(re.findall(r"^(\S+) \(\d+ tokens\):", messages[-1], re.MULTILINE))))
        case "testing":
            return thoughts + ("<done>" if turn > 1 and chance.randrange(20) else _script(path, function, chance))
        case "editing":
            return thoughts + ("<done>" if turn > 1 and chance.randrange(10) else _edit(path, line, chance))
        case _:
            return thoughts + (_script(path, function, chance, "script") if turn == 1 else "<choose>1</choose>")


def _script(path: str, function: str, chance: random.Random, tag: str = "test") -> str:
    module = path.removesuffix(".py").replace("/", ".")
    value = chance.choice((3, 5, 8))
    return f"<{tag}>\nimport sys\nfrom {module} import {function}\nsys.exit(0 if {function}({value}) < 0 else 2)\n</{tag}>"


def _edit(path: str, line: str, chance: random.Random) -> str:
    other = chance.choice((line.replace("+", "-", 1), line.replace("+", "-"), f"{line} - {chance.randrange(3)}"))
    return f"<edit>\n<<<<<<< SEARCH {path}\n    {line}\n=======\n    {other}\n>>>>>>> REPLACE\n</edit>"


def _issue(number: int, module: int, function: int) -> str:
    name = f"module{module}_f{function}"
    trace = "\n".join(f'  File "tables/caller{depth}.py", line {depth * 7 + number}, in call' for depth in range(20))
    return (
        f"{name} is wrong\n\nReport {number}: `{name}` of `tables/module{module}.py` ends with"
        f" `return value + offset + {function}`, which has the wrong sign.\n\n{trace}\nAssertionError\n"
    )


def _function(module: str, number: int) -> str:
    word, other = _WORDS[number % len(_WORDS)], _WORDS[(number * 3 + 1) % len(_WORDS)]
    return _FUNCTION.format(name=f"{module}_f{number}", word=word, other=other, number=number)


def _make_clone(folder: Path, owner: str, functions: int) -> str:
    texts = {
        f"tables/module{at}.py": "".join(_function(f"module{at}", n) for n in range(functions)) for at in range(MODULES)
    }
    for path, text in {**texts, "README.md": f"# tables of {owner}\n"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "gc.auto=0"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

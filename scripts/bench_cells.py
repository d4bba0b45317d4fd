"""What `bench_sandbox` measures: a real Django tree, and the matrix of executions on it with the exit codes it must have.

The patches of each round are new ones, as an issue's matrix is executed once: nothing that a way keeps of a patch helps it
in the next round.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.api import Patch, Script

DJANGO = "Django==5.1.4"
SETUP = "pip install -q asgiref sqlparse"
MODULE = "django/utils/text.py"
SHARED = "/dev/shm/runoff-left"
IDENTITY = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "init.defaultBranch=main")
DATE = "2024-12-04T00:00:00Z"
"""Of the only commit, so that the tree's environments are found in the cache again."""
HEAD = f"""\
import os, sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    TEMPLATES=[{{"BACKEND": "django.template.backends.django.DjangoTemplates"}}], ROOT_URLCONF="__main__", USE_TZ=True,
)
django.setup()
urlpatterns = []
if os.path.exists("left") or os.path.exists("{SHARED}"):
    sys.exit(1)
"""
POLLUTION = f"""\
from django.utils import text
with open(text.__file__, "a") as module:
    module.write("\\n\\ndef candidate():\\n    return 99\\n")
for path in ("left", "{SHARED}"):
    open(path, "w").close()
"""
"""Leaves behind what it can. It ends as the others do, since the module is loaded before it is rewritten."""
WORK = (
    "from django.template import Context, Template\nassert Template('{{ a|upper }}').render(Context({'a': 'x'})) == 'X'",
    POLLUTION,
    "from django import forms\nassert forms.IntegerField().clean('7') == 7",
    "from django.core.management import call_command\ncall_command('migrate', verbosity=0)",
    "from django.test import RequestFactory\nassert RequestFactory().get('/a').path == '/a'",
    "from django.utils.dateparse import parse_date\nassert parse_date('2024-02-3x') is None",
    "from django.contrib.auth.models import User\nassert str(User(username='u')) == 'u'",
    "from django.db.models import Q\nassert Q(a=1) | Q(b=2) != Q(a=1)",
    "from django.core.paginator import Paginator\nassert Paginator(range(95), 10).num_pages == 10",
    "from django.utils.html import escape\nassert escape('<') == '&lt;'",
)
TAIL = "\nfrom django.utils import text\nsys.exit(0 if getattr(text, 'candidate', lambda: -1)() >= {number} else 2)\n"


@dataclass(frozen=True, slots=True)
class Cell:
    """One execution and the exit code that it must have."""

    patch: Patch | None
    script: Script
    pollutes: bool
    expected: int


def git(directory: Path, *arguments: str, stdin: str = "") -> str:
    """What git prints."""
    command = ["git", "-C", str(directory), *IDENTITY, *arguments]
    environment = {**os.environ, "GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
    return subprocess.run(command, check=True, input=stdin, capture_output=True, text=True, env=environment).stdout


def make_tree(place: Path) -> Path:
    """Django's source as published, in a git repository with one commit."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:", "-d", str(place), DJANGO]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    tree = place / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xzf", next(place.glob("*.tar.gz")), "-C", tree, "--strip-components=1"], check=True)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", DJANGO)
    return tree


def make_cells(tree: Path, patches: int, scripts: int, turn: int) -> list[Cell]:
    """Row by row, the unpatched tree first. Patch p lets the scripts up to p pass, and no other; each `turn` has its own."""
    module = tree / MODULE
    original = module.read_text()
    diffs = []
    for number in range(patches):
        module.write_text(f"{original}\n\ndef candidate():\n    return {number}  # {turn}\n")
        diffs.append(git(tree, "diff"))
    module.write_text(original)
    texts = [Script(HEAD + WORK[number % len(WORK)] + TAIL.format(number=number)) for number in range(scripts)]
    rows: list[Patch | None] = [None, *map(Patch, diffs)]
    return [
        Cell(patch, script, WORK[number % len(WORK)] == POLLUTION, 0 if patch is not None and row - 1 >= number else 2)
        for row, patch in enumerate(rows)
        for number, script in enumerate(texts)
    ]

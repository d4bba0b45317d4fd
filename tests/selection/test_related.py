"""The choice of tests: by imports, names and symbols, from the tree and the candidates alone."""

from __future__ import annotations

from itertools import permutations

import pytest

from sandbox.api import Patch
from selection.candidates import Candidate, gather
from selection.suites.related import imports, is_test, python_files, related, touched
from tests.selection.diffs import diff

TILL = "def total(prices):\n    return 0\n\n\ndef count(prices):\n    return len(prices)\n"
CASE = "def test_it():\n    pass\n"
FILES = {
    "shop/__init__.py": "from .till import total\n",
    "shop/till.py": TILL,
    "shop/door.py": "def open_it():\n    return 1\n",
    "shop/desk.py": "from shop import till\n",
    "tests/conftest.py": "from shop.till import total\n" + CASE,
    "tests/test_desk.py": "import shop.desk\n\n\n" + CASE,
    "tests/test_door.py": "from shop.door import open_it\n\n\n" + CASE,
    "tests/test_sums.py": "from shop.till import (\n    count,\n    total,\n)\n\n\ndef test_total():\n    assert total([]) == 0\n",
    "tests/test_till.py": "import shop\n\n\n" + CASE,
    "tests/other/test_none.py": CASE,
}


def candidates(*patches: Patch) -> tuple[Candidate, ...]:
    return gather([(f"m{number}", patch) for number, patch in enumerate(patches)])[0]


def change(old: str, new: str, path: str = "shop/till.py") -> Patch:
    return Patch(diff(FILES[path], FILES[path].replace(old, new), path))


SUM = change("return 0", "return sum(prices)")


def test_closest_tests_come_first():
    found = [one.path for one in related(touched(candidates(SUM), FILES), FILES)]
    assert set(found[:2]) == {"tests/test_sums.py", "tests/test_till.py"}
    assert found[2] == "tests/test_desk.py"
    assert "tests/other/test_none.py" not in found
    assert "tests/conftest.py" not in found


def test_touched_functions_are_those_around_the_changed_lines():
    both = candidates(SUM, change("return len(prices)", "return 1"), change("return 1", "return 2", "shop/door.py"))
    found = touched(both, FILES)
    third = pytest.approx(1 / 3)
    assert found == {
        "shop/till.py": {"": pytest.approx(2 / 3), "total": third, "count": third},
        "shop/door.py": {"": third, "open_it": third},
    }


def test_what_candidates_change_in_tests_and_documents_does_not_count():
    noise = Patch(SUM.diff + diff("a\n", "b\n", "tests/test_door.py") + diff("a\n", "b\n", "README.md"))
    assert touched(candidates(noise), FILES) == touched(candidates(SUM), FILES)


def test_order_of_candidates_and_files_has_no_influence():
    patches = (SUM, change("return len(prices)", "return 1"), change("return 1", "return 2", "shop/door.py"))
    orders = {
        tuple(related(touched(candidates(*order), FILES), dict(reversed(FILES.items())))) for order in permutations(patches)
    }
    assert orders == {tuple(related(touched(candidates(*patches), FILES), FILES))}


def test_file_that_does_not_parse_is_known_by_its_path():
    assert touched(candidates(SUM), {**FILES, "shop/till.py": "def ("}) == {"shop/till.py": {"": 1.0}}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import a.b, c as d\n", {"a.b", "c"}),
        ("from a import b as c, d  # e\n", {"a", "a.b", "a.d"}),
        ("from a import (\n    b,\n    c,\n)\n", {"a", "a.b", "a.c"}),
        ("    from .near import it\n", {"shop.inner.near", "shop.inner.near.it"}),
        ("from .. import far\n", {"shop", "shop.far"}),
        ("x = 'import nothing'\n", set()),
    ],
)
def test_names_that_a_file_imports(text, names):
    assert imports("src/shop/inner/mod.py", text) == names


def test_files_that_hold_tests():
    found = [path for path, text in FILES.items() if is_test(path, text)]
    assert found == [path for path in FILES if path.rpartition("/")[2].startswith("test_")]
    assert not is_test("shop/till.py", CASE)
    assert not is_test("tests/test_data.py", "ROWS = []\n")
    assert python_files(["b.py", "a.py", "c.txt"]) == ["a.py", "b.py"]

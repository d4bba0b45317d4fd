"""`runoff solve` without `--setup`: what it finds is told, used, recorded, and used again when the run is taken up."""

import json
import sys

import pytest

BACKEND = """import base64, hashlib, os, zipfile
NAME = "texttools-1.0.dist-info"
def get_requires_for_build_editable(config_settings=None):
    return []
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    files = {"texttools.pth": os.getcwd(), f"{NAME}/METADATA": "Metadata-Version: 2.1\\nName: texttools\\nVersion: 1.0\\nProvides-Extra: test\\n%s",
             f"{NAME}/WHEEL": "Wheel-Version: 1.0\\nGenerator: us\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
    with zipfile.ZipFile(os.path.join(wheel_directory, "texttools-1.0-py3-none-any.whl"), "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{NAME}/RECORD", "".join(f"{name},,\\n" for name in [*files, f"{NAME}/RECORD"]))
    return "texttools-1.0-py3-none-any.whl"
"""
PYPROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "texttools"
version = "1.0"
requires-python = ">=3.8"
[project.optional-dependencies]
test = {extra}
"""
TESTS = """import unittest

from texttools import slug


class SlugTest(unittest.TestCase):
    def test_words(self):
        self.assertEqual(slug("A b"), "a-b")

    def test_what_never_held(self):
        self.assertEqual(slug("A"), "b")
"""
GONE = "gone @ file:///nowhere/gone-1.0-py3-none-any.whl"


@pytest.fixture
def packaged(repository, git):
    """`packaged(requirements of the extra)`: texttools with packaging of its own that needs no network."""

    def package(*needed):
        wheel = "".join(f"Requires-Dist: {need} ; extra == 'test'\\n" for need in needed)
        (repository / "backend.py").write_text(BACKEND % wheel)
        (repository / "pyproject.toml").write_text(PYPROJECT.format(extra=json.dumps(needed)))
        (repository / "tests/test_slug.py").write_text(TESTS)
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", "Package it")
        return repository

    return package


@pytest.fixture
def guessing(solve_arguments):
    """The arguments without set-up and test command."""
    cut = solve_arguments.index("--setup")
    return [*solve_arguments[:cut], *solve_arguments[cut + 4 :]]


def recorded(runoff):
    return json.loads((runoff.folder / "runs/first" / runoff.instances()[0] / "instance.json").read_text())


def test_an_extra_is_found_told_used_and_recorded(runoff, packaged, guessing):
    packaged()
    code, _, err = runoff(*guessing)
    assert code == 0, err
    assert (
        "set-up: pip install -e '.[test]'   from [project.optional-dependencies] test in pyproject.toml; another: --setup"
        in err
    )
    assert "test command: python -m unittest discover -s tests   from tests/test_slug.py uses unittest" in err
    assert "the test command exits 1 on the unpatched tree: 2 tests, failures=1" in err
    held = recorded(runoff)
    assert held["environment"]["setup"] == held["found"]["setup"]["value"] == "pip install -e '.[test]'"
    assert held["found"]["test"]["evidence"] == "tests/test_slug.py uses unittest"


def test_a_first_candidate_that_fails_falls_to_the_second(runoff, packaged, guessing):
    packaged(GONE)
    code, _, err = runoff(*guessing)
    assert code == 0, err
    first = err.index("set-up: pip install -e '.[test]'")
    why = err.index("that set-up will not do: the set-up command failed with exit code 1: ERROR:")
    assert first < why < err.index("set-up: pip install -e .   from pyproject.toml")
    assert "1 more to try" in err[why:]
    assert recorded(runoff)["environment"]["setup"] == "pip install -e ."


def test_where_no_candidate_works_the_log_and_the_flag_are_named(runoff, packaged, git, guessing):
    folder = packaged()
    (folder / "backend.py").write_text("raise SystemExit('this backend is broken')\n")
    git(folder, "commit", "-qam", "Break it")
    code, _, err = runoff(*guessing)
    assert code == 2
    assert "set-ups that were found works" in err
    assert "this backend is broken" in err
    assert "--setup 'COMMAND'" in err
    assert runoff.instances() == []


def test_flags_override_what_was_found_each_by_itself(runoff, packaged, guessing):
    packaged(GONE)
    code, _, err = runoff(*guessing, "--setup", "")
    assert code == 0, err
    assert "set-up:" not in err
    assert "2 tests, failures=1" in err
    assert recorded(runoff)["environment"]["setup"] == ""
    code, _, err = runoff(*guessing, "--run", "second", "--test-command", "none", "--setup", "true")
    assert code == 0, err
    assert "found" not in json.loads(next((runoff.folder / "runs/second").glob("*/instance.json")).read_text())
    assert "unittest" not in err


def test_resuming_and_solving_again_guess_nothing_anew(runoff, packaged, guessing, person, wait_until):
    packaged(GONE)
    person.held.add("editing")
    process = runoff.start(*guessing)
    wait_until(lambda: "editing" in person.open())
    process.kill()
    process.communicate()
    before = recorded(runoff)
    person.held.clear()
    code, _, err = runoff("resume", "first")
    assert code == 0, err
    assert "set-up:" not in err
    assert "unittest" not in err
    assert recorded(runoff) == before
    code, _, err = runoff(*guessing)
    assert code == 0, err
    assert "set-up:" not in err
    assert recorded(runoff) == before


def test_dry_run_and_settings_show_what_was_found(runoff, packaged, guessing):
    packaged(GONE)
    for flag in ("--dry-run", "--show-settings"):
        code, out, err = runoff(*guessing, flag)
        assert code == 0, err
        assert "set-up: pip install -e '.[test]'   from [project.optional-dependencies] test in pyproject.toml" in out
        assert "  else: pip install -e .   from pyproject.toml" in out
        assert "Python: >=3.8 (requires-python in pyproject.toml)" in out
    _, out, _ = runoff(*guessing, "--dry-run", "--json")
    assert json.loads(out)["environment"]["setups"][1]["value"] == "pip install -e ."


def test_an_interpreter_outside_of_the_range_is_told(runoff, packaged, git, guessing):
    folder = packaged()
    text = (folder / "pyproject.toml").read_text().replace(">=3.8", "<3.8")
    (folder / "pyproject.toml").write_text(text)
    git(folder, "commit", "-qam", "Be old")
    code, _, err = runoff(*guessing)
    version = ".".join(map(str, sys.version_info[:3]))
    assert code == 0, err  # the backend of this test does not hand the range on to pip
    assert f"the repository needs Python <3.8 (requires-python in pyproject.toml), this is {version}" in err
    assert "--python" in err
    assert "--image" in err


@pytest.fixture
def dataset(tmp_path, repository, git):
    """`dataset(specs)`: arguments for an instance with install specs."""

    def write(specs, version="1.0"):
        commit = git(repository, "rev-parse", "HEAD").strip()
        row = {
            "instance_id": "shop__texttools-1",
            "repo": "shop/texttools",
            "base_commit": commit,
            "problem_statement": "slug doubles dashes",
            "version": version,
        }
        (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
        (tmp_path / "specs.json").write_text(json.dumps(specs))
        return [
            "--instance",
            row["instance_id"],
            "--dataset",
            tmp_path / "rows.jsonl",
            "--install-specs",
            tmp_path / "specs.json",
        ]

    return write


@pytest.fixture
def with_dataset(guessing):
    """The arguments with an instance in place of the issue."""
    at = guessing.index("--issue")
    return lambda instance: [*guessing[:at], *guessing[at + 2 :], *instance]


def test_install_specs_make_the_environment_of_an_instance(runoff, packaged, dataset, with_dataset):
    packaged()
    spec = {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "install": "python -m pip install -e .",
        "pre_install": ["apt-get update && apt-get install -y graphviz", "touch made-by-pre-install"],
        "eval_commands": ["export LANGUAGE=en", "ulimit -n 10"],
        "test_cmd": "test -e made-by-pre-install && python -m unittest discover -s tests",
    }
    code, _, err = runoff(*with_dataset(dataset({"shop/texttools": {"1.0": spec}})))
    assert code == 0, err
    assert "dropped, a package manager of the system is not used: apt-get update && apt-get install -y graphviz" in err
    assert "dropped, only plain variables are set before the tests: ulimit -n 10" in err
    assert "the test command exits 1 on the unpatched tree: 2 tests, failures=1" in err
    held = recorded(runoff)
    assert held["environment"]["variables"] == {"LANGUAGE": "en"}
    assert held["environment"]["setup"] == "touch made-by-pre-install\npython -m pip install -e ."
    assert held["found"]["setup"]["evidence"].startswith("shop/texttools 1.0 in ")


def test_a_version_that_has_no_spec_is_refused_with_those_that_have(runoff, packaged, dataset, with_dataset):
    packaged()
    code, _, err = runoff(*with_dataset(dataset({"shop/texttools": {"0.9": {}, "2.0": {}}})))
    assert code == 2
    assert "no spec for shop/texttools 1.0" in err
    assert "versions of shop/texttools there: 0.9, 2.0" in err

"""`runoff images ls` and `prune` on environments of the local sandbox: no engine is needed, and one does no harm."""

import json
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


@pytest.fixture
def cache(tmp_path, runoff):
    """A cache of the test's own, in which nothing is."""
    runoff.environment["RUNOFF_CACHE_DIR"] = str(tmp_path / "cache")
    return tmp_path / "cache"


def listed(runoff, *arguments, **environment):
    code, out, err = runoff("images", "ls", "--json", *arguments, **environment)
    assert code == 0, err
    return [each for each in json.loads(out) if each["backend"] == "local"]


@pytest.mark.timeout(180)
def test_environment_of_a_run(runoff, start, cache, repository, git, solve_arguments, person, wait_until):
    """While a process works it stays; while the run is unfinished it stays, but for --all; then it goes."""
    git(repository, "remote", "add", "origin", "https://example.org/shop/texttools.git")
    person.held.add("editing")
    process = start(*solve_arguments)
    wait_until(lambda: "editing" in person.open(), 100)
    every = ["images", "prune", "--all"]
    code, out, err = runoff(*every, RUNOFF_RUNS="elsewhere", **NO_ENGINE)
    assert (code, "kept 1: a process uses it" in out) == (0, True)
    assert re.fullmatch("no engine answers .*: only environments of the local sandbox are looked at\n", err)
    process.kill()
    process.communicate()
    [held] = listed(runoff, "--project", "shop/texttools", **NO_ENGINE)
    assert (held["kind"], held["project"], held["processes"]) == ("environment", "shop/texttools", 0)
    assert held["base_commit"] == git(repository, "rev-parse", "HEAD").strip()
    assert [need["run"] for need in held["needed_by"]] == ["first"]
    assert Path(held["id"]).is_relative_to(cache)
    code, out, _ = runoff("images", "prune", "--older-than", "0m", **NO_ENGINE)
    assert (code, "kept 1: an unfinished run needs it" in out) == (0, True)
    assert Path(held["id"]).is_dir()
    code, out, _ = runoff(*every, "--json", **NO_ENGINE)
    report = json.loads(out)
    assert code == 0
    assert [(each["id"], each["backend"]) for each in report["images"]] == [(held["id"], "local")]
    assert report["freed_bytes"] >= held["own_bytes"] > 1_000_000
    assert list((cache / "environments").iterdir()) == []
    code, out, _ = runoff("images", "ls", **NO_ENGINE)
    assert (code, "0 images, 0 local environments" in out) == (0, True)


@pytest.mark.docker
@pytest.mark.timeout(180)
def test_machine_with_both(runoff, start, cache, repository, git, solve_arguments, wait_until):
    """With an engine the local ones are listed beside the images; a build that was killed leaves nothing."""
    project = "runoff-test/both"
    git(repository, "remote", "add", "origin", f"https://example.org/{project}.git")
    chosen = solve_arguments[: solve_arguments.index("--setup")]
    process = start(*chosen, "--setup", "touch going; sleep 600", "--test-command", "none")
    wait_until(lambda: list(cache.glob("environments/.*/tree/going")))
    assert "its build was killed" not in runoff("images", "prune", "--dry-run")[1]
    process.kill()
    process.communicate()
    code, out, err = runoff("images", "prune", "--dry-run")
    assert (code, err) == (0, "")
    assert out.count("its build was killed") == 1
    [draft] = (cache / "environments").iterdir()
    subprocess.run(["chmod", "500", draft / "tree"], check=True)
    assert runoff("images", "prune", "--older-than", "3650d", **NO_ENGINE)[0] == 0  # an engine shows others' leftovers too
    assert list((cache / "environments").iterdir()) == []

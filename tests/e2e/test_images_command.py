"""`runoff images` against a real engine and a real registry."""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import socketserver
import subprocess
import threading
from contextlib import contextmanager

import docker
import pytest

from sandbox import images

pytestmark = [pytest.mark.docker, pytest.mark.slow]
NO_ENGINE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def rows(tmp_path):
    """`rows(image, ...)`: a data set whose instances name these images."""

    def write(*names, **columns):
        base = {"repo": "shop/tiny", "base_commit": "a" * 40, "problem_statement": "it is slow", **columns}
        lines = [{"instance_id": f"shop__tiny-{number}", **base, "image": name} for number, name in enumerate(names, 1)]
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


@pytest.fixture
def project(repository, git):
    """texttools under a name that no other test has; what is built for it is removed in the end."""
    name = f"runoff-test/{secrets.token_hex(6)}"
    git(repository, "remote", "add", "origin", f"https://example.org/{name}.git")
    yield name
    client = docker.from_env()
    for image in client.images.list(filters={"label": f"runoff.project={name}"}):
        for container in client.containers.list(all=True, filters={"ancestor": image.id}):
            container.remove(force=True)
        client.images.remove(image.id, force=True)
    client.close()


def listed(runoff, *arguments):
    code, out, err = runoff("images", "ls", "--json", *arguments)
    assert code == 0, err
    return json.loads(out)


def test_pull_brings_each_image_once(runoff, registry, rows):
    names = [registry.push(letter) for letter in "abc"]
    source = rows(*names, names[0])
    code, out, err = runoff("images", "pull", "--dataset", source, "--instances", "shop__tiny-[12]", "--workers", 2)
    assert code == 0, err
    assert out == "2 of 2 images are here\n"
    assert "pulled" in err
    assert "2/2" in err
    assert [registry.here(name) for name in names] == [True, True, False]
    code, out, err = runoff("images", "pull", "--dataset", source, "--instances", "*")
    assert (code, out) == (0, "3 of 3 images are here\n")
    assert err.count("is here already") == 2
    held = {each["names"][0]: each for each in listed(runoff) if each["kind"] == "pulled"}
    assert set(names) <= set(held)


def test_pull_names_what_failed_and_goes_on(runoff, registry, rows):
    name = registry.push("there")
    code, out, err = runoff(
        "images", "pull", "--dataset", rows(registry.name("absent"), name), "--instances", "*", "--workers", 1
    )
    assert code == 2
    assert out == "1 of 2 images are here, 1 failed\n"
    assert f"where: {registry.name('absent')}" in err
    assert registry.here(name)


def test_interrupted_pull_goes_on(runoff, start, registry, rows, wait_until):
    first, second = registry.push("first"), registry.push("second")
    assert runoff("images", "pull", "--dataset", rows(first, second), "--instances", "shop__tiny-1")[0] == 0
    registry.network.open.clear()
    process = start("images", "pull", "--dataset", rows(first, second), "--instances", "*")
    wait_until(registry.network.waiting.is_set)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "go on with: the same command" in err
    registry.network.open.set()
    code, out, err = runoff("images", "pull", "--dataset", rows(first, second), "--instances", "*")
    assert (code, out) == (0, "2 of 2 images are here\n")
    assert err.count("is here already") == 1


def test_pull_stops_before_the_disk_is_full(runoff, registry, rows):
    names = [registry.push(letter) for letter in "ab"]
    arguments = ["images", "pull", "--dataset", rows(*names), "--instances", "*", "--workers", 1]
    for extra, environment in ((["--keep-free", "1000000"], {}), ([], {"RUNOFF_KEEP_FREE": "1000000"})):
        code, out, err = runoff(*arguments, *extra, **environment)
        assert code == 4
        assert out == "0 of 2 images are here, 2 failed\n"
        assert "the disk is almost full" in err
        assert "next: runoff images prune --dry-run" in err
    assert not any(map(registry.here, names))


def test_pull_as_json(runoff, registry, rows):
    code, out, _ = runoff("images", "pull", "--dataset", rows(registry.push("a")), "--instances", "shop__tiny-1", "--json")
    assert code == 0
    last = json.loads(out.splitlines()[-1])
    assert last == {"event": "result", "ready": 1, "total": 1, "failed": []}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pull"], "no data set is named"),
        (["pull", "--dataset", "ROWS"], "no instances are chosen"),
        (["pull", "--dataset", "ROWS", "--instances", "shop__tinny-1"], "near it: shop__tiny-1"),
        (["pull", "--dataset", "ROWS", "--instances", "django*"], "no instance fits 'django*'"),
        (["build"], "no repository is named"),
        (["build", "--repo", ".", "--instances", "a"], "--instances are those of a data set"),
        (["prune", "--older-than", "long"], "is no age"),
    ],
)
def test_bad_input_starts_nothing(runoff, rows, arguments, says):
    source = str(rows("127.0.0.1:9/none"))
    code, _, err = runoff("images", *(source if word == "ROWS" else word for word in arguments))
    assert code == 2, err
    assert says in err
    assert "next:" in err


def test_solve_finds_what_was_built(runoff, repository, project, solve_arguments):
    """The same repository, the same options: solve does not build. Then nothing needs it, and pruning takes it away."""
    options = ["--setup", "echo made > /opt/env/made", "--test-command", "none"]
    code, out, err = runoff("images", "build", "--repo", repository, *options)
    assert (code, out) == (0, "1 of 1 environments are built\n"), err
    [held] = listed(runoff, "--project", project)
    assert held["kind"] == "environment"
    assert held["instance"] == ""
    assert held["made_from"] == images.BASE
    assert held["needed_by"] == []
    labels = docker_labels(held["id"])
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True).stdout
    assert (labels["runoff.project"], labels["runoff.commit"]) == (project, commit.strip())
    assert labels["runoff.key"] == held["key"]
    assert labels["runoff.version"]
    chosen = solve_arguments[: solve_arguments.index("--sandbox")]
    code, _, err = runoff(*chosen, "--sandbox", "docker", *options, "--run", "first", timeout=110)
    assert code == 0, err
    assert f"environment {held['names'][0]} is cached" in err
    assert "building" not in err
    assert "would remove" not in runoff("images", "prune", "--project", project, "--dry-run")[1]
    prune = ["images", "prune", "--project", project, "--older-than", "0m"]
    code, out, _ = runoff(*prune, "--dry-run")
    assert (code, f"would remove {held['names'][0]}" in out) == (0, True)
    assert listed(runoff, "--project", project)
    code, out, _ = runoff(*prune, "--json")
    report = json.loads(out)
    assert (code, [each["id"] for each in report["images"]]) == (0, [held["id"]])
    assert report["freed_bytes"] > 0
    assert listed(runoff, "--project", project) == []


def docker_labels(image):
    client = docker.from_env()
    try:
        return client.images.get(image).labels
    finally:
        client.close()


def test_unfinished_run_keeps_its_image(runoff, start, repository, project, solve_arguments, person, wait_until):
    # A set-up of its own: an environment is cached by content, and one that another test has built bears that test's labels.
    options = ["--setup", "echo kept > /opt/env/kept", "--test-command", "none", "--sandbox", "docker", "--run", "first"]
    person.held.add("editing")
    process = start(*solve_arguments[: solve_arguments.index("--sandbox")], *options)
    wait_until(lambda: "editing" in person.open())
    every = ["images", "prune", "--project", project, "--all"]
    code, out, err = runoff(*every)
    assert code == 0, err
    assert re.search("an unfinished run needs it|a container uses it", out), "a living run keeps its image whatever is asked"
    process.kill()
    process.communicate()
    assert runoff("images", "prune", "--containers")[0] == 0  # a container of the pool outlives its owner by a moment
    [held] = listed(runoff, "--project", project)
    assert [need["run"] for need in held["needed_by"]] == ["first"]
    assert "an unfinished run needs it" in runoff("images", "prune", "--project", project, "--older-than", "0m")[1]
    assert "would remove runoff/env" in runoff(*every, "--dry-run", RUNOFF_RUNS="elsewhere")[1], (
        "runs elsewhere are not seen"
    )
    assert listed(runoff, "--project", project)
    runoff(*every)
    assert listed(runoff, "--project", project) == []


def test_failed_build_is_named_with_its_log_and_the_others_go_on(runoff, repository, project, git, tmp_path):
    commit = git(repository, "rev-parse", "HEAD").strip()
    rows = [
        {"instance_id": f"shop__texttools-{number}", "repo": project, "base_commit": commit,
         "problem_statement": "slug doubles dashes", "version": f"{number}.0"}
        for number in (1, 2)
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    specs = {project: {"1.0": {"install": "echo the last words; exit 7"}, "2.0": {"install": "true", "test_cmd": "true"}}}
    (tmp_path / "specs.json").write_text(json.dumps(specs))
    arguments = ["--dataset", tmp_path / "rows.jsonl", "--instances", "*", "--install-specs", tmp_path / "specs.json"]
    code, out, err = runoff("images", "build", *arguments, "--repo", repository, "--workers", 2)
    assert code == 2, err
    assert out == "1 of 2 environments are built, 1 failed\n"
    assert "exit code 7" in err
    assert "the last words" in err
    assert err.index("\nshop__texttools-1\n") < err.index("error:")
    [held] = listed(runoff, "--project", project)
    assert held["instance"] == "shop__texttools-2"
    again = runoff("images", "build", *arguments, "--repo", repository, "--instances", "shop__texttools-2")
    assert again[0] == 0
    assert "is cached" in again[2]


def test_killed_build_leaves_nothing_that_prune_does_not_find(runoff, start, repository, project, wait_until):
    client = docker.from_env()
    for _ in range(5):  # the start of another test's command may remove it first
        process = start("images", "build", "--repo", repository, "--setup", "echo on; sleep 600", "--test-command", "none")
        pid = {"label": f"runoff.pid={process.pid}"}
        wait_until(lambda pid=pid: client.containers.list(filters=pid))
        process.kill()
        process.communicate()
        code, out, _ = runoff("images", "prune", "--containers", "--dry-run")
        assert code == 0
        if "would remove container" in out:
            break
    else:
        pytest.fail("prune never saw what a killed build leaves")
    code, out, _ = runoff("images", "prune", "--containers", "--json")
    assert (code, json.loads(out)["images"]) == (0, [])
    assert client.containers.list(all=True, filters=pid) == []
    client.close()


def test_interrupted_build_leaves_nothing(runoff, start, repository, project, wait_until):
    process = start("images", "build", "--repo", repository, "--setup", "echo on; sleep 600", "--test-command", "none")
    client = docker.from_env()
    pid = {"label": f"runoff.pid={process.pid}"}
    wait_until(lambda: client.containers.list(filters=pid))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert client.containers.list(all=True, filters=pid) == []
    client.close()


def test_engine_whose_disk_is_out_of_sight(runoff, rows, registry):
    """The engine is reached by TCP, as if it were on another machine: that nothing is watched is said."""
    with forwarded() as host:
        code, out, err = runoff(
            "images", "pull", "--dataset", rows(registry.push("a")), "--instances", "*", DOCKER_HOST=host
        )
    assert (code, out) == (0, "1 of 1 images are here\n")
    assert "disk is out of sight" in err


@contextmanager
def forwarded():
    """The engine's socket as a TCP port of the loopback."""

    def pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect("/var/run/docker.sock")
                back = threading.Thread(target=pump, args=(engine, self.request), daemon=True)
                back.start()
                pump(self.request, engine)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_no_engine(runoff, rows):
    for arguments in (["prune", "--containers"], ["pull", "--dataset", rows("x/y"), "--instances", "*"]):
        code, _, err = runoff("images", *arguments, DOCKER_HOST=NO_ENGINE)
        assert code == 4
        assert "no engine answers" in err
        assert os.linesep + "next:" in err

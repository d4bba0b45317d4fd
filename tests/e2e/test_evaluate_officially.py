"""`runoff evaluate` with the real harness, on an image that is built here under a name of its own."""

import asyncio
import json
import secrets
import signal

import docker
import pytest

from sandbox.api import EnvironmentSpec
from sandbox.docker_sandbox import DockerSandbox
from scripts.swebench_images import image_for
from tests.selection import shop

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.xdist_group("swebench"), pytest.mark.timeout(300)]

TESTS = {"FAIL_TO_PASS": "test_total", "PASS_TO_PASS": "test_count"}
"""By their long names: the harness does not know that Python changed them."""
EVAL_SCRIPT = """#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
git checkout {commit} tests/test_till.py
git apply -v - <<'EOF_1'
{test_patch}
EOF_1
: '>>>>> Start Test Output'
{command} tests/test_till.py
: '>>>>> End Test Output'
git checkout {commit} tests/test_till.py
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(the commit, the name of an image with the shop's tree in it)."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "owner").write_text(secrets.token_hex(8))  # no other test's environment
    commit = shop.make(folder)
    name = f"runoff-test/shop-{secrets.token_hex(6)}:latest"

    async def build():
        sandbox = DockerSandbox()
        try:
            return (await sandbox.build(EnvironmentSpec(commit, folder))).location
        finally:
            await sandbox.close()

    location = asyncio.run(build())
    client = docker.from_env()
    try:
        image_for(client, location, name)
        yield commit, name
        for image in client.images.list(filters={"label": f"runoff.from={name}"}):
            client.images.remove(image.id, force=True)
        client.images.remove(name, force=True)
    finally:
        client.images.remove(location, force=True)
        client.close()


@pytest.fixture
def dataset(runoff, built):
    """Three instances of the shop; the third names an image that nobody has."""
    commit, image = built
    long = {name: json.dumps([f"{test} (tests.test_till.TillTests.{test})"]) for name, test in TESTS.items()}
    columns = {
        "image": image,
        "eval_script": EVAL_SCRIPT.format(commit=commit, test_patch=shop.TEST_PATCH, command=shop.COMMAND),
        **long,
    }
    rows = [shop.row(commit, instance_id=f"shop__till-{number}", **columns) for number in (1, 2)]
    rows.append(shop.row(commit, instance_id="shop__till-3", **{**columns, "image": "127.0.0.1:9/shop/nothing:latest"}))
    return shop.write(runoff.folder / "rows.jsonl", *rows)


def predict(runoff, *names):
    rows = [
        {"instance_id": f"shop__till-{number}", "model_name_or_path": "us/ours", "model_patch": shop.PATCHES[name]}
        for number, name in enumerate(names, 1)
    ]
    shop.write(runoff.folder / "ours.jsonl", *rows)


def outcomes(runoff):
    held = json.loads((runoff.folder / "runs/evaluate-ours/evaluation.json").read_text())
    return [entry["outcome"] for entry in held["submissions"]["us/ours"]["outcomes"].values()]


def calls(runoff):
    return sorted((runoff.folder / "runs/evaluate-ours/evaluation/official").iterdir())


@pytest.fixture
def evaluate(runoff, dataset):
    return ["evaluate", "ours.jsonl", "--dataset", dataset, "--timeout", 60]


def test_predictions_from_start_to_end(runoff, evaluate):
    """Right, wrong and without an image; then the same again, then with one that has changed."""
    predict(runoff, "right", "wrong", "right")
    code, out, err = runoff(*evaluate, timeout=200)
    assert code == 4, err
    assert "official: swebench's own harness" in out
    assert "us/ours: 1 of 2 resolved" in out
    assert outcomes(runoff) == ["resolved", "unresolved", "infrastructure"]
    assert "the same command tries them again" in err
    (call,) = calls(runoff)
    assert (call / "harness.log").stat().st_size > 0
    assert list(call.glob("logs/run_evaluation/*/runoff/shop__till-1/report.json"))
    assert not [path for path in runoff.folder.rglob("*") if path.is_file() and "FAIL_TO_PASS" in path.name]

    predict(runoff, "right", "wrong")
    code, out, err = runoff(*evaluate)
    assert code == 0, err
    assert "judged before" in err
    assert calls(runoff) == [call]

    predict(runoff, "right", "right in other words")
    code, out, err = runoff(*evaluate, timeout=200)
    assert code == 0, err
    assert outcomes(runoff) == ["resolved", "resolved"]
    new = next(path for path in calls(runoff) if path != call)
    assert [json.loads(line)["instance_id"] for line in (new / "predictions.jsonl").read_text().splitlines()] == [
        "shop__till-2"
    ]


def test_patches_that_end_without_a_report(runoff, evaluate):
    predict(runoff, "does not apply", "hangs")
    code, _, err = runoff(*evaluate, "--timeout", 5, timeout=200)
    assert code == 0, err
    assert "patch does not apply: Hunk #1 FAILED" in err
    assert outcomes(runoff) == ["patch does not apply", "time-out"]


def test_local_in_the_image_that_a_row_names(runoff, evaluate):
    """No install specs, no clone: the tree and the test command are those of the row."""
    predict(runoff, "right", "wrong")
    code, out, err = runoff(*evaluate, "--local", "--sandbox", "docker", timeout=200)
    assert code == 0, err
    assert "local, not official" in out
    assert outcomes(runoff) == ["resolved", "unresolved"]


def test_interruption_leaves_nothing_running(runoff, evaluate, wait_until):
    predict(runoff, "hangs")
    process = runoff.start(*evaluate)
    client = docker.from_env()

    def running():
        names = (
            [path.name for path in calls(runoff)]
            if (runoff.folder / "runs/evaluate-ours/evaluation/official").exists()
            else []
        )
        return [found for name in names for found in client.containers.list(filters={"name": name})]

    wait_until(running, seconds=120)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: the same command" in err
    wait_until(lambda: not running(), seconds=20)
    client.close()

"""What unfinished runs need."""

import json
import os
import socket
import subprocess

import pytest

from agent.needs import needs
from sandbox.errors import StoreError

ENVIRONMENT = {
    "base_commit": "a" * 40, "repository": None, "image": "x/y", "setup": "", "python": "", "variables": {}, "network": False,
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """`run(name, environment, owner=..., finished=...)`: a run's folder with one instance."""

    def write(name, environment, owner=None, *, finished=False):
        folder = tmp_path / name / "one"
        folder.mkdir(parents=True)
        (folder.parent / "manifest.json").write_text(json.dumps({"format": 1, "settings": {}}))
        (folder / "instance.json").write_text(json.dumps({"id": "one", "environment": environment}))
        if owner is not None:
            (folder.parent / "owner.json").write_text(json.dumps(owner))
        if finished:
            (folder / "result.json").write_text("{}")
        return folder

    return write


def test_finished_instances_need_nothing(run, tmp_path):
    run("done", ENVIRONMENT, finished=True)
    run("context-only", None)
    run("open", {**ENVIRONMENT, "repository": "/some/where"})
    [need] = needs(tmp_path)
    assert (need.run, need.instance, need.spec.image, str(need.spec.repository)) == ("open", "one", "x/y", "/some/where")
    assert not need.living


def test_living_runs(run, tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = socket.gethostname()
    run("alive", ENVIRONMENT, {"pid": os.getpid(), "host": here})
    run("dead", ENVIRONMENT, {"pid": gone.pid, "host": here})
    run("elsewhere", ENVIRONMENT, {"pid": gone.pid, "host": "another.example.org"})
    assert {need.run: need.living for need in needs(tmp_path)} == {"alive": True, "dead": False, "elsewhere": True}


def test_what_cannot_be_read_is_said(run, tmp_path):
    folder = run("torn", {"image": "x"})
    with pytest.raises(StoreError, match="what the instance needs") as caught:
        needs(tmp_path)
    assert caught.value.where == str(folder / "instance.json")
    (folder / "instance.json").write_text("{")
    with pytest.raises(StoreError):
        needs(tmp_path)


def test_folder_that_is_not_there(tmp_path):
    assert needs(tmp_path / "absent") == []

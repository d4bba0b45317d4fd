"""A copy of a run that can be given away: what is in it, what is not, and that it is whole or not there."""

import gzip
import json
import os
import socket
import tarfile

import pytest

from agent.export import REPORT, export_run
from agent.places import Places
from agent.redaction import Redactor
from agent.store import Run, write_json
from sandbox.errors import InputError, StoreError

KEY = "Kq8-a-key-of-somebody"
GITHUB = "ghp_" + "a1B2" * 9
SHA = "3f786850e387550fdab836ed7e6dc881de23001b"


@pytest.fixture
def run(tmp_path):
    """A run as `runoff solve` leaves it, cut down, with files around it that are not its own."""
    run = Run(tmp_path / "runs" / "first")
    settings = {
        "issue": "a/b is wrong", "repo": "/srv/clients/acme/shop", "model": "openai:m@http://gpu.acme.lan:8000/v1",
        "cheap_model": "manual:/srv/desk", "setup": "pip install /srv/wheels/x.whl && ls /usr/lib",
    }  # fmt: skip
    run.begin({"settings": settings, "prices": {settings["model"]: None}})
    folder = run.instance("shop-1")
    folder.write("instance.json", {"repo": "acme/shop", "base_commit": SHA, "source": "/srv/clients/acme/shop"})
    folder.write("result.json", {"patch": None, "reason": "none"})
    journal = folder.path / "02_testing" / "0.jsonl"
    journal.parent.mkdir()
    lines = [
        {"kind": "ask", "parts": {"files": SHA + SHA[:24]}, "result": {"reply": {"text": f"use {GITHUB} at {run.path}"}}},
        {"kind": "run", "result": {"execution": {"output": f"{GITHUB} {KEY} File /testbed/x.py\nTOKEN='abc12345xyz'"}}},
        {"kind": "note", "message": "no answer from http://10.1.2.3:9 (/srv/other/file)", "where": "openai:m@http://gpu.acme.lan:8000/v1"},
    ]  # fmt: skip
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "torn')
    (folder.path / "patch.diff").write_bytes(b"+caf\xe9 " + GITHUB.encode())
    (run.path / "parts" / "ab").mkdir(parents=True)
    (run.path / "parts" / "ab" / "abcd.txt").write_text(f"the code with {GITHUB}")
    write_json(run.path / "owner.json", {"host": "somewhere"})
    (run.path / "notes.txt").write_text("mine")
    (run.path / "desk").mkdir()
    (run.path / "desk" / "0001.request.json").write_text('"code"')
    (folder.path / "link.json").symlink_to("/etc/passwd")
    return run


@pytest.fixture
def redactor():
    return Redactor({"MY_KEY": KEY})


def test_contents(run, redactor, tmp_path):
    exported = export_run(run, tmp_path / "given", redactor)
    given = {path.relative_to(tmp_path / "given").as_posix() for path in (tmp_path / "given").rglob("*") if path.is_file()}
    assert given == {
        "manifest.json", REPORT, "shop-1/instance.json", "shop-1/result.json", "shop-1/02_testing/0.jsonl", "shop-1/patch.diff",
    }  # fmt: skip
    assert exported.left_out == {"notes.txt": 1, "owner.json": 1, "desk/": 1, "parts/": 1, "shop-1/": 1}
    assert exported.secrets == {"MY_KEY": 1, "assigned": 1, "github-token": 1}
    assert exported.redacted["shop-1/02_testing/0.jsonl"] == {"MY_KEY": 1, "assigned": 1, "github-token": 2}
    assert json.loads((tmp_path / "given" / REPORT).read_text()) == exported.to_json()


def test_what_is_in_the_files(run, redactor, tmp_path):
    export_run(run, tmp_path / "given", redactor, with_prompts=True)
    ask, execution, note = map(
        json.loads, (tmp_path / "given" / "shop-1" / "02_testing" / "0.jsonl").read_text().splitlines()
    )
    assert ask["parts"] == {"files": SHA + SHA[:24]}
    assert ask["result"]["reply"]["text"] == "use [redacted:github-token:1] at [run]"
    assert execution["result"]["execution"]["output"] == (
        "[redacted:github-token:1] [redacted:MY_KEY:1] File /testbed/x.py\nTOKEN='[redacted:assigned:1]'"
    )
    assert note["message"] == "no answer from http://server-2.invalid:9 ([path])"
    assert note["where"] == "openai:m@http://server-1.invalid:8000/v1"
    manifest = json.loads((tmp_path / "given" / "manifest.json").read_text())
    assert manifest["prices"] == {manifest["settings"]["model"]: None}
    assert manifest["settings"] == {
        "issue": "a/b is wrong", "repo": "[repository]", "model": "openai:m@http://server-1.invalid:8000/v1",
        "cheap_model": "manual:[path:1]", "setup": "pip install [path:2] && ls /usr/lib",
    }  # fmt: skip
    assert (tmp_path / "given" / "shop-1" / "patch.diff").read_bytes() == b"+caf\xe9 [redacted:github-token:1]"
    assert (tmp_path / "given" / "parts" / "ab" / "abcd.txt").read_text() == "the code with [redacted:github-token:1]"


def test_archive(run, redactor, tmp_path):
    for name in ("one.tar.gz", "two.tgz"):
        export_run(run, tmp_path / name, redactor)
    content = (tmp_path / "one.tar.gz").read_bytes()
    assert gzip.decompress(content) == gzip.decompress((tmp_path / "two.tgz").read_bytes())
    assert content == (tmp_path / "two.tgz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        members = tar.getmembers()
    assert {member.name.split("/")[0] for member in members} == {"first"}
    assert {(member.uid, member.uname, member.mtime, member.mode) for member in members} == {(0, "", 315532800, 0o644)}


@pytest.mark.parametrize("name", ["given", "given.tar.gz"])
def test_what_is_there_is_not_overwritten(run, redactor, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export_run(run, tmp_path / name, redactor)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["given", "given.tar.gz"])
def test_nothing_is_left_of_an_export_that_failed(run, redactor, tmp_path, name):
    journal = run.path / "shop-1" / "02_testing" / "0.jsonl"
    journal.write_text("damaged\n" + journal.read_text())
    with pytest.raises(StoreError, match="damaged"):
        export_run(run, tmp_path / name, redactor)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_target_that_comes_there_meanwhile_is_kept(run, redactor, tmp_path, monkeypatch):
    target = tmp_path / "given.tar.gz"
    fsync = os.fsync

    def somebody_else(handle):
        target.write_text("theirs")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", somebody_else)
    with pytest.raises(StoreError, match="exists"):
        export_run(run, target, redactor)
    assert target.read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.tar.gz", "runs"]


class TestPlaces:
    @pytest.fixture
    def places(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", "/home/jane")
        monkeypatch.setenv("LOGNAME", "jane-doe")
        monkeypatch.setattr(socket, "gethostname", lambda: "janes-laptop")
        return Places(
            tmp_path, {"model": "openai:m@https://api.openai.com/v1", "issue": "see /etc and /srv/x"}, ["/home/jane/shop"]
        )

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("/home/jane/shop/a.py:3", "[repository]/a.py:3"),
            ("/home/jane/shopping", "[home]/shopping"),
            ("'/home/jane'", "'[home]'"),
            ("/home/other/x /Users/other/y", "/home/[user]/x /Users/[user]/y"),
            ("ssh jane-doe@janes-laptop", "ssh [user]@[host]"),
            ("/testbed/a.py /usr/lib/python3 /srv/x", "/testbed/a.py /usr/lib/python3 /srv/x"),
            ("https://api.openai.com/v1 http://127.0.0.1:1", "https://api.openai.com/v1 http://127.0.0.1:1"),
        ],
    )  # fmt: skip
    def test_text(self, places, text, left):
        assert places.text(text) == left

    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("cannot read /srv/x/y: gone", "cannot read [path]: gone"),
            ("cannot read /testbed/y", "cannot read /testbed/y"),
            ("no answer from https://gw.corp.lan/v1, https://api.openai.com", "no answer from https://server-1.invalid/v1, https://api.openai.com"),
            ("shop-1/testing/0/1 and 3/4", "shop-1/testing/0/1 and 3/4"),
        ],
    )  # fmt: skip
    def test_errors(self, places, text, left):
        assert places.error(text) == left

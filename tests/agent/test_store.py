"""The run directory: atomic files, a manifest that guards its settings, a lock that says who holds it."""

import json
import multiprocessing
import os

import pytest

from agent.files import write_text
from agent.llm.messages import Message, Part, Request
from agent.store import Parts, Run, journal_path, write_json
from sandbox.errors import InputError, StoreError


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "runs" / "first")


def test_a_run_is_called_by_its_name_where_commands_look_for_it(run, tmp_path, monkeypatch):
    assert run.handle == str(tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    assert run.handle == "first"
    monkeypatch.setenv("RUNOFF_RUNS", str(tmp_path / "else where"))
    assert run.handle == str(tmp_path / "runs" / "first")
    assert Run(tmp_path / "else where" / "second").handle == "second"


def test_layout_can_be_followed_by_listing_a_folder(tmp_path):
    places = [("relevance", 0), ("ranking", 0), ("testing", 3), ("editing", 3), ("selection", 0)]
    assert [str(journal_path(tmp_path, *place).relative_to(tmp_path)) for place in places] == [
        "01_context/relevance.jsonl",
        "01_context/ranking.jsonl",
        "02_testing/3.jsonl",
        "03_editing/3.jsonl",
        "05_selection.jsonl",
    ]


def test_a_write_that_fails_leaves_the_old_content_and_no_scrap(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["result.json"]


def test_parts_hold_no_secret_of_this_process_and_keep_their_digest(tmp_path, monkeypatch):
    part = Part("files", "KEY = 'sk-of-somebody-1234'")
    monkeypatch.setenv("MY_API_KEY", "sk-of-somebody-1234")
    Parts(tmp_path).keep(Request((Message("user", (part,)),)))
    assert Parts(tmp_path).text(part.digest) == "KEY = '[redacted:MY_API_KEY:1]'"
    monkeypatch.delenv("MY_API_KEY")
    Parts(tmp_path).keep(Request((Message("user", (part,)),)))  # taken up again without the key
    assert Parts(tmp_path).text(part.digest) == "KEY = '[redacted:MY_API_KEY:1]'"


def test_parts_are_stored_once_per_digest(tmp_path):
    parts = Parts(tmp_path)
    for step in ("one", "two"):
        parts.keep(Request((Message("system", (Part("files", "shared"),)), Message("user", (Part("step", step),)))))
    stored = sorted(path.read_text() for path in tmp_path.glob("*/*.txt"))
    assert stored == ["one", "shared", "two"]
    assert parts.text(Part("files", "shared").digest) == "shared"
    assert parts.text("0" * 64) is None


@pytest.mark.parametrize("left", ["", "half a te"])
def test_a_part_that_a_power_cut_spoiled_is_stored_again(tmp_path, left):
    parts, part = Parts(tmp_path), Part("step", "half a text\r\n")
    parts.keep(Request((Message("user", (part,)),)))
    place = next(tmp_path.glob("*/*.txt"))
    place.write_text(left)
    Parts(tmp_path).keep(Request((Message("user", (part,)),)))
    assert parts.text(part.digest) == part.text


def test_manifest_of_the_same_settings_is_taken_up_again(run):
    run.check({"settings": {"samples": 3}}, {})
    run.begin({"settings": {"samples": 3, "workers": 2}})
    created = run.manifest()["created"]
    run.check({"settings": {"samples": 3, "workers": 8}}, {})
    run.begin({"settings": {"samples": 3, "workers": 8}})
    assert run.manifest() == {"format": 1, "created": created, "settings": {"samples": 3, "workers": 2}}


def test_other_settings_are_refused_by_name(run):
    run.begin({"settings": {"samples": 3, "context_tokens": 5}})
    with pytest.raises(InputError, match=r"another context-tokens: 5, not 6") as caught:
        run.check({"settings": {"samples": 3, "context_tokens": 6}}, {})
    assert f"runoff resume {run.path}, " in caught.value.hint


@pytest.mark.parametrize(
    ("now", "says"),
    [({"other": {"base_commit": "a"}}, "another issue"), ({"one": {"base_commit": "b"}}, "another base commit")],
)
def test_another_instance_or_commit_is_refused(run, now, says):
    run.begin({"settings": {}})
    run.instance("one").write("instance.json", {"base_commit": "a"})
    run.check({"settings": {}}, {"one": {"base_commit": "a"}})
    with pytest.raises(InputError, match=says):
        run.check({"settings": {}}, now)


def test_another_format_is_refused(run):
    write_json(run.path / "manifest.json", {"format": 99, "settings": {}})
    with pytest.raises(InputError, match="format 99"):
        run.manifest()


def test_unknown_run_names_those_that_are_there(run):
    run.begin({"settings": {}})
    with pytest.raises(InputError) as caught:
        Run.find("frist", run.path.parent)
    assert "first" in caught.value.hint
    assert Run.find("first", run.path.parent).path == run.path
    assert Run.find(str(run.path), run.path.parent / "elsewhere").path == run.path


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".", ".."])
def test_instance_ids_cannot_leave_the_run(run, name):
    with pytest.raises(InputError):
        run.instance(name)


def hold(path, held, release):
    with Run(path).lock():
        held.set()
        release.wait(20)


def test_a_second_process_is_told_who_holds_the_run(run):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(run.path, held, release))
    process.start()
    try:
        assert held.wait(20)
        with pytest.raises(InputError, match=f"in use by process {process.pid}"), run.lock():
            pass
    finally:
        release.set()
        process.join(20)
    with run.lock():
        assert json.loads((run.path / "owner.json").read_text())["pid"] == os.getpid()


def test_a_killed_holder_leaves_no_lock_behind(run):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(run.path, held, release))
    process.start()
    assert held.wait(20)
    process.kill()
    process.join(20)
    with run.lock():
        pass


def test_predictions_leave_out_what_has_no_patch(run):
    run.begin({"settings": {}})
    for name, patch in (("solved", "diff --git a/x b/x\n"), ("unsolved", ""), ("unfinished", "")):
        store = run.instance(name)
        store.write("instance.json", {})
        if patch:
            write_text(store.path / "patch.diff", patch)
        if name != "unfinished":
            store.write("result.json", {"reason": "no candidate is left"})
    run.write_predictions("runoff")
    rows = [json.loads(line) for line in (run.path / "predictions.jsonl").read_text().splitlines()]
    assert rows == [{"instance_id": "solved", "model_name_or_path": "runoff", "model_patch": "diff --git a/x b/x\n"}]
    unresolved = json.loads((run.path / "unresolved.json").read_text())
    assert unresolved == {
        "unsolved": {"cause": "model", "reason": "no candidate is left"},
        "unfinished": {"cause": "unfinished", "reason": "unfinished"},
    }


def test_a_start_that_was_killed_leaves_no_instance_to_the_next(run):
    """The manifest comes last: an instance without one belongs to a run that never began."""
    run.instance("other").write("instance.json", {"base_commit": "x"})
    run.instance("one").write("instance.json", {"base_commit": "old"})
    run.begin({"settings": {}}, {"one": {"base_commit": "new"}})
    assert run.instances() == ["one"]
    assert run.instance("one").read("instance.json") == {"base_commit": "new"}
    run.begin({"settings": {}}, {"one": {"base_commit": "newer"}})
    assert run.instance("one").read("instance.json") == {"base_commit": "new"}


def test_what_a_killed_holder_did_not_rename_is_swept_up(run):
    scraps = [run.path / ".owner.json.7.tmp", run.path / "parts" / "ab" / ".x.txt.7.tmp", run.path / "one" / ".y.7.tmp"]
    for scrap in scraps:
        scrap.parent.mkdir(parents=True, exist_ok=True)
        scrap.write_text("half")
    with run.lock():
        assert not any(scrap.exists() for scrap in scraps)
    assert not (run.path / "owner.json").exists()


def test_a_command_that_fails_signs_off(run):
    with pytest.raises(ValueError, match="why"), run.lock():
        raise ValueError("why")
    assert not (run.path / "owner.json").exists()


def test_every_prefix_of_a_file_is_refused_with_a_hint(run):
    run.begin({"settings": {"samples": 3}})
    path = run.path / "manifest.json"
    content = path.read_bytes()
    for keep in range(len(content) - 1):
        path.write_bytes(content[:keep])
        with pytest.raises(StoreError) as caught:
            run.manifest()
        assert caught.value.hint


@pytest.mark.parametrize("content", ["[]", "3", '{"format": 1}'])
def test_a_manifest_that_is_none_is_refused(run, content):
    run.path.mkdir(parents=True)
    (run.path / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match="is missing"):
        run.manifest()


def test_predictions_that_have_not_changed_are_not_written_again(run):
    run.begin({"settings": {}})
    run.instance("one").write("instance.json", {})
    run.write_predictions("runoff")
    before = (run.path / "predictions.jsonl").stat().st_ino
    run.write_predictions("runoff")
    assert (run.path / "predictions.jsonl").stat().st_ino == before

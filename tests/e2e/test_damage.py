"""Run directories in trouble: cut off, damaged, copied, read-only, full, and a clock that jumps.

`runoff resume` ends with the outcome of the run that was left alone, or says what is wrong, where, and what to do.
"""

import logging
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from tests.e2e.scenes import scene_in

logger = logging.getLogger(__name__)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with scene_in(tmp_path_factory.mktemp("damage")) as made:
        yield made


def resume(scene, name, **how):
    code, out, err = scene.fork("resume", name, remember=True, **how)
    assert "Traceback" not in err, err
    return code, out, err


def files_of(run):
    return sorted(path for path in run.rglob("*") if path.is_file() and "parts" not in path.parts and path.name != ".lock")


def test_a_file_that_was_cut_off(scene):
    """Each file of a run, cut at several places, the empty file included."""
    outcomes = {0: 0, 2: 0, 4: 0}
    names = [path.relative_to(scene.run("alone")) for path in files_of(scene.run("alone"))]
    assert len(names) >= 14
    for number, name in enumerate(names):
        size = (scene.run("alone") / name).stat().st_size
        for keep in sorted({0, size // 3, size - 2}):
            run = f"cut-{number}-{keep}"
            if name.name in ("result.json", "patch.diff"):
                shutil.copytree(scene.run("alone"), scene.run(run))
            else:
                scene.copy(run)
            os.truncate(scene.run(run) / name, keep)
            code, _, err = resume(scene, run)
            outcomes[code] += 1
            if name.suffix == ".jsonl" or name.name in ("patch.diff", "context.json", "04_matrix.json"):
                assert code == 0, (name, keep, err)
            if code == 0:
                assert scene.outcome_of(run) == scene.outcome, (name, keep)
            else:
                assert str(name.name) in err.replace("\n", ""), (name, keep, err)
                assert "next:" in err
            shutil.rmtree(scene.run(run))
    logger.info("%d cuts, exit codes %s", sum(outcomes.values()), outcomes)


@pytest.mark.parametrize(
    "name", ["01_context/relevance.jsonl", "02_testing/1.jsonl", "05_selection.jsonl", "executions.jsonl"]
)
def test_damage_in_the_middle_is_named_with_its_line_and_a_remedy(scene, name):
    run = scene.copy(f"damaged-{name.translate({ord('/'): '-', ord('.'): '-'})}")
    path = run / scene.instance / name
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1][:20] + b"\0\0\0\0" + lines[1][24:]
    path.write_bytes(b"\n".join(lines))
    code, _, err = resume(scene, run.name)
    assert code == 4
    assert "line 2 of a journal is damaged" in err
    assert f"{name}:2" in err
    subprocess.run(["sed", "-i", "2d", path], check=True)  # the remedy that the message names
    code, _, err = resume(scene, run.name)
    assert code == 0, err
    assert scene.outcome_of(run.name) == scene.outcome


def test_a_damaged_ledger_stops_before_anything_is_spent(scene):
    run = scene.copy("ledger")
    (run / "ledger.jsonl").write_bytes((run / "ledger.jsonl").read_bytes().replace(b'"settle"', b'"sett\0e"', 1))
    asked = len(scene.player.asked)
    code, _, err = resume(scene, "ledger")
    assert (code, len(scene.player.asked)) == (4, asked)
    assert "of the ledger is damaged" in err


def test_a_copy_elsewhere_goes_on(scene):
    scene.interrupted("moved", *scene.solve, "moved", die_at=("03_editing/N.jsonl ask: synced", 2), remember=True)
    elsewhere = scene.folder / "elsewhere" / "another name"
    shutil.copytree(scene.run("moved"), elsewhere)
    code, out, err = scene.fork("resume", elsewhere, remember=True)
    assert code == 0, err
    assert str(elsewhere) in out
    assert (elsewhere / scene.instance / "result.json").read_text() == scene.outcome[1]
    assert not (scene.run("moved") / scene.instance / "result.json").exists()


@contextmanager
def mounted(place, size):
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True, check=False)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", place], check=True)


def remount(place, options):
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


@pytest.mark.parametrize("kilobytes", [8, 60, 100, 140, 180, 200])
def test_a_full_disk_parks_the_run(scene, require_service, kilobytes):
    """The disk fills up in a different stage each time; with room again the run ends as the one that was left alone."""
    name = f"full-{kilobytes}"
    with mounted(scene.run(name), f"{kilobytes}k") as works:
        require_service(works, "tmpfs cannot be mounted: run this as root")
        code, _, err = scene.fork(*scene.solve, name, remember=True)
        assert "Traceback" not in err, err
        assert code == 4, err
        assert "No space left on device" in err
        held, asked = scene.journaled(name), len(scene.player.asked)
        remount(scene.run(name), "size=4m")
        began = (scene.run(name) / "manifest.json").exists()
        code, _, err = scene.fork(*(["resume", name] if began else [*scene.solve, name]), remember=True)
        assert code == 0, err
        assert scene.outcome_of(name) == scene.outcome
        again = scene.player.counts(asked)
        assert not held & set(again), "a reply that had reached a journal was asked for again"
        assert max(again.values(), default=1) == 1
        assert list(scene.run(name).rglob(".*.tmp")) == []


def test_a_read_only_directory(scene, require_service):
    """Nothing is spent on a run that cannot be written to; one that is finished can still be read."""
    for name, finished in (("read-only", False), ("read-only-finished", True)):
        with mounted(scene.run(name), "4m") as works:
            require_service(works, "tmpfs cannot be mounted: run this as root")
            source = scene.run("alone") if finished else scene.copy("source")
            shutil.copytree(source, scene.run(name), dirs_exist_ok=True)
            remount(scene.run(name), "ro")
            asked = len(scene.player.asked)
            code, out, err = resume(scene, name)
            assert len(scene.player.asked) == asked
            assert scene.fork("show", name)[0] == 0
            if finished:
                assert (code, "patch: " in out) == (0, True), err
            else:
                assert code == 4
                assert "Read-only file system" in err


def test_a_clock_that_jumps(scene):
    """Each look at the clock finds another year, before and after the last; only waiting may depend on a clock, and on
    the monotonic one."""
    scene.fork(*scene.solve, "jumps", die_at=("02_testing/N.jsonl ask: synced", 3), clock="jumping", remember=True)
    code, _, err = resume(scene, "jumps", clock="jumping")
    assert code == 0, err
    assert scene.outcome_of("jumps") == scene.outcome


def test_runs_without_a_name_that_start_in_the_same_second(scene):
    """As after a clock was set back: the second one gets a folder of its own."""
    unnamed = scene.solve[:-1]
    before = set((scene.folder / "runs").iterdir())
    for _ in range(2):
        assert scene.fork(*unnamed, "--stages", "context", clock="standing")[0] == 0
    assert len(set((scene.folder / "runs").iterdir()) - before) == 2

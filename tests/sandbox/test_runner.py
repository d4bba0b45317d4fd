"""The parts of the runner, the recipe and the system call filter that need no sandbox to be asked."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import hostnet, recipe, runner, seccomp
from sandbox.api import EnvironmentSpec, Execution
from sandbox.errors import EnvironmentBuildError, SandboxError
from sandbox.jobs import execution_of, variables

SPEC = EnvironmentSpec("c0ffee", Path("/somewhere"), setup="pip install -e .", variables={"A": "1"})


@given(st.lists(st.binary(max_size=5000), max_size=30), st.integers(min_value=200, max_value=3000))
def test_output_is_bounded_and_keeps_both_ends(chunks: list[bytes], chars: int) -> None:
    output = runner.Output(chars)
    for chunk in chunks:
        output.add(chunk)
    text, cut = output.text()
    whole = b"".join(chunks).decode("utf-8", "replace")
    assert len(text) <= chars
    assert cut == (len(whole) > chars)
    if cut:
        assert text[:50] == whole[:50]
        assert text[-50:] == whole[-50:]
    else:
        assert text == whole


def test_output_memory_is_bounded() -> None:
    output = runner.Output(1000)
    for _ in range(1000):
        output.add(b"x" * runner.CHUNK)
    assert len(output.head) + len(output.tail) < 3 * runner.CHUNK


def test_runner_is_python_3_6_of_the_standard_library() -> None:
    text = Path(runner.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("answer", [b"", b"not json", b'{"fault": "the disk is gone"}'])
def test_answer_that_is_none(answer: bytes) -> None:
    with pytest.raises(SandboxError):
        execution_of(answer, "", "here")


def test_key_depends_on_all_that_is_built_from() -> None:
    variants = [
        recipe.key_of(SPEC, "c0ffee", "image"),
        recipe.key_of(SPEC, "decaf", "image"),
        recipe.key_of(SPEC, "c0ffee", "another image"),
        recipe.key_of(EnvironmentSpec("c0ffee", Path("/somewhere"), variables={"A": "1"}), "c0ffee", "image"),
        recipe.key_of(
            EnvironmentSpec("c0ffee", Path("/somewhere"), setup=SPEC.setup, variables={"A": "2"}), "c0ffee", "image"
        ),
        recipe.key_of(EnvironmentSpec("c0ffee", None, setup=SPEC.setup, variables={"A": "1"}), "c0ffee", "image"),
    ]
    assert len(set(variants)) == len(variants)
    elsewhere = EnvironmentSpec("c0ffee", Path("/elsewhere"), setup=SPEC.setup, variables={"A": "1"})
    assert recipe.key_of(elsewhere, "c0ffee", "image") == variants[0]


def test_failed_build_shows_its_last_lines() -> None:
    output = "\n".join([f"line {number}" for number in range(100)] + ["runoff-setup: 5"])
    with pytest.raises(EnvironmentBuildError) as caught:
        recipe.outcome(Execution(exit_code=91, output=output, seconds=1.0), "here")
    assert "exit code 5" in caught.value.message
    assert "line 99" in caught.value.message
    assert "line 10\n" not in caught.value.message


def test_nothing_of_the_host_in_a_script_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "secret")
    assert set(variables("/bin", {"PYTHONPATH": "/extra", "B": "2"})) == {
        *("PATH", "HOME", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "TZ", "LANG", "LC_ALL", "HOSTNAME", "PYTHONPATH", "B")
    }
    assert variables("/bin", {"PYTHONPATH": "/extra"})["PYTHONPATH"] == "/testbed:/extra"


def test_build_reaches_the_registry_as_the_host_does(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text("certificates")
    host = {
        "SSL_CERT_FILE": str(bundle),
        "https_proxy": "http://proxy:1",
        "PIP_INDEX_URL": "https://index",
        "TOKEN": "secret",
    }
    found = hostnet.build_variables(host)
    assert found["PIP_CERT"] == found["SSL_CERT_FILE"] == hostnet.BUNDLE
    assert (found["https_proxy"], found["PIP_INDEX_URL"]) == ("http://proxy:1", "https://index")
    assert "TOKEN" not in found
    assert str(bundle) not in found.values()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_of_system_calls(machine: str) -> None:
    program = seccomp.program(machine)
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096
    assert seccomp.program("s390x") == b""


WAITING = """
import os, subprocess, time
from sandbox import runner
runner.POLL_SECONDS = 60
reader, writer = os.pipe()
watch, wakes = runner.Watch({"seconds": 100, "build": True}), runner.wake_at_exits()
process = subprocess.Popen(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 3"], stdout=writer, stderr=writer)
os.close(writer)
started = time.monotonic()
status, limit = runner.supervise(process.pid, reader, runner.Output(1000), watch, wakes)
process.returncode = 0
print(os.WEXITSTATUS(status), limit, time.monotonic() - started < 30)
"""


def test_end_of_a_script_is_not_waited_for_by_the_clock() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WAITING], cwd=root, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout == "3 None True\n", done.stderr

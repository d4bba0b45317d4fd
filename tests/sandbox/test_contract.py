"""What an execution does, asked of all real backends; what it cannot do is asked in `test_hostile_*.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.api import Environment, Limits, Patch, Sandbox, Script, Verdict

CHANGE = """\
diff --git a/pkg/core.py b/pkg/core.py
--- a/pkg/core.py
+++ b/pkg/core.py
@@ -1,2 +1,2 @@
 def double(x):
-    return x + x + 1
+    return x + x
diff --git a/pkg/new.py b/pkg/new.py
new file mode 100644
--- /dev/null
+++ b/pkg/new.py
@@ -0,0 +1 @@
+NEW = True
diff --git a/pkg/old.py b/pkg/old.py
deleted file mode 100644
--- a/pkg/old.py
+++ /dev/null
@@ -1 +0,0 @@
-OLD = True
"""
DOES_NOT_APPLY = CHANGE.replace("return x + x + 1", "return something_else(x)")


@pytest.mark.parametrize(
    ("text", "code", "verdict"),
    [
        ("import pkg.core", 0, Verdict.PASS),
        ("import pkg.core, sys; sys.exit(2 if pkg.core.double(2) != 4 else 0)", 2, Verdict.ISSUE),
        ("import pkg.absent", 1, Verdict.BROKEN),
        ("import os; os.kill(os.getpid(), 11)", -11, Verdict.BROKEN),
    ],
)
async def test_exit_code(sandbox: Sandbox, environment: Environment, text: str, code: int, verdict: Verdict) -> None:
    execution = await sandbox.execute(environment, Script(text))
    assert (execution.exit_code, execution.verdict, execution.limit) == (code, verdict, None)


async def test_bash_says_two_for_itself_only(sandbox: Sandbox, environment: Environment) -> None:
    said = await sandbox.execute(environment, Script("python -c 'import pkg.core' && exit 2", "bash"))
    assert said.verdict is Verdict.ISSUE
    unparsed = await sandbox.execute(environment, Script("if then fi (", "bash"))
    assert unparsed.verdict is Verdict.BROKEN
    assert "syntax error" in unparsed.output


async def test_surroundings(sandbox: Sandbox, environment: Environment) -> None:
    text = """
import os, socket, sys
for name in ("PYTHONHASHSEED", "HOME", "TZ", "LANG", "LC_ALL", "GIVEN"):
    print(name, os.environ[name])
print(os.getcwd(), socket.gethostname(), sys.prefix, os.path.isdir(os.environ["HOME"]), sys.stdin.read() == "")
"""
    execution = await sandbox.execute(environment, Script(text))
    assert execution.output.splitlines() == [
        "PYTHONHASHSEED 0",
        "HOME /tmp/home",
        "TZ UTC",
        "LANG C.UTF-8",
        "LC_ALL C.UTF-8",
        "GIVEN by the environment",
        "/testbed testbed /opt/env True True",
    ]


async def test_output_survives_a_time_out(sandbox: Sandbox, environment: Environment) -> None:
    execution = await sandbox.execute(environment, Script("print('said')\nwhile True: pass"), limits=Limits(seconds=1))
    assert (execution.limit, execution.output) == ("seconds", "said\n")


async def test_memory_limit_of_a_child(sandbox: Sandbox, environment: Environment) -> None:
    text = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", "kept = []\\nwhile True: kept.append(bytearray(8 << 20))"])
"""
    execution = await sandbox.execute(environment, Script(text), limits=Limits(memory_mb=128, seconds=60))
    assert (execution.limit, execution.verdict) == ("memory", Verdict.BROKEN)


async def test_one_file_beyond_the_disk_limit(sandbox: Sandbox, environment: Environment) -> None:
    text = "open('/testbed/large', 'wb').write(bytes(64 << 20))"
    execution = await sandbox.execute(environment, Script(text), limits=Limits(disk_mb=16, seconds=60))
    assert (execution.limit, execution.verdict) == ("disk", Verdict.BROKEN)


async def test_compiled_modules_are_neither_stale_nor_poisoned(sandbox: Sandbox, environment: Environment) -> None:
    compiled = "import pkg.core; print(__import__('os').path.exists(pkg.core.__cached__), pkg.core.double(2))"
    assert (await sandbox.execute(environment, Script(compiled))).output == "True 5\n"
    poison = """
import importlib._bootstrap_external as loading, importlib.util, pkg.core
source = open(pkg.core.__file__, "rb").read()
code = compile("def double(x): return 'poisoned'", pkg.core.__file__, "exec")
with open(pkg.core.__cached__, "wb") as file:
    file.write(loading._code_to_hash_pyc(code, importlib.util.source_hash(source), False))
import subprocess, sys
subprocess.run([sys.executable, "-c", "import pkg.core; print(pkg.core.double(2))"])
"""
    assert (await sandbox.execute(environment, Script(poison))).output == "poisoned\n"
    assert (await sandbox.execute(environment, Script(compiled))).output == "True 5\n"
    assert (await sandbox.execute(environment, Script(compiled), Patch(CHANGE))).output == "True 4\n"


async def test_patch_changes_adds_and_deletes(sandbox: Sandbox, environment: Environment) -> None:
    text = "import os, pkg.core, pkg.new, sys; print(pkg.core.double(2), pkg.new.NEW, os.path.exists('pkg/old.py'))"
    execution = await sandbox.execute(environment, Script(text), Patch(CHANGE))
    assert (execution.apply_error, execution.output) == ("", "4 True False\n")


async def test_script_that_replaces_a_patched_directory(sandbox: Sandbox, environment: Environment) -> None:
    text = """
import os, shutil, pkg.new
shutil.rmtree("pkg")
os.mkdir("pkg")
open("pkg/__init__.py", "w").close()
os.rename("pkg", "moved")
print(os.listdir("moved"), os.path.exists("pkg"))
"""
    execution = await sandbox.execute(environment, Script(text), Patch(CHANGE))
    assert execution.output == "['__init__.py'] False\n"
    again = await sandbox.execute(environment, Script("import pkg.new; print(pkg.new.NEW)"), Patch(CHANGE))
    assert again.output == "True\n"


async def test_patch_that_does_not_apply(sandbox: Sandbox, environment: Environment) -> None:
    execution = await sandbox.execute(environment, Script("print('ran')"), Patch(DOES_NOT_APPLY))
    assert (execution.exit_code, execution.output, execution.verdict) == (None, "", Verdict.BROKEN)
    assert "pkg/core.py" in execution.apply_error


async def test_patch_with_drifted_context(sandbox: Sandbox, environment: Environment) -> None:
    drifted = "--- a/README\n+++ b/README\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n 3\n"
    execution = await sandbox.execute(environment, Script("print(open('README').read())"), Patch(drifted))
    assert (execution.apply_error, execution.output) == ("", "one\nTWO\nthree\n\n")


async def test_patch_that_is_refused(sandbox: Sandbox, environment: Environment) -> None:
    escaping = CHANGE.replace("pkg/new.py", "../new.py")
    execution = await sandbox.execute(environment, Script("print('ran')"), Patch(escaping))
    assert execution.exit_code is None
    assert "`..`" in execution.apply_error


async def test_history_ends_at_the_base_commit(sandbox: Sandbox, environment: Environment, repository: Any) -> None:
    text = f"""
import subprocess
run = lambda *command: subprocess.run(["git", *command], capture_output=True, text=True)
print(run("rev-parse", "HEAD").stdout.strip(), run("describe").stdout.strip().rpartition("-")[0])
print([run("cat-file", "-e", name).returncode == 0 for name in ("{repository.past}", "{repository.future}", "v1", "v2")])
print(run("log", "--all", "--format=%s").stdout.split(), run("reflog").stdout, run("remote").stdout)
print(run("status", "--porcelain").stdout)
"""
    execution = await sandbox.execute(environment, Script(text))
    assert execution.output.splitlines() == [
        f"{repository.base} v1-1",
        "[True, False, True, False]",
        "['base', 'first']  ",
        "",
    ]


async def test_four_at_once(make_sandbox: Callable[[int], Sandbox], environment: Environment) -> None:
    sandbox = make_sandbox(4)
    started = time.monotonic()
    texts = [f"import time; time.sleep(2); print({number})" for number in range(4)]
    executions = await asyncio.gather(*(sandbox.execute(environment, Script(text)) for text in texts))
    elapsed = time.monotonic() - started
    await sandbox.close()
    assert [execution.output for execution in executions] == ["0\n", "1\n", "2\n", "3\n"]
    assert elapsed < 8

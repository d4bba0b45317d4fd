"""`runoff batch` on a terminal: the view is drawn in place, and what it must not hide stays above it."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.playing import serving
from tests.e2e.splits import PRICE, Crowd, make_split, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """As much of a terminal as the view needs: text, line ends, cursor up, lines erased."""

    def __init__(self):
        self.lines = [""]
        self.row = self.column = 0

    def feed(self, text):
        for numbers, command, end, words in SEQUENCE.findall(text):
            if words:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + words + line[self.column + len(words) :]
                self.column += len(words)
            elif end == "\r":
                self.column = 0
            elif end == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif command == "A":
                self.row = max(0, self.row - int(numbers or 1))
            elif command == "K":
                assert numbers == "2"
                self.lines[self.row] = ""
            else:
                assert command in "mhl", f"{numbers}{command}"


class Terminal:
    """A pseudo terminal and what a process wrote to it."""

    def __init__(self, columns):
        self.inside, self.outside = None, None
        self.outside, self.inside = pty.openpty()
        self.resize(columns)
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns):
        fcntl.ioctl(self.inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def _read(self):
        content = b""
        while True:
            try:
                read = os.read(self.outside, 65536)
            except OSError:  # the other end is closed
                return
            content += read
            self.text = content.decode("utf-8", "replace")

    def close(self):
        os.close(self.inside)
        self._reader.join(10)
        os.close(self.outside)

    def screen(self, since=0):
        screen = Screen()
        screen.feed(self.text[since:])
        return screen.lines


@pytest.fixture
def start(runoff, tmp_path):
    """Start a batch of four instances on a terminal; one of them comes to nothing, and a fifth row is broken."""
    rows, clones = make_split(tmp_path, 4)
    player = Crowd([row["instance_id"] for row in rows])
    player.lost.add(2)
    player.seconds = 0.2
    file = write_rows(tmp_path / "rows.jsonl", [*rows, {"instance_id": "acme__texttools-98", "repo": "x"}])
    processes = []

    def begin(terminal, spec):
        arguments = [
            "batch", "--dataset", file, "--repos", clones, "--model", spec, "--samples", 2, "--rankings", 1,
            "--sandbox", "local", "--setup", "none", "--test-command", "none", "--price", PRICE, "--run", "first",
            "--budget", "9.5", "--instances-at-once", 2,
        ]  # fmt: skip
        command = [sys.executable, "-c", "from agent.cli.app import main; main()", *map(str, arguments)]
        environment = {**runoff.environment, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        processes.append(
            subprocess.Popen(
                command,
                cwd=runoff.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=terminal.inside,
                text=True,
            )
        )
        return processes[-1]

    with serving(player) as spec:
        yield lambda terminal: begin(terminal, spec)
    for process in processes:
        process.kill()
        process.communicate()


def test_a_batch_on_a_terminal(start, wait_until, runoff):
    terminal = Terminal(80)
    process = start(terminal)
    wait_until(lambda: "0 of 4" in terminal.text or process.poll() is not None, 120)
    terminal.resize(60)
    out, _ = process.communicate(timeout=150)
    terminal.close()
    assert process.returncode == 0, terminal.text

    screen = terminal.screen()
    above = next(at for at, line in enumerate(screen) if line.startswith("ended "))
    assert any("left out, row 5 (acme__texttools-98)" in line for line in screen[:above])
    assert any("ended" in line and "acme__texttools-2 model: " in line for line in screen)
    drawings = [line for line in screen if line.startswith("ended ")]
    assert len(drawings) <= 2  # the last one, and what stayed of the wider one
    assert "4 of 4" in drawings[-1]
    assert any(re.match(r"patches +3; without one: 1 model", line) for line in screen)
    assert any(re.match(r"spent +\$0\.\d+ of \$9\.50, \d+ calls", line) for line in screen)

    assert "\x1b" not in out
    assert "3 of 4 instances have a patch" in out
    numbered = [json.loads(line) for line in (runoff.folder / "runs/first/predictions.jsonl").read_text().splitlines()]
    assert len(numbered) == 3

    seen = set(re.findall(r"\d+ (?:waiting|environment|reading|drafting|choosing)", terminal.text))
    assert len(seen) > 4
    last = max(at for at, line in enumerate(screen) if line.startswith("ended "))
    assert max(map(len, screen[last - 2 :])) <= 60

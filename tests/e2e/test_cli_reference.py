"""docs/reference/cli.md says what the commands' help says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_page_is_up_to_date() -> None:
    code = "import sys; sys.path[:0] = ['.', 'scripts']; import cli_reference; print(cli_reference.page(), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == (ROOT / "docs" / "reference" / "cli.md").read_text(), "run scripts/cli_reference.py"

"""The workflows on GitHub, of the template and of a rendered project.

Their schema is checked by tests/test_rendering.py. actionlint also knows what expressions, contexts
and matrices mean, and runs shellcheck over the scripts.
"""

import subprocess
import sys
from pathlib import Path

from e2e.binaries import ACTIONLINT
from tests.support import ROOT


def test_actionlint_finds_nothing(binaries: None, installed: Path) -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    for folder in (ROOT, installed):
        workflows = sorted((folder / ".github/workflows").iterdir())
        assert workflows
        result = subprocess.run(
            [ACTIONLINT / "actionlint", "-no-color", f"-shellcheck={shellcheck}", *workflows],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr

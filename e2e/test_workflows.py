"""The GitHub workflows of the template and of a rendered project.

tests/test_rendering.py checks their schema. actionlint also checks expressions, contexts and
matrices, and runs shellcheck on the scripts.
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

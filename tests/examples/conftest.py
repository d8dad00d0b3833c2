"""The example, laid over a rendering."""

from pathlib import Path

import pytest
from copier import run_copy

from scripts.example import ANSWERS, lay_over
from tests.support import commit


@pytest.fixture(scope="session")
def filled_in(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project with the example's files, committed."""
    folder = tmp_path_factory.mktemp("aws")
    run_copy(str(template), folder, ANSWERS, defaults=True, quiet=True)
    lay_over(folder)
    commit(folder)
    return folder

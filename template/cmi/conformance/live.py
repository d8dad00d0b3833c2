"""The suite against a live driver: the module that `python -m cmi conformance` has collected."""

import pytest

from cmi.conformance.plugin import TARGET
from cmi.conformance.suite import *  # noqa: F403
from cmi.conformance.target import Target


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> Target:
    """What the command line pointed at."""
    return pytestconfig.stash[TARGET]

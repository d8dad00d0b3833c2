"""The suite against a live driver: the test module of `python -m cmi conformance`."""

import pytest

from cmi.conformance.plugin import TARGET
from cmi.conformance.suite import *  # noqa: F403
from cmi.conformance.target import Target


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> Target:
    """The target that the command line selects."""
    return pytestconfig.stash[TARGET]

"""What the tests of the suite share."""

from collections.abc import Iterator

import pytest

from cmi.client import connect
from cmi.conformance.kit import Kit
from cmi.conformance.plugin import LEFT_BEHIND
from cmi.conformance.target import Target

__all__ = ["kit"]


@pytest.fixture
def kit(target: Target, request: pytest.FixtureRequest) -> Iterator[Kit]:
    """The kit, which deletes what the test made."""
    with connect(target.endpoint, target.tls) as channel:
        kit = Kit(target, channel)
        yield kit
        kit.clean_up()
    if kit.is_gone:
        request.session.shouldstop = "the driver does not answer any more"
    properties = request.node.user_properties
    properties.extend((LEFT_BEHIND, machine) for machine in kit.left_behind)

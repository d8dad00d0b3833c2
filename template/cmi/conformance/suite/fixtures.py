"""The fixture of all tests in the suite."""

from collections.abc import Iterator

import pytest

from cmi.client import connect
from cmi.conformance.kit import Findings, Kit
from cmi.conformance.plugin import FINDINGS, LEFT_BEHIND, item_of
from cmi.conformance.target import Target

__all__ = ["kit"]


@pytest.fixture
def kit(target: Target, request: pytest.FixtureRequest) -> Iterator[Kit]:
    """The kit, which deletes the machines that the test created."""
    findings = request.config.stash.setdefault(FINDINGS, {})
    known = findings.setdefault(str(target.endpoint), Findings())
    with connect(target.endpoint, target.tls, insecure=target.insecure) as channel:
        kit = Kit(target, channel, item_of(request.node.nodeid), known)
        yield kit
        try:
            kit.clean_up()
        except KeyboardInterrupt:
            kit.clean_up()
            raise
    if known.is_gone:
        request.session.shouldstop = "the driver has stopped answering"
    properties = request.node.user_properties
    properties.extend((LEFT_BEHIND, machine) for machine in kit.left_behind)

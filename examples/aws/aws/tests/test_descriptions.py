"""The descriptions of AWS's APIs are the same as botocore's, but in plain dictionaries."""

import pytest
from botocore.loaders import Loader

from .. import descriptions
from ..clients import Clients


@pytest.mark.parametrize("kind", ["service-2", "paginators-1", "endpoint-rule-set-1"])
def test_a_description_is_the_same(kind: str) -> None:
    original = Loader().load_service_model("ec2", kind)
    assert descriptions.loader().load_service_model("ec2", kind) == original


def test_what_is_not_there_is_not_found() -> None:
    assert descriptions.loader().file_loader.load_file("nothing") is None


def test_the_session_of_all_clients_holds_plain_dictionaries() -> None:
    loader = Clients()._session._session.get_component("data_loader")
    assert type(loader.load_data("endpoints")) is dict

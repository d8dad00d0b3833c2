"""The description of EC2's API is botocore's own, without the documentation in it."""

from typing import Any

from botocore.loaders import Loader

from .. import descriptions
from ..apis.secrets import Credentials
from ..clients import Clients


def test_only_the_documentation_is_left_out() -> None:
    for kind in ("service-2", "paginators-1", "endpoint-rule-set-1"):
        original = Loader().load_service_model("ec2", kind)
        assert descriptions.loader().load_service_model("ec2", kind) == undocumented(original)
    assert descriptions.loader().load_data("endpoints") == Loader().load_data("endpoints")


def test_clients_hold_no_documentation() -> None:
    credentials = Credentials.model_validate({"accessKeyID": "AKIA", "secretAccessKey": "abcd"})
    model = Clients().client(credentials, "eu-west-1").meta.service_model
    assert model.documentation == ""
    assert model.operation_model("RunInstances").documentation == ""


def undocumented(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: undocumented(each)
            for key, each in value.items()
            if key != "documentation" or not isinstance(each, str)
        }
    return [*map(undocumented, value)] if isinstance(value, list) else value

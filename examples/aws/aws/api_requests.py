"""Each request to AWS as an `ApiRequest`: also those that boto3 repeats by itself.

The hooks are those of botocore's guide, "Event system": one before a request is signed and sent,
one when its answer or an error is there.
"""

from typing import TYPE_CHECKING, Any

from botocore import xform_name

from cmi import ApiRequest

if TYPE_CHECKING:
    from botocore.hooks import BaseEventHooks


def count_requests(events: "BaseEventHooks") -> None:
    """Let a client's requests be counted, timed and logged."""
    events.register("request-created", _begin)
    events.register("response-received", _end)


def _begin(request: Any, operation_name: str, **_: object) -> None:
    request.context["api_request"] = ApiRequest(xform_name(operation_name))


def _end(context: dict[str, Any], parsed_response: Any, **_: object) -> None:
    answer = parsed_response or {"Error": {}}  # there is none if nobody answered
    api_request: ApiRequest = context.pop("api_request")
    api_request.id = answer.get("ResponseMetadata", {}).get("RequestId", "")
    api_request.end(failed="Error" in answer)

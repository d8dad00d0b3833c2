"""A context that expects a driver to refuse a call."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc


@contextmanager
def refused(code: str, *mentioned: str) -> Iterator[None]:
    """Expect the driver to refuse the call in this context with a status.

    Write `with refused("NOT_FOUND", "m1"): …`.

    Args:
        code: The name of the status code.
        mentioned: Texts that the message of the status must contain.

    Raises:
        AssertionError: The call succeeded, or has another code or message.
    """
    try:
        yield
    except grpc.RpcError as error:
        found, message = error.code().name, error.details() or ""
        assert found == code, f"the call failed with {found}, not {code}: {message}"
        for text in mentioned:
            assert text in message, f"the message does not mention {text!r}: {message}"
    else:
        raise AssertionError(f"the call succeeded instead of failing with {code}")

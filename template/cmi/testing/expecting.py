"""Expecting that a driver refuses a call."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc


@contextmanager
def refused(code: str, *mentioned: str) -> Iterator[None]:
    """Expect that the call in this context is refused with a status.

    Write `with refused("NOT_FOUND", "m1"): …`.

    Args:
        code: The name of the status code.
        mentioned: Texts that the message of the status holds.

    Raises:
        AssertionError: It is not.
    """
    try:
        yield
    except grpc.RpcError as error:
        found, message = error.code().name, error.details() or ""
        assert found == code, f"the call was answered with {found}, not {code}: {message}"
        for text in mentioned:
            assert text in message, f"the message does not mention {text!r}: {message}"
    else:
        raise AssertionError(f"the call was answered with OK, not {code}")

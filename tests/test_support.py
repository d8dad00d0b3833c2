"""Tests of the helpers for tests."""

import socket

import pytest

from tests.support import free_port


def test_a_free_port_is_kept_for_the_server_that_binds_it_by_number() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):
        pass

"""Every error ends a command with one line on standard error and exit code 1."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import grpc

from cmi.cli.output import print_error
from cmi.endpoint import Endpoint, EndpointError
from cmi.manifests import ManifestError
from cmi.tls import TlsError


@contextmanager
def in_one_line(endpoint: Endpoint | None = None) -> Iterator[None]:
    """Turn every error in this context into one line and exit code 1.

    Args:
        endpoint: The driver's address, for the message if it does not answer.
    """
    try:
        yield
    except (EndpointError, ManifestError, TlsError) as error:
        fail(str(error))
    except UnicodeEncodeError:
        fail("an argument is not UTF-8")
    except grpc.RpcError as error:
        fail(describe(error, endpoint))
    except BrokenPipeError:  # the reader, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def fail(message: str) -> NoReturn:
    """Print an error and exit."""
    print_error(message)
    sys.exit(1)


def describe(error: grpc.RpcError, endpoint: Endpoint | None = None) -> str:
    """Return the status of a failed call, in one line."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in details:
        details = _no_connection(details, endpoint)
    return f"{code.name}: {' '.join(details.split())}"


def _no_connection(details: str, endpoint: Endpoint | None) -> str:
    """Say what to do about a failed connection, depending on the reason that gRPC gives."""
    if "handshake failed" in details or "erification" in details:
        return (
            f"the driver at {endpoint} can't be verified; check --tls-ca and --tls-server-name, "
            "and whether it serves TLS"
        )
    if "Socket closed" in details:
        return (
            f"the driver at {endpoint} rejected the connection; if it serves TLS, set --tls-ca, "
            "--tls-cert and --tls-key, with a certificate from the CA that it expects"
        )
    return f"no driver answers at {endpoint}; start it, or choose another --endpoint"

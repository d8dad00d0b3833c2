"""`cmi list --watch`: prints the list, and then a line for each change."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

import grpc

from cmi.cli.errors import describe
from cmi.cli.output import Columns, print_error, print_line
from cmi.endpoint import Endpoint

_HEADER: Final = ("CHANGE", "MACHINE", "PROVIDER ID")


def watch(
    list_machines: Callable[[], Mapping[str, str]], interval: float, endpoint: Endpoint
) -> NoReturn:
    """Print the machines, and then additions and removals, until Ctrl-C.

    Only the first list has to succeed. If the driver is restarted later, the command waits for it.

    Args:
        list_machines: Returns names by provider ID.
        interval: Seconds between two lists.
        endpoint: Where the driver listens, for messages.
    """
    known = set(list_machines().items())
    columns = Columns(_HEADER, [("listed", name, provider_id) for provider_id, name in known])
    print_line(columns.line(_HEADER), "header")
    for provider_id, name in sorted(known, key=lambda item: item[1]):
        print_line(columns.line(("listed", name, provider_id)))
    problem = ""
    while True:
        time.sleep(interval)
        try:
            found = set(list_machines().items())
        except grpc.RpcError as error:
            if problem != (problem := describe(error, endpoint)):
                print_error(problem)
            continue
        problem = ""
        for provider_id, name in sorted(known - found, key=lambda item: item[1]):
            print_line(columns.line(("removed", name, provider_id)), "bad")
        for provider_id, name in sorted(found - known, key=lambda item: item[1]):
            print_line(columns.line(("added", name, provider_id)), "good")
        known = found

"""What the conformance kit is pointed at."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from cmi.client import MachineClass
from cmi.endpoint import Endpoint
from cmi.tls import TlsFiles

Switch: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Makes something go wrong for as long as its context is open."""


@dataclass(frozen=True, kw_only=True)
class Backstage:
    """What the kit can do beside the driver, where both run in one process.

    Some items can't be seen through the API: a quota, a log, a second VM of the same name.
    Give the kit what your cloud, or its test double, makes possible. What is left out is
    skipped, and the report says so.

    Attributes:
        failures: For status codes by name (RESOURCE_EXHAUSTED, OUT_OF_RANGE,
            FAILED_PRECONDITION, UNAVAILABLE, INTERNAL): makes CreateMachine of a new machine
            fail so (C13). INTERNAL is an exception that the driver does not expect, with the
            text of `quoting`, as an SDK's may have (C45, C50).
        interruptions: By the names of the steps of CreateMachine and DeleteMachine: makes
            the next call that comes to this step fail there, once (C15).
        unhealthy: Makes something missing that the driver depends on (C6).
        hold: Keeps the next call to the cloud waiting for as long as the context is open; the
            event it yields is set once that call waits (C57).
        duplicate: Makes a second VM of the machine with this name (C25).
        snapshot: Returns all that the cloud has, to tell whether something changed (C22, C27).
        denied_secrets: Valid credentials that must not create machines (C44).
        page_size: How many VMs the cloud lists at once (C31).
        command: Starts the driver as a process; `--endpoint=…` is added (C52, C53).
        sources: The folders of the driver's code (C54).
    """

    failures: Mapping[str, Switch] = field(default_factory=dict)
    interruptions: Mapping[str, Switch] = field(default_factory=dict)
    unhealthy: Switch | None = None
    hold: Callable[[], AbstractContextManager[threading.Event]] | None = None
    duplicate: Callable[[str], object] | None = None
    snapshot: Callable[[], object] | None = None
    denied_secrets: Mapping[str, bytes] | None = None
    page_size: int | None = None
    command: Sequence[str] = ()
    sources: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running driver, and what to send it.

    Attributes:
        endpoint: Where it listens.
        machine_class: A valid provider spec with its secrets. Machines are made from it.
        other_class: The same for another cluster of the same account; derived from
            `machine_class` if None.
        volumes: PersistentVolumeSpecs; of the driver's at least one by CSI and one in-tree (C38).
        backstage: What can be done beside the driver; None for a remote one.
        tls: The files for TLS; None means plain text.
        timeout: The deadline of a call, in seconds.
        patience: How long a call is repeated that is ABORTED or UNAVAILABLE, in seconds.
    """

    endpoint: Endpoint
    machine_class: MachineClass
    other_class: MachineClass | None = None
    volumes: Sequence[Mapping[str, Any]] = ()
    backstage: Backstage | None = None
    tls: TlsFiles | None = None
    timeout: float = 300.0
    patience: float = 60.0

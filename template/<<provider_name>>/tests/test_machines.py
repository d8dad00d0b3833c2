"""What the contract asks of the machine RPCs; item numbers are those of its list."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from functools import partial
from threading import Event

import pytest

from cmi.client import Client, MachineClass
from cmi.testing import serving

from ..cloud import Cloud
from ..machineserver import MachineServer
from .conftest import Change

Refused = Callable[..., AbstractContextManager[None]]


def test_a_machine_is_created_reported_listed_shut_down_and_deleted(
    client: Client, machine_class: MachineClass, refused: Refused
) -> None:
    created = client.create(machine_class, "m1")
    status = client.status(machine_class, "m1", created.ProviderID)
    assert (status.ProviderID, status.NodeName) == (created.ProviderID, created.NodeName)
    assert client.list_machines(machine_class) == {created.ProviderID: "m1"}
    client.shut_down(machine_class, "m1", created.ProviderID)
    client.shut_down(machine_class, "m1")
    client.delete(machine_class, "m1", created.ProviderID)
    client.delete(machine_class, "m1")
    assert client.list_machines(machine_class) == {}
    with refused("NOT_FOUND", "m1"):
        client.status(machine_class, "m1")
    with refused("NOT_FOUND", "m1"):
        client.shut_down(machine_class, "m1")


def test_create_is_idempotent(client: Client, machine_class: MachineClass) -> None:
    """C10."""
    answers = [client.create(machine_class, "m1") for _ in range(5)]
    assert all(answer == answers[0] for answer in answers)
    assert len(client.list_machines(machine_class)) == 1


def test_another_spec_under_the_same_name_is_refused(
    client: Client, machine_class: MachineClass, changed: Change, refused: Refused
) -> None:
    """C11."""
    client.create(machine_class, "m1")
    with refused("ALREADY_EXISTS", "m1", "machineType"):
        client.create(changed(machineType="standard-8"), "m1")


def test_a_stopped_machine_is_not_created_again(
    client: Client, machine_class: MachineClass, refused: Refused
) -> None:
    """C13."""
    client.create(machine_class, "m1")
    client.shut_down(machine_class, "m1")
    with refused("FAILED_PRECONDITION", "m1", "stopped"):
        client.create(machine_class, "m1")


def test_clusters_do_not_see_each_other(
    client: Client, machine_class: MachineClass, other_cluster: MachineClass, refused: Refused
) -> None:
    """C19, C26, C29, C34."""
    mine = client.create(machine_class, "m1")
    theirs = client.create(other_cluster, "m1")
    assert mine.ProviderID != theirs.ProviderID
    assert client.list_machines(machine_class) == {mine.ProviderID: "m1"}
    with refused("NOT_FOUND"):
        client.status(machine_class, "m1", theirs.ProviderID)
    with refused("NOT_FOUND"):
        client.shut_down(machine_class, "m1", theirs.ProviderID)
    client.delete(machine_class, "m1", theirs.ProviderID)
    client.delete(machine_class, "m1")
    assert client.list_machines(other_cluster) == {theirs.ProviderID: "m1"}


def test_roles_do_not_see_each_other(
    client: Client, machine_class: MachineClass, changed: Change
) -> None:
    """C29."""
    client.create(machine_class, "m1")
    tags = {"kubernetes.io/cluster/shoot--dev--demo": "1", "kubernetes.io/role/etcd": "1"}
    assert client.list_machines(changed(tags=tags)) == {}


def test_a_list_is_complete_however_long(cloud_file: str, machine_class: MachineClass) -> None:
    """C31: more machines than a page of the cloud holds."""
    with serving(MachineServer(Cloud(cloud_file))) as endpoint, Client(endpoint) as client:
        names = {f"m{number}" for number in range(120)}
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(partial(client.create, machine_class), names))
        assert set(client.list_machines(machine_class).values()) == names


@pytest.mark.parametrize("call", ["create", "status", "shut_down"])
def test_several_vms_of_one_machine(
    client: Client, cloud_file: str, machine_class: MachineClass, refused: Refused, call: str
) -> None:
    """C25; and MCM can delete the surplus one by its provider ID."""
    created = client.create(machine_class, "m1")
    with closing(sqlite3.connect(cloud_file)) as db, db:
        db.execute("CREATE TEMP TABLE twin AS SELECT * FROM vms")
        db.execute("UPDATE twin SET id = 'vm-twin', client_token = NULL")
        db.execute("INSERT INTO vms SELECT * FROM twin")
    with refused("OUT_OF_RANGE", "m1", "vm-twin"):
        getattr(client, call)(machine_class, "m1")
    (surplus,) = client.list_machines(machine_class).keys() - {created.ProviderID}
    for _ in range(2):
        client.delete(machine_class, "m1", surplus)
    assert client.list_machines(machine_class) == {created.ProviderID: "m1"}


def test_a_class_that_moved_to_another_region_does_not_hide_its_machines(
    client: Client, machine_class: MachineClass, changed: Change
) -> None:
    created = client.create(machine_class, "m1")
    moved = changed(region="south-1")
    assert client.status(moved, "m1", created.ProviderID).ProviderID == created.ProviderID
    client.delete(moved, "m1", created.ProviderID)
    assert client.list_machines(machine_class) == {}


def test_an_id_that_is_not_ours_is_ignored(client: Client, machine_class: MachineClass) -> None:
    """Clients of an older contract send their last known state in the provider ID's field."""
    client.create(machine_class, "m1")
    client.delete(machine_class, "m1", '{"step": 3}')
    assert client.list_machines(machine_class) == {}


@pytest.mark.parametrize("step", ["create_vm", "create_disk", "start_vm"])
def test_a_failed_create_is_finished_by_a_retry(
    cloud_file: str, machine_class: MachineClass, refused: Refused, step: str
) -> None:
    """C15; a half-made VM is listed, so that it can't be lost, but not yet adopted by MCM."""
    cloud = Cloud(cloud_file, faults={step: "throttled*1"})
    with serving(MachineServer(cloud)) as endpoint, Client(endpoint) as client:
        with refused("UNAVAILABLE", step):
            client.create(machine_class, "m1")
        with refused("NOT_FOUND", "m1"):
            client.status(machine_class, "m1")
        listed = client.list_machines(machine_class)
        created = client.create(machine_class, "m1")
        assert listed in ({}, {created.ProviderID: "m1"})
        assert client.list_machines(machine_class) == {created.ProviderID: "m1"}


@pytest.mark.parametrize("step", ["delete_vm", "delete_disk"])
def test_a_failed_delete_is_finished_by_a_retry(
    cloud_file: str, machine_class: MachineClass, refused: Refused, step: str
) -> None:
    """C15, C22."""
    cloud = Cloud(cloud_file, faults={step: "throttled*1"})
    with serving(MachineServer(cloud)) as endpoint, Client(endpoint) as client:
        created = client.create(machine_class, "m1")
        with refused("UNAVAILABLE", step):
            client.delete(machine_class, "m1", created.ProviderID)
        client.delete(machine_class, "m1", created.ProviderID)
    with closing(sqlite3.connect(cloud_file)) as db:
        assert db.execute("SELECT count(*) FROM vms").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM disks").fetchone() == (0,)


def test_two_drivers_share_the_cloud(
    cloud_file: str, machine_class: MachineClass, client: Client
) -> None:
    """C12: one VM, whichever driver is asked to make it."""
    with serving(MachineServer(Cloud(cloud_file))) as endpoint, Client(endpoint) as other:
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(each.create, machine_class, "m1") for each in (client, other)]
        assert calls[0].result() == calls[1].result()
        assert len(client.list_machines(machine_class)) == 1


def test_quota(client: Client, machine_class: MachineClass, refused: Refused) -> None:
    """C13."""
    for number in range(3):
        client.create(machine_class, f"m{number}")
    with refused("RESOURCE_EXHAUSTED", "quota of 3"):
        client.create(machine_class, "m3")
    client.delete(machine_class, "m0")
    client.create(machine_class, "m3")


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"region": "moon-1"}, "INVALID_ARGUMENT", "providerSpec.region"),
        ({"image": "dos-6.22"}, "INVALID_ARGUMENT", "providerSpec.image"),
        ({"machineType": "huge"}, "INVALID_ARGUMENT", "providerSpec.machineType"),
        ({"machineType": None}, "INVALID_ARGUMENT", "providerSpec.machineType"),
        ({"machineTyp": "typo"}, "INVALID_ARGUMENT", "providerSpec.machineTyp"),
        ({"network": {}}, "INVALID_ARGUMENT", "providerSpec.network.subnet"),
        ({"disks": []}, "INVALID_ARGUMENT", "providerSpec.disks"),
        ({"disks": [{"name": "a", "sizeGiB": "20"}]}, "INVALID_ARGUMENT", "disks[0].sizeGiB"),
        ({"disks": [{"name": "a", "sizeGiB": 1}] * 2}, "INVALID_ARGUMENT", "same name"),
        ({"disks": [{"name": "a", "sizeGiB": 9999}]}, "OUT_OF_RANGE", "disks[0].sizeGiB"),
        ({"tags": {"kubernetes.io/role/node": "1"}}, "INVALID_ARGUMENT", "kubernetes.io/cluster/"),
    ],
    ids=str,
)
def test_a_spec_that_can_not_be_made(
    client: Client,
    changed: Change,
    refused: Refused,
    fields: dict[str, object],
    code: str,
    path: str,
) -> None:
    """C8, C13, C33; nothing is left of the try."""
    with refused(code, path):
        client.create(changed(**fields), "m1")
    assert client.list_machines(changed()) == {}


def test_a_spec_that_became_invalid_does_not_block_a_deletion(
    client: Client, machine_class: MachineClass, changed: Change
) -> None:
    client.create(machine_class, "m1")
    invalid = changed({"userData": None}, machineType=None, disks="none")
    client.status(invalid, "m1")
    client.delete(invalid, "m1")
    assert client.list_machines(machine_class) == {}


def test_credentials(
    client: Client, cloud: Cloud, machine_class: MachineClass, changed: Change, refused: Refused
) -> None:
    """C44; a rotated token takes effect at the next call."""
    with refused("UNAUTHENTICATED", "secrets.apiToken", "missing"):
        client.create(changed({"apiToken": None}), "m1")
    with refused("UNAUTHENTICATED", "token"):
        client.create(changed({"apiToken": b"guessed"}), "m1")
    reader = changed({"apiToken": b"demo-reader"})
    with refused("PERMISSION_DENIED", "create_vm"):
        client.create(reader, "m1")
    assert client.list_machines(reader) == {}
    with refused("INVALID_ARGUMENT", "secrets.userData", "missing"):
        client.create(changed({"userData": None}), "m1")
    cloud.set_token("rotated", "write")
    cloud.set_token("demo-token", None)
    with refused("UNAUTHENTICATED"):
        client.create(machine_class, "m1")
    client.create(changed({"apiToken": b"rotated"}), "m1")


def test_a_second_call_for_a_machine_is_aborted(
    cloud_file: str, machine_class: MachineClass, refused: Refused
) -> None:
    """C57; calls for other machines go on beside it."""
    begun, go_on = Event(), Event()

    class SlowCloud(Cloud):
        def api_call(self, name: str) -> None:
            if name == "start_vm" and not begun.is_set():
                begun.set()
                go_on.wait()

    server = MachineServer(SlowCloud(cloud_file))
    with serving(server) as endpoint, Client(endpoint) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.create, machine_class, "m1")
        begun.wait()
        with refused("ABORTED"):
            client.delete(machine_class, "m1")
        client.create(machine_class, "m2")
        go_on.set()
        assert first.result().NodeName == "m1"


def test_volumes(client: Client) -> None:
    """C37 to C40."""
    volumes = b"""[
        {"csi": {"driver": "csi.embedded.cloud", "volumeHandle": "v1"}},
        {"csi": {"driver": "csi.elsewhere", "volumeHandle": "v2"}},
        {"flexVolume": {"driver": "embedded.cloud/disk", "options": {"volumeID": "v3"}}},
        {"nfs": {"server": "s", "path": "/p"}},
        {"csi": null, "flexVolume": {"driver": "embedded.cloud/disk"}}
    ]"""
    assert client.volume_ids(volumes) == ["v1", "v3"]
    assert client.volume_ids(b"[]") == []


@pytest.mark.parametrize("volumes", [b"", b"{}", b"[1]", b"nonsense"])
def test_malformed_volumes(client: Client, refused: Refused, volumes: bytes) -> None:
    """C36."""
    with refused("INVALID_ARGUMENT", "pvSpecList"):
        client.volume_ids(volumes)


def test_the_cloud_is_probed(client: Client, cloud_file: str, refused: Refused) -> None:
    """C6."""
    assert client.probe()
    with closing(sqlite3.connect(cloud_file)) as db, db:
        db.execute("DROP TABLE tokens")
    with refused("FAILED_PRECONDITION"):
        client.probe()

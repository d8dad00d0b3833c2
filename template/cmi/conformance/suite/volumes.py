"""C36 to C40: GetVolumeIDs."""

from typing import Any

import pytest

from cmi.conformance.kit import Kit

__all__ = [
    "test_C36_no_list_of_objects",
    "test_C37_volumes_of_others",
    "test_C38_in_tree_and_csi",
    "test_C39_volumes_are_found_again",
    "test_C40_no_volumes",
]

_OTHERS: tuple[dict[str, Any], ...] = (
    {"csi": {"driver": "csi.conformance.invalid", "volumeHandle": "theirs"}},
    {"nfs": {"server": "nfs.invalid", "path": "/"}},
    {"hostPath": {"path": "/tmp"}},
    {},
)
_IN_TREE = frozenset(
    {
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cinder",
        "flexVolume",
        "gcePersistentDisk",
        "photonPersistentDisk",
        "portworxVolume",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    }
)
"""The sources of a PersistentVolumeSpec that belong to one cloud or one driver, besides CSI."""


@pytest.mark.parametrize("raw", [b"", b"no JSON", b"{}", b"[1]", b'["a"]', b"null"], ids=repr)
def test_C36_no_list_of_objects(kit: Kit, raw: bytes) -> None:
    kit.volume_ids(raw).refused("INVALID_ARGUMENT")


def test_C37_volumes_of_others(kit: Kit) -> None:
    found = list(kit.volume_ids(_OTHERS).ok().VolumeIDs)
    kit.check(not found, f"it returns IDs for volumes of other drivers: {', '.join(found)}")


def test_C38_in_tree_and_csi(kit: Kit) -> None:
    kit.needs("GetVolumeIDs")
    by_csi = [each for each in kit.target.volumes if each.get("csi")]
    in_tree = [each for each in kit.target.volumes if not _IN_TREE.isdisjoint(each)]
    if not by_csi and not in_tree:
        pytest.skip("needs volumes of the driver's cloud (volumes, --volumes)")
    for what, volumes in (("CSI", by_csi), ("in-tree", in_tree)):
        recognised = not volumes or any(kit.volume_ids([each]).ok().VolumeIDs for each in volumes)
        kit.check(recognised, f"none of the {len(volumes)} {what} volumes is recognised")


def test_C39_volumes_are_found_again(kit: Kit) -> None:
    volumes = [*kit.target.volumes, *_OTHERS]
    answers = [sorted(kit.volume_ids(volumes).ok().VolumeIDs) for _ in range(3)]
    kit.check(answers[1:] == answers[:-1], f"the same call returns different answers: {answers}")


def test_C40_no_volumes(kit: Kit) -> None:
    found = list(kit.volume_ids([]).ok().VolumeIDs)
    kit.check(not found, f"for an empty list, it returns {', '.join(found)}")

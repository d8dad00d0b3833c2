"""C36 to C40: GetVolumeIDs."""

from typing import Any

import pytest

from cmi.conformance.kit import Kit

_OTHERS: tuple[dict[str, Any], ...] = (
    {"csi": {"driver": "csi.conformance.invalid", "volumeHandle": "theirs"}},
    {"nfs": {"server": "nfs.invalid", "path": "/"}},
    {"hostPath": {"path": "/tmp"}},
    {},
)


@pytest.mark.parametrize("raw", [b"", b"no JSON", b"{}", b"[1]", b'["a"]', b"null"], ids=repr)
def test_C36_no_list_of_objects(kit: Kit, raw: bytes) -> None:
    kit.volume_ids(raw).refused("INVALID_ARGUMENT")


def test_C37_volumes_of_others(kit: Kit) -> None:
    assert list(kit.volume_ids(_OTHERS).ok().VolumeIDs) == []


def test_C38_in_tree_and_csi(kit: Kit) -> None:
    kit.needs("GetVolumeIDs")
    volumes = kit.target.volumes
    if not volumes:
        pytest.skip("no volumes of the driver are known; give some")
    by_csi = [bool(kit.volume_ids([each]).ok().VolumeIDs) for each in volumes if "csi" in each]
    in_tree = [bool(kit.volume_ids([each]).ok().VolumeIDs) for each in volumes if "csi" not in each]
    assert any(by_csi), "no CSI volume is recognised"
    assert any(in_tree), "no in-tree volume is recognised"


def test_C39_idempotent(kit: Kit) -> None:
    volumes = [*kit.target.volumes, *_OTHERS]
    answers = [sorted(kit.volume_ids(volumes).ok().VolumeIDs) for _ in range(3)]
    assert answers[1:] == answers[:-1]


def test_C40_empty(kit: Kit) -> None:
    assert list(kit.volume_ids([]).ok().VolumeIDs) == []

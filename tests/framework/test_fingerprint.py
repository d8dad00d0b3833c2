"""The fingerprint of the spec that a VM was made from, which fits into a tag."""

import re
from typing import Any

import pytest
from pydantic import Field, create_model

from cmi import SpecModel, spec_differences, spec_fingerprint


class Disk(SpecModel):
    """A nested model."""

    size: int
    encrypted: bool = False


class Spec(SpecModel):
    """A spec as an author would write it."""

    machine_type: str
    disks: tuple[Disk, ...]
    zone: str = "a"
    tags: dict[str, str] = Field(default={})


SMALL = {"machineType": "small", "disks": [{"size": 1}]}
MADE = spec_fingerprint(
    Spec.model_validate_json('{"machineType": "small", "disks": [{"size": 1}]}')
)


def read(kind: type[SpecModel], **fields: Any) -> SpecModel:
    return kind.model_validate(SMALL | fields, strict=False)


@pytest.mark.parametrize(
    ("fields", "differing"),
    [
        ({}, []),
        ({"zone": "a", "disks": [{"size": 1, "encrypted": False}]}, []),
        ({"machineType": "large"}, ["machineType"]),
        ({"disks": [{"size": 2}], "zone": "b"}, ["disks", "zone"]),
        ({"disks": [{"size": 1, "encrypted": True}]}, ["disks"]),
        ({"disks": [{"size": 1}, {"size": 1}]}, ["disks"]),
    ],
    ids=str,
)
def test_differing_fields_are_named(fields: dict[str, Any], differing: list[str]) -> None:
    assert spec_differences(MADE, read(Spec, **fields)) == differing


def test_what_is_left_out_may_change() -> None:
    made = spec_fingerprint(read(Spec), leave_out={"tags"})
    assert spec_differences(made, read(Spec, tags={"x": "y"})) == []


def test_a_driver_that_has_learnt_more_still_knows_its_vms() -> None:
    class NewDisk(Disk):
        cached: bool = True

    class NewSpec(SpecModel):
        machine_type: str
        disks: tuple[NewDisk, ...]
        zone: str = "any"
        """The previous model had another default here, and a field `tags`."""
        image: str = ""

    assert spec_differences(MADE, read(NewSpec)) == []
    assert spec_differences(MADE, read(NewSpec, image="x", machineType="large")) == ["machineType"]
    assert spec_differences(MADE, read(NewSpec, disks=[{"size": 1, "cached": False}])) == ["disks"]


@pytest.mark.parametrize("fingerprint", ["", "machineType:1f0a9c", "people wrote this"])
def test_a_vm_without_a_fingerprint_is_taken_as_it_is(fingerprint: str) -> None:
    assert spec_differences(fingerprint, read(Spec)) == []


@pytest.mark.parametrize("count", [1, 20, 32])
def test_it_fits_into_a_tag(count: int) -> None:
    names: dict[str, Any] = {
        f"rather_long_name_of_field_{each}": (str, "x") for each in range(count)
    }
    fingerprint = spec_fingerprint(create_model("Many", __base__=SpecModel, **names)())
    assert re.fullmatch(r"([a-z2-7]{8})+", fingerprint)
    assert len(fingerprint) == 8 * count <= 256


def test_more_fields_are_a_mistake_of_the_author() -> None:
    names: dict[str, Any] = {f"field_{each}": (str, "x") for each in range(33)}
    with pytest.raises(ValueError, match="Many has over 32 fields"):
        spec_fingerprint(create_model("Many", __base__=SpecModel, **names)())

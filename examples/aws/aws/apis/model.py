"""The base of all parts of the provider spec."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from cmi import SpecModel

SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]


def _unset(value: object) -> object:
    return None if value in ("", 0) and value is not False else value


Unset = BeforeValidator(_unset)
"""Treats an empty string or a zero like a missing field, because Go can't tell them apart."""


class AWSModel(SpecModel):
    """Reads JSON like Gardener's driver, which is written in Go.

    Field names may be in upper or lower case, and null counts as a missing field. Unlike in Go,
    unknown fields are refused.
    """

    @model_validator(mode="before")
    @classmethod
    def _as_go_reads_it(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        names = {str(field.alias).lower(): field.alias for field in cls.model_fields.values()}
        return {
            names.get(str(name).lower(), name): value
            for name, value in fields.items()
            if value is not None
        }

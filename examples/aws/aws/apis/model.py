"""What all parts of the provider spec have in common."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from cmi import SpecModel

SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]


def _unset(value: object) -> object:
    return None if value in ("", 0) and value is not False else value


Unset = BeforeValidator(_unset)
"""An empty text or a zero is as if the field was not there: Go can't tell the two apart."""


class AWSModel(SpecModel):
    """Reads JSON as Gardener's driver does, which is written in Go.

    The names of fields may be in upper or lower case, and null is as if the field was not there.
    Unlike there, a field that nobody knows is refused.
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

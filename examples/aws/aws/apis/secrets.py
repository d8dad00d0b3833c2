"""The data of the machine class's Secret, and of the one that `credentialsSecretRef` names.

MCM merges the two. The keys are Gardener's.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    Field,
    SecretBytes,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cmi import Credential, SecretsModel

CHECKED: Final = ("token", "accessKeyID", "secretAccessKey")
"""Keys that are checked even if the Secret does not have them."""

MAX_USER_DATA_BYTES: Final = 16 * 1024

ALIASES: Final = {
    "accessKeyId": "accessKeyID",
    "providerAccessKeyId": "accessKeyID",
    "providerSecretAccessKey": "secretAccessKey",
}
"""Other names of keys. If a Secret has several, the last one here wins, as in Gardener's driver."""

_can_be_sent = re.compile(r"[A-Za-z0-9/+=._-]{4,}").fullmatch


def _cleaned(secret: SecretStr) -> SecretStr:
    """Remove what files and editors put around a key.

    Characters that are not allowed in an HTTP header are refused here, because boto3's error
    message would quote the header.
    """
    text = secret.get_secret_value().strip("\ufeff \t\r\n")
    if not _can_be_sent(text):
        raise ValueError("contains spaces, quotes or other characters that are in no AWS key")
    return SecretStr(text)


Key = Annotated[Credential, AfterValidator(_cleaned)]


class Credentials(SecretsModel):
    """What every call needs (C49): an access key, or a role and a workload identity's token.

    Gardener keeps a fresh token in the Secret, so the file in `workloadIdentityTokenFile` is not
    read. Otherwise, anyone who can write Secrets could send away any file in the driver's Pod.
    """

    role_arn: str | None = Field(
        default=None, alias="roleARN", pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$"
    )
    token: Key | None = None
    access_key_id: Key | None = Field(default=None, alias="accessKeyID")
    secret_access_key: Key | None = None
    session_token: Key | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_one_name_for_each(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        aliased = {name: data[alias] for alias, name in ALIASES.items() if alias in data}
        return {**dict.fromkeys(CHECKED), **data, **aliased}

    @field_validator("token")
    @classmethod
    def _comes_with_the_role(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if key is None and info.data.get("role_arn"):
            raise ValueError("is missing, and roleARN needs it")
        return key

    @field_validator("access_key_id", "secret_access_key")
    @classmethod
    def _is_there(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if key is None and not info.data.get("role_arn"):
            raise ValueError("is missing")
        return key


class Secrets(Credentials):
    """What CreateMachine needs (C49)."""

    user_data: SecretBytes = Field(
        min_length=1, description="Joins the instance to the cluster; may be gzip or MIME"
    )

    @field_validator("user_data")
    @classmethod
    def _is_not_too_large(cls, user_data: SecretBytes) -> SecretBytes:
        size = len(user_data.get_secret_value())
        if size > MAX_USER_DATA_BYTES:
            raise ValueError(f"is {size} bytes, and EC2 takes {MAX_USER_DATA_BYTES}")
        return user_data

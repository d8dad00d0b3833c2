"""Clients of EC2: made from what a call's Secret holds, and kept for the calls that follow."""

import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from ssl import create_default_context
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from cmi import FailedPrecondition

from .api_requests import count_requests
from .apis.secrets import Credentials
from .errors import check_answer

if TYPE_CHECKING:
    from boto3 import Session as BotoSession
    from botocore.config import Config
    from pydantic import SecretStr
    from types_boto3_ec2 import EC2Client

MAX_CLIENTS: Final = 32
RENEWED_BEFORE: Final = timedelta(minutes=5)
"""How long before their end new keys take the place of those that STS has handed out."""

URL_VARIABLES: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_STS",
    "HTTPS_PROXY",
    "https_proxy",
)
BUNDLE_VARIABLES: Final = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""What boto3 reads from the environment and can't do without."""

# At debug level boto3 logs answers whole, and those of STS hold keys that no Secret holds.
logging.getLogger("botocore").setLevel(logging.INFO)


class Keys(NamedTuple):
    """What a request is signed with."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None


class Clients:
    """Clients of EC2, by keys and region.

    Making one takes time, so they are kept, and not too many. A key that is rotated takes effect
    at the next call.
    """

    def __init__(self) -> None:
        self._kept = lru_cache(MAX_CLIENTS)(self._new_client)
        self._assumed: dict[tuple[str, str], tuple[Keys, datetime]] = {}
        self._one_at_a_time = threading.Lock()

    def client(self, credentials: Credentials, region: str) -> "EC2Client":
        """Return the client for what a Secret holds, in a region."""
        keys = self._keys(credentials, region)
        with self._one_at_a_time:  # boto3 can't make two at once
            client: EC2Client = self._kept("ec2", region, keys)
        return client

    def _keys(self, credentials: Credentials, region: str) -> Keys:
        if credentials.role_arn:
            return self._of_role(credentials.role_arn, _text(credentials.token), region)
        return Keys(
            _text(credentials.access_key_id),
            _text(credentials.secret_access_key),
            _text(credentials.session_token) or None,
        )

    def _of_role(self, role: str, token: str, region: str) -> Keys:
        """Return the keys that STS hands out for a workload identity; they last for an hour."""
        now = datetime.now(UTC)
        kept = {each: pair for each, pair in self._assumed.items() if pair[1] > now}
        if (role, token) not in kept:
            with self._one_at_a_time:
                sts = self._kept("sts", region, None)
            answer = sts.assume_role_with_web_identity(
                RoleArn=role, RoleSessionName="machine-driver", WebIdentityToken=token
            )["Credentials"]
            keys = Keys(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
            kept[role, token] = keys, answer["Expiration"] - RENEWED_BEFORE
        self._assumed = kept
        return kept[role, token][0]

    def _new_client(self, service: str, region: str, keys: Keys | None) -> Any:
        client: Any = self._session.client(  # type: ignore[call-overload]
            service,
            region,
            aws_access_key_id=keys and keys.access_key_id,
            aws_secret_access_key=keys and keys.secret_access_key,
            aws_session_token=keys and keys.session_token,
            config=_config(is_signed=keys is not None),
        )
        client.meta.events.register("after-call", check_answer)
        count_requests(client.meta.events)
        return client

    @cached_property
    def _session(self) -> "BotoSession":
        """What all clients share: the description of EC2's API, which is large.

        No profile is read, whatever AWS_PROFILE and ~/.aws say: credentials come with each call.
        """
        from boto3 import Session as BotoSession  # takes time, which a start can do without
        from botocore.session import Session as BotocoreSession

        nothing = (None, None, os.devnull, None)
        session = BotocoreSession(
            {
                "profile": (None, None, None, None),
                "config_file": nothing,
                "credentials_file": nothing,
            }
        )
        return BotoSession(botocore_session=session)


def check_environment() -> None:
    """See whether boto3 can use the environment.

    Raises:
        FailedPrecondition: It can't; the message says what is wrong.
    """
    for name in URL_VARIABLES:
        url = urlsplit(os.environ.get(name, ""))
        if url.geturl() and not (url.scheme in ("http", "https") and url.hostname):
            raise FailedPrecondition(f"{name} is not a URL such as http://proxy.example:3128")
    for name in BUNDLE_VARIABLES:
        if path := os.environ.get(name):
            _check_bundle(name, Path(path))


def _check_bundle(name: str, path: Path) -> None:
    try:
        folder = path.is_dir()
        create_default_context(capath=path if folder else None, cafile=None if folder else path)
    except OSError as error:  # an SSLError is one
        raise FailedPrecondition(
            f"{name} names {path}, which holds no certificates that can be read: {error.strerror}"
        ) from None


def _text(secret: "SecretStr | None") -> str:
    return secret.get_secret_value() if secret else ""


def _config(*, is_signed: bool) -> "Config":
    """Return what bounds a call: to about 80 s, well within a machine call's deadline."""
    from botocore import UNSIGNED
    from botocore.config import Config

    return Config(
        connect_timeout=5,
        read_timeout=20,
        retries={"mode": "standard"},  # 3 attempts with back-off, or as AWS_MAX_ATTEMPTS says
        max_pool_connections=50,  # as many calls as MCM makes at once
        signature_version=None if is_signed else UNSIGNED,
    )

"""EC2 clients: created with the credentials in a call's Secret, and cached for later calls."""

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
MAX_CONNECTIONS: Final = 1000
"""As many as the driver runs calls at once. Any further one would be closed after its request."""
RENEWED_BEFORE: Final = timedelta(minutes=5)
"""How long before they expire STS's temporary keys are replaced."""

URL_VARIABLES: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_STS",
    "HTTPS_PROXY",
    "https_proxy",
)
BUNDLE_VARIABLES: Final = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""Variables that boto3 reads, and that break it if they are wrong."""

# At debug level, boto3 logs whole answers, and those of STS contain keys that are in no Secret.
logging.getLogger("botocore").setLevel(logging.INFO)


class Keys(NamedTuple):
    """The keys that sign a request."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None


class Clients:
    """EC2 clients, by keys and region.

    Creating a client takes time, so a limited number of them is cached. A rotated key takes
    effect with the next call.
    """

    def __init__(self) -> None:
        self._cached = lru_cache(MAX_CLIENTS)(self._new_client)
        self._assumed: dict[tuple[str, str], tuple[Keys, datetime]] = {}
        self._creating = threading.Lock()

    def client(self, credentials: Credentials, region: str) -> "EC2Client":
        """Return the client for a Secret's credentials and a region."""
        keys = self._keys(credentials, region)
        with self._creating:  # boto3 can't create two clients at the same time
            client: EC2Client = self._cached("ec2", region, keys)
        return client

    def _keys(self, credentials: Credentials, region: str) -> Keys:
        if credentials.role_arn:
            return self._keys_of_role(credentials.role_arn, _text(credentials.token), region)
        return Keys(
            _text(credentials.access_key_id),
            _text(credentials.secret_access_key),
            _text(credentials.session_token) or None,
        )

    def _keys_of_role(self, role: str, token: str, region: str) -> Keys:
        """Return the keys that STS issues for a workload identity; they last for an hour."""
        now = datetime.now(UTC)
        valid = {each: pair for each, pair in self._assumed.items() if pair[1] > now}
        if (role, token) not in valid:
            with self._creating:
                sts = self._cached("sts", region, None)
            answer = sts.assume_role_with_web_identity(
                RoleArn=role, RoleSessionName="machine-driver", WebIdentityToken=token
            )["Credentials"]
            keys = Keys(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
            valid[role, token] = keys, answer["Expiration"] - RENEWED_BEFORE
        self._assumed = valid
        return valid[role, token][0]

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
        """The session that all clients share, since the description of EC2's API is large.

        It reads no profile, whatever AWS_PROFILE and ~/.aws say: credentials come with each call.
        """
        from boto3 import Session as BotoSession  # slow to import, and not needed at the start
        from botocore.session import Session as BotocoreSession

        from . import descriptions

        nothing = (None, None, os.devnull, None)
        session = BotocoreSession(
            {
                "profile": (None, None, None, None),
                "config_file": nothing,
                "credentials_file": nothing,
            }
        )
        session.register_component("data_loader", descriptions.loader())
        return BotoSession(botocore_session=session)


def check_environment() -> None:
    """Check that boto3 can use the environment.

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
    """Return settings that limit a request to about 30 s, well within a machine call's deadline.

    One retry is enough, because the framework and MCM make calls again.
    """
    from botocore import UNSIGNED
    from botocore.config import Config

    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", "2"))
    return Config(
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=MAX_CONNECTIONS,
        signature_version=None if is_signed else UNSIGNED,
    )

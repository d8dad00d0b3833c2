"""Keeping secrets out of logs and statuses (C50).

Every call has a `Redactor` that knows the call's secret values. The log formatter and
the error path replace them by `***`, also where an SDK quotes them: in base64, percent-
encoded, escaped, or line by line. What a thread of the driver's own logs belongs to no call
and is searched for the secrets of all.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from urllib.parse import quote, quote_plus
from weakref import ref

from google.protobuf.message import Message
from pydantic import BaseModel, SecretBytes, SecretStr

from cmi.v1 import cmi_pb2

MASK = "***"
_SHORT = 4
"""Values below this many characters are masked as whole words only, or no text stays readable."""
_MIN_LINE = 8
"""Lines of a secret below this many characters are not looked for on their own."""


class Redactor:
    """Replaces the secret values of one call.

    It collects nothing until a text has to be scrubbed, so a call that logs nothing and
    fails nowhere pays nothing.
    """

    __slots__ = ("__weakref__", "_message", "_models", "_needles")

    def __init__(self, message: Message | None = None) -> None:
        self._message = message
        self._models: tuple[BaseModel, ...] = ()
        self._needles: list[str] | None = None
        if message is not None:
            _alive.add(ref(self, _alive.discard))

    def watch(self, *models: BaseModel) -> None:
        """Keep the secret-typed fields of `models` out of texts too."""
        self._models += models
        self._needles = None

    def scrub(self, text: str, shortest: int = 1) -> str:
        """Return `text` with the call's secret values replaced by `***`.

        Args:
            text: Any text.
            shortest: How many characters a value has at least to be looked for.
        """
        if self._needles is None:
            self._needles = self._collect()
        for needle in self._needles:
            if needle not in text or len(needle) < shortest:
                continue
            if len(needle) < _SHORT:
                text = re.sub(rf"(?<!\w){re.escape(needle)}(?!\w)", MASK, text)
            else:
                text = text.replace(needle, MASK)
        return text

    def _collect(self) -> list[str]:
        values = set(secret_fields(self._message)) if self._message is not None else set()
        for model in self._models:
            values.update(_secret_values(model))
        needles = {form for value in values if value.strip() for form in _forms(value)}
        return sorted(needles, key=len, reverse=True)


_alive: set[ref[Redactor]] = set()
"""The redactors of all calls in flight: by C code alone, so that threads may come and go."""

current: ContextVar[Redactor | None] = ContextVar("current", default=None)
"""The redactor of the call that is being served; threads of the pool inherit it."""


def scrub(text: str) -> str:
    """Return `text` without the secrets of the current call.

    Outside of calls, those of all calls in flight are looked for.
    """
    return scrubber()(text)


def scrubber() -> Callable[[str], str]:
    """Return what does as `scrub` for all texts of one record."""
    redactor = current.get()
    return _scrub_of_all if redactor is None else redactor.scrub


def _scrub_of_all(text: str) -> str:
    for reference in _alive.copy():  # whatever other threads do meanwhile
        if (other := reference()) is not None:
            text = other.scrub(text, _SHORT)  # a shorter one is likely no secret there
    return text


def secret_fields(message: Message) -> Iterator[bytes]:
    """Yield the values of all fields of `message` that carry the option `cmi_secret`."""
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[cmi_pb2.cmi_secret]:
            yield from value.values()


def _secret_values(value: object) -> Iterator[bytes]:
    """Yield the plain values of all `SecretStr` and `SecretBytes` within a model."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value().encode(errors="surrogatepass")
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _secret_values([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, dict):
        yield from _secret_values(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            yield from _secret_values(item)


def _forms(value: bytes) -> Iterator[str]:
    """Yield the forms in which a secret shows up in the texts of SDKs."""
    yield base64.b64encode(value).decode()
    yield base64.urlsafe_b64encode(value).decode()
    yield repr(value)[2:-1]
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    lines = (line.strip() for line in text.splitlines())
    for plain in {text, text.strip(), *(line for line in lines if len(line) >= _MIN_LINE)}:
        yield from (plain, repr(plain)[1:-1], json.dumps(plain)[1:-1])
        yield json.dumps(plain, ensure_ascii=False)[1:-1]
        yield from (quote(plain), quote(plain, safe=""), quote_plus(plain))

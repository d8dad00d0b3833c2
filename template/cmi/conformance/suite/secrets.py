"""C48 to C50: secrets."""

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from cmi.conformance import specs
from cmi.conformance.kit import Kit
from cmi.conformance.suite.errors import Provoke, provoking
from cmi.serving.logs import LogFormat, LogLevel, formatter

_LONG_ENOUGH = 6


def test_C48_malformed_key(kit: Kit) -> None:
    for key in ("with space", "with/slash", "ключ"):
        secrets = {**kit.mine.secrets, key: b"value"}
        outcome = kit.create(kit.name(), specs.with_secrets(kit.mine, secrets))
        outcome.refused("INVALID_ARGUMENT")


def test_C49_missing_keys_are_named(kit: Kit) -> None:
    for key in kit.mine.secrets:
        rest = {each: value for each, value in kit.mine.secrets.items() if each != key}
        outcome = kit.create(kit.name(), specs.with_secrets(kit.mine, rest))
        if outcome.response is None:
            outcome.refused("INVALID_ARGUMENT", "UNAUTHENTICATED", naming=key)


@provoking
def test_C50_statuses(kit: Kit, provoke: Provoke) -> None:
    assert not _found(kit, provoke(kit).message)


def test_C50_statuses_with_wrong_credentials(kit: Kit) -> None:
    canary = b"canary-7f3a9c-credential"
    wrong = dict.fromkeys(kit.mine.secrets, canary)
    outcome = kit.create(kit.name(), specs.with_secrets(kit.mine, wrong))
    assert canary.decode() not in outcome.message
    assert base64.b64encode(canary).decode() not in outcome.message


def test_C50_log(kit: Kit) -> None:
    """At debug level, through success, refusals, and errors of an SDK that quote its request."""
    backstage = kit.backstage("the log")
    with _log() as lines:
        name, _ = kit.make()
        kit.delete(name).ok()
        kit.create(kit.name(), specs.with_fields(kit.mine, {}))
        for failure in backstage.failures.values():
            with failure():
                assert not _found(kit, kit.create(kit.name()).message)
    assert lines, "nothing was logged"
    assert not _found(kit, "\n".join(lines))


def _found(kit: Kit, text: str) -> list[str]:
    """Return the keys of the secrets whose values are in a text, plain or in base64."""
    return [
        key
        for key, value in kit.mine.secrets.items()
        if len(value) >= _LONG_ENOUGH
        and any(
            form in text
            for form in (value.decode(errors="replace").strip(), base64.b64encode(value).decode())
        )
    ]


@contextmanager
def _log() -> Iterator[list[str]]:
    """Collect what the driver would write, at debug level."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    collector = Collector()
    collector.setFormatter(formatter(LogFormat.JSON))
    root = logging.getLogger()
    before = root.level
    root.addHandler(collector)
    root.setLevel(LogLevel.DEBUG.upper())
    try:
        yield lines
    finally:
        root.removeHandler(collector)
        root.setLevel(before)

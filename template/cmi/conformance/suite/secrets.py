"""C48 to C50: secrets."""

import base64

from cmi.conformance import specs
from cmi.conformance.kit import Kit
from cmi.conformance.suite.errors import Provoke, provoking

__all__ = [
    "test_C48_malformed_key",
    "test_C49_missing_keys_are_named",
    "test_C50_log",
    "test_C50_statuses",
    "test_C50_statuses_with_wrong_credentials",
]

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
    _is_clean(kit, provoke(kit).message)


def test_C50_statuses_with_wrong_credentials(kit: Kit) -> None:
    canary = b"canary-7f3a9c-credential"
    wrong = dict.fromkeys(kit.mine.secrets, canary)
    message = kit.create(kit.name(), specs.with_secrets(kit.mine, wrong)).message
    for form in (canary, base64.b64encode(canary)):
        kit.check(form.decode() not in message, "a message contains the credentials of its call")


def test_C50_log(kit: Kit) -> None:
    """This covers debug level, success, refusals, and errors of an SDK that quote its request."""
    log = kit.hook(lambda it: it.log, "the log")
    with log() as lines:
        name, _ = kit.make()
        kit.delete(name).ok()
        kit.create(kit.name(), specs.with_fields(kit.mine, {}))
        for failure in kit.backstage("the log").failures.values():
            with failure():
                _is_clean(kit, kit.create(kit.name(), once=True).message)
    kit.check(lines, "nothing was logged, so the backstage does not see the log")
    _is_clean(kit, "\n".join(lines))


def _is_clean(kit: Kit, text: str) -> None:
    """Fail the test if a text contains the value of a secret, plain or in base64."""
    found = [
        key
        for key, value in kit.mine.secrets.items()
        if len(value) >= _LONG_ENOUGH
        and any(
            form in text
            for form in (value.decode(errors="replace").strip(), base64.b64encode(value).decode())
        )
    ]
    kit.check(not found, f"a message or the log contains the value of {' and '.join(found)}")

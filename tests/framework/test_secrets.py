"""No status or log contains the value of a secret in any form, whoever writes it (C50)."""

import base64
import contextvars
import html
import json
import logging
import threading
import time
import xml.sax.saxutils
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import grpc
import pytest
from pydantic import SecretStr, model_validator

from cmi import CreateMachineRequest, CreateMachineResponse, NotFound, SpecModel
from cmi.endpoint import Endpoint
from cmi.redaction import Redactor, Sources
from cmi.serving.options import ServerOptions
from cmi.testing import serving
from tests.framework.conftest import LogFile, LogLines
from tests.framework.support import (
    BOTH,
    SPEC,
    Action,
    AsyncStandIn,
    Gate,
    Keys,
    Spec,
    StandIn,
    ask,
    created,
    give_up,
    raising,
    request,
)
from tests.support import PATIENCE, await_condition, bytes_rpc

log = logging.getLogger("acme.sdk")

CANARIES = {
    "word": "correct-horse-battery",
    "with specials": "p&ss/w+rd=%41 ?#:@",
    "with quotes": """it's "quoted" \\ twice""",
    "not ASCII": "pässwörd☃\"x'",
    "with a tab and two spaces": "left\tmiddle  right",
    "binary": "nul\x00bell\x07escape\x1b[0m",
    "lines": "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7\nq+/9abcdefgh==\n-----END KEY-----\n",
    "short lines": "ab c\ndef g\nhi",
    "line ends": "  canary-with-space-around \r\n",
    "four": "s3cr",
}

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "stripped": str.strip,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "urlsafe base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "percent": quote,
    "percent, all": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "repr of a container": lambda text: repr({"token": text}),
    "JSON": json.dumps,
    "JSON, not ASCII": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON of Go": lambda text: json.dumps(text).replace("&", "\\u0026").replace("<", "\\u003c"),
    "unpadded base64": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "base64 in lines, escaped": lambda text: repr(base64.encodebytes(text.encode()).decode()),
    "base64, percent": lambda text: quote(base64.b64encode(text.encode()), safe=""),
    "HTTP Basic": lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
    "HTTP Basic, user of 5": lambda text: base64.b64encode(f"admin:{text}".encode()).decode(),
    "HTTP Basic, user of 6": lambda text: base64.b64encode(f"robert:{text}".encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "upper hex": lambda text: text.encode().hex().upper(),
    "HTML": html.escape,
    "XML": xml.sax.saxutils.escape,
    "XML attribute": lambda text: html.escape(text).replace("&#x27;", "&apos;"),
}


def secrets_of(canary: str) -> dict[str, bytes]:
    return {"apiToken": b"another-token", "userData": canary.encode()}


def answer(create: Action, canary: str, kind: type[StandIn | AsyncStandIn] = StandIn) -> str:
    with serving(kind(create)) as endpoint:
        message = request("CreateMachine", Secrets=secrets_of(canary))
        return ask(endpoint, "CreateMachine", message).message


def shows(text: str, canary: str) -> bool:
    """Return whether `text` contains the canary or a part of it, in any form."""
    parts = [canary, *canary.split(), *canary.splitlines()]
    parts = [part for part in parts if len(part) >= 4]
    return any(form(part).strip("\"'b{}") in text for part in parts for form in FORMS.values())


def logging_and(act: Action, write: Callable[[], None]) -> Action:
    def method(received: Any) -> CreateMachineResponse:
        write()
        result: CreateMachineResponse = act(received)
        return result

    return method


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_status_shows_no_secret(canary: str, form: Callable[[str], str]) -> None:
    text = form(canary)
    message = answer(raising(NotFound(f"before {text} after")), canary)
    assert message == "before *** after" or not shows(message, canary), message
    assert message.startswith("before ")
    assert message.endswith(" after")
    assert "***" in message


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_a_secret_is_not_cut_into_what_can_not_be_found_any_more(canary: str) -> None:
    for padding in range(1024 - len(canary.encode()), 1024, 3):
        message = answer(raising(NotFound("x" * padding + " " + canary)), canary)
        assert not shows(message, canary)


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
@pytest.mark.parametrize("kind", BOTH)
def test_the_log_shows_no_secret(
    canary: str, kind: type[StandIn | AsyncStandIn], log_stream: LogFile, log_lines: LogLines
) -> None:
    def write() -> None:
        for form in FORMS.values():
            log.debug("sent %s", form(canary))
        log.warning("as a field", extra={"fields": {"token": canary, "more": [canary]}})
        log.error("with a stack", exc_info=ValueError(canary), stack_info=True)

    message = answer(logging_and(raising(KeyError(canary)), write), canary, kind)
    assert not shows(message, canary)
    assert not shows(log_stream.getvalue(), canary)
    texts = [value for line in log_lines() for value in line.values() if isinstance(value, str)]
    assert not any(shows(text, canary) for text in texts)
    assert sum("***" in text for text in texts) >= len(FORMS) + 2


@pytest.mark.parametrize("secret", ["x", "42", "key"])
def test_a_short_secret_is_masked_as_a_word_and_leaves_the_rest_readable(secret: str) -> None:
    text = f"login with {secret} failed: next 4242 keys ({secret})"
    message = answer(raising(NotFound(text)), secret)
    assert message == "login with *** failed: next 4242 keys (***)"


@pytest.mark.parametrize("secret", ["", " ", "\n"])
def test_an_empty_secret_masks_nothing(secret: str) -> None:
    assert answer(raising(NotFound("as it is")), secret) == "as it is"


def test_secrets_that_the_driver_does_not_declare_are_kept_too() -> None:
    secrets = {"apiToken": b"t0ken", "undeclared": b"undeclared-canary"}
    with serving(StandIn(raising(NotFound("saw undeclared-canary")))) as endpoint:
        message = ask(endpoint, "CreateMachine", request("CreateMachine", Secrets=secrets)).message
    assert message == "saw ***"


def test_secrets_of_a_request_that_is_refused_are_kept() -> None:
    secrets = {"apiToken": b"", "other": b"my-canary"}
    spec = {**SPEC, "my-canary": 1}
    with serving(StandIn()) as endpoint:
        wire = request("CreateMachine", Secrets=secrets, ProviderSpec=json.dumps(spec).encode())
        message = ask(endpoint, "CreateMachine", wire).message
    assert "my-canary" not in message
    assert "apiToken" in message


def test_a_secret_field_of_the_provider_spec_is_kept() -> None:
    spec = json.dumps({**SPEC, "login": "spec-canary"}).encode()
    with serving(StandIn(raising(NotFound("login spec-canary refused")))) as endpoint:
        message = ask(
            endpoint, "CreateMachine", request("CreateMachine", ProviderSpec=spec)
        ).message
    assert message == "login *** refused"


def test_a_value_of_the_wrong_type_is_not_quoted() -> None:
    spec = json.dumps({**SPEC, "login": ["spec-canary"], "region": {"a": "spec-canary"}}).encode()
    with serving(StandIn()) as endpoint:
        message = ask(
            endpoint, "CreateMachine", request("CreateMachine", ProviderSpec=spec)
        ).message
    assert "providerSpec.login" in message
    assert "spec-canary" not in message


def test_words_of_calls_that_have_ended_are_not_masked() -> None:
    """While a call runs, and for a few seconds more, its words are masked for all calls."""
    with serving(StandIn(raising(NotFound("alpha beta")))) as endpoint:
        for word, message in (("alpha", "*** beta"), ("beta", "alpha ***")):
            wire = request("CreateMachine", Secrets=secrets_of(word))
            end = time.monotonic() + PATIENCE
            while ask(endpoint, "CreateMachine", wire).message != message:
                assert time.monotonic() < end


def test_a_record_made_in_another_calls_context_shows_no_secret(
    gate: Gate, log_stream: LogFile
) -> None:
    """For example, the task of a shared client runs in the context of the first call."""
    contexts: list[contextvars.Context] = []

    def create(received: Any) -> CreateMachineResponse:
        contexts.append(contextvars.copy_context())
        if received.machine_name == "second":
            contexts[0].run(log.warning, "refreshed with second-canary, not first-canary")
        return created(received)

    with serving(StandIn(create)) as endpoint:
        for name, secret in (("first", "first-canary"), ("second", "second-canary")):
            wire = request("CreateMachine", MachineName=name, Secrets=secrets_of(secret))
            assert ask(endpoint, "CreateMachine", wire).code == "OK"
    assert "refreshed with ***, not ***" in log_stream.getvalue()
    assert "canary" not in log_stream.getvalue()


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7q+9\n-----END PRIVATE KEY-----\n"
DOCUMENTS = {
    "JSON": json.dumps({"project": "p1", "private_key": PRIVATE_KEY, "client_secret": "s3same"}),
    "indented JSON": json.dumps({"a": {"private_key": PRIVATE_KEY}, "token": "s3same"}, indent=1),
    "YAML": f"auth:\n  project: p1\n  password: s3same\n  private_key: {json.dumps(PRIVATE_KEY)}\n",
    "shell": f"export PROJECT=p1\nCLOUD_TOKEN='s3same'\nPRIVATE_KEY={json.dumps(PRIVATE_KEY)}\n",
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("text", [PRIVATE_KEY, "s3same", "MIIEpAIBAAKCAQEA7q+9"])
def test_a_part_of_a_secret_document_is_a_secret(document: str, text: str) -> None:
    message = answer(raising(NotFound(f"p1 refused {text}")), document)
    assert text.split("\n", maxsplit=1)[0] not in message
    assert message.startswith("p1 refused ***")


@pytest.mark.parametrize("canary", ["0123456789abcdef-canary", PRIVATE_KEY, "x" * 5000])
def test_the_beginning_of_a_secret_is_a_secret(canary: str) -> None:
    """An SDK may quote only the beginning of a value."""
    for size in (16, 20, max(16, len(canary) // 2)):
        message = answer(raising(NotFound(f"sent {canary[:size]}… and failed")), canary)
        assert message == "sent ***… and failed"


def test_names_and_keys_show_no_secret(log_stream: LogFile, log_lines: LogLines) -> None:
    secret = "canary-of-a-name"

    def create(received: Any) -> CreateMachineResponse:
        logging.getLogger(f"sdk.{secret}").warning("x", extra={"fields": {secret: 1}})
        return CreateMachineResponse(provider_id=f"x:///{secret}", node_name="n1")

    with serving(StandIn(create)) as endpoint:
        wire = request("CreateMachine", MachineName=f"m-{secret}", Secrets=secrets_of(secret))
        assert ask(endpoint, "CreateMachine", wire).code == "OK"
    assert secret not in log_stream.getvalue()
    assert [line["machine"] for line in log_lines() if "machine" in line] == ["m-***"]
    assert [line["provider_id"] for line in log_lines() if "machine" in line] == ["x:///***"]
    assert [line["logger"] for line in log_lines() if "***" in line] == ["sdk.***"]


class StrictSpec(Spec):
    code: SecretStr | None = None
    codes: dict[str, list[SecretStr]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, data: Any) -> Any:
        if quoted := data.get("code") or data.get("codes"):
            raise ValueError(f"unknown code {quoted}")
        return data


class Strict(StandIn):
    def create_machine(  # type: ignore[override]
        self, request: CreateMachineRequest[StrictSpec, Keys]
    ) -> CreateMachineResponse:
        name = request.machine_name
        return CreateMachineResponse(provider_id=name, node_name=name)


@pytest.mark.parametrize("rpc", ["CreateMachine", "GetMachineStatus"])
@pytest.mark.parametrize(
    "fields",
    [{"code": "spec-canary"}, {"codes": {"a": ["spec-canary"]}}, {"code": {"x": "spec-canary"}}],
)
def test_a_secret_that_a_validator_quotes_is_kept(
    fields: dict[str, object], rpc: str, log_stream: LogFile
) -> None:
    """This includes calls whose errors say what CreateMachine would refuse."""
    spec = json.dumps({**SPEC, **fields}).encode()
    with serving(Strict()) as endpoint:
        answer = ask(endpoint, rpc, request(rpc, ProviderSpec=spec, MachineName=""))
    assert answer.code == "INVALID_ARGUMENT"
    assert "unknown code" in answer.message
    assert "***" in answer.message
    assert "canary" not in answer.message + log_stream.getvalue()


class Tree(SpecModel):
    children: "dict[str, Tree] | list[Tree] | list[list[Tree]] | None" = None
    code: SecretStr | None = None


class TreeSpec(Spec):
    tree: Tree


class Forester(StandIn):
    def create_machine(  # type: ignore[override]
        self, request: CreateMachineRequest[TreeSpec, Keys]
    ) -> CreateMachineResponse:
        raise NotFound("no spec-canary")


def test_a_secret_deep_in_a_spec_is_found_at_once() -> None:
    """This holds even if each level of the spec matches its type in several ways."""
    tree: dict[str, Any] = {"code": "spec-canary"}
    for _ in range(60):
        tree = {"children": [tree]}
    wire = request("CreateMachine", ProviderSpec=json.dumps({**SPEC, "tree": tree}).encode())
    with serving(Forester()) as endpoint:
        assert ask(endpoint, "CreateMachine", wire).message == "no ***"


def test_more_secrets_than_can_be_looked_for_hide_all_until_their_call_has_ended() -> None:
    many = {f"k{number}": b"%05d" % number for number in range(20_000)}
    with serving(StandIn(raising(NotFound("no 19999 there")))) as endpoint:
        wire = request("CreateMachine", Secrets=many | secrets_of("canary"))
        assert ask(endpoint, "CreateMachine", wire).message == "***"

        def is_readable() -> bool:
            answer = ask(endpoint, "CreateMachine", request("CreateMachine"))
            return answer.message == "no 19999 there"

        await_condition(is_readable)


@pytest.mark.parametrize(
    ("others", "secret", "text", "meanwhile"),
    [
        ([b"%05d" % number for number in range(10_000)], b"canary", "a canary", "***"),
        (
            [b"\n".join(b"%03d-%04d-line" % (each, n) for n in range(2000)) for each in range(26)],
            b"the first line\nthe canary's line",
            "a the canary's line",
            "a the canary's line",
        ),
    ],
    ids=["the secret", "its lines"],
)
def test_what_had_no_room_is_looked_for_once_there_is_some(
    others: list[bytes], secret: bytes, text: str, meanwhile: str
) -> None:
    """This holds even if the secret is always in use, as the credentials of a cloud are."""
    flood = Sources(plain=others)
    redactor = Redactor()
    redactor.add(flood)
    assert redactor.scrub("nothing") == "nothing"
    redactor.add(Sources(plain=[secret]))
    assert redactor.scrub(text) == meanwhile
    redactor.forget(flood)
    await_condition(lambda: redactor.scrub(text) == "a ***")


def test_secrets_that_begin_alike_are_not_compared_for_ever() -> None:
    """Text that can't be searched in a limited time is masked."""
    lines = "".join(f"AAAAAAAA{number}\n" for number in range(2000)).encode()
    redactor = Redactor()
    redactor.add(Sources(plain=[lines], size=len(lines)))
    assert redactor.scrub("at AAAAAAAA7 and more") == "at *** and more"
    assert redactor.scrub("at " + "AAAAAAAA " * 1000 + "the end").endswith(" ***")


def test_a_secret_in_a_path_is_never_cut(log_stream: LogFile) -> None:
    for size in range(60, 140):
        secret = "canary" + "x" * size
        spec = json.dumps({**SPEC, "disks": [{secret: 1}]}).encode()
        wire = request("CreateMachine", ProviderSpec=spec, Secrets=secrets_of(secret))
        with serving(StandIn()) as endpoint:
            assert "canary" not in ask(endpoint, "CreateMachine", wire).message
    assert "canary" not in log_stream.getvalue()


def test_a_caller_that_vanishes_as_its_status_is_sent_leaves_no_secret(log_stream: LogFile) -> None:
    """If gRPC can no longer send an abort, it logs it together with the exception being handled."""
    secret = "canary-of-a-hurry"
    wire = request("CreateMachine", Secrets=secrets_of(secret)).SerializeToString()
    with (
        serving(StandIn(raising(LookupError(secret)))) as endpoint,
        grpc.insecure_channel(endpoint.target) as channel,
    ):
        create = bytes_rpc(channel, "/cmi.v1.Machine/CreateMachine")
        for number in range(400):
            call = create.future(wire, timeout=PATIENCE, wait_for_ready=True)
            time.sleep(number % 40 / 10_000)
            call.cancel()
        ask(endpoint, "ListMachines", request("ListMachines"))
    assert secret not in log_stream.getvalue()


def test_a_thread_that_outlives_its_call_still_logs_no_secret(
    gate: Gate, log_stream: LogFile, log_lines: LogLines
) -> None:
    written = threading.Event()

    def create(received: Any) -> CreateMachineResponse:
        result = gate(received)
        log.info("at last, with late-canary")
        written.set()
        return result

    secrets = secrets_of("late-canary")
    options = ServerOptions(
        endpoint=Endpoint.parse("tcp://127.0.0.1:0"), call_timeout=0.05, grace_period=1
    )
    with serving(StandIn(create), options) as endpoint:
        wire = request("CreateMachine", Secrets=secrets)
        give_up(endpoint, wire, gate.has_entered)
        gate.opened.set()
        assert written.wait(PATIENCE)
    assert "late-canary" not in log_stream.getvalue()
    assert "at last, with ***" in [line["message"] for line in log_lines()]


def test_a_thread_of_the_drivers_own_logs_no_secret(log_stream: LogFile) -> None:
    def helper() -> None:
        log.info("helper with %s", "thread-canary")
        raise RuntimeError("failed with thread-canary")

    def create(received: Any) -> CreateMachineResponse:
        thread = threading.Thread(target=helper)
        thread.start()
        thread.join()
        return created(received)

    answer(create, "thread-canary")
    assert "helper with ***" in log_stream.getvalue()
    assert "failed with ***" in log_stream.getvalue()
    assert "thread-canary" not in log_stream.getvalue()


def test_a_malformed_log_call_shows_no_secret(
    log_stream: LogFile, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        log.info("two %s %s", "odd-canary")  # noqa: PLE1206 - on purpose
        log.info("%d", "odd-canary")

    answer(logging_and(created, write), "odd-canary")
    assert "odd-canary" not in log_stream.getvalue() + capsys.readouterr().err
    assert log_stream.getvalue().count("***") == 2

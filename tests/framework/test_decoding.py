"""Requests that are refused before a method is called, and how the error names the mistakes."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import grpc
import pytest
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from cmi import (
    CreateMachineRequest,
    CreateMachineResponse,
    Credential,
    DeleteMachineRequest,
    DeleteMachineResponse,
    ProviderIdFormat,
    SecretsModel,
    TaggedScope,
)
from cmi.client import Client
from cmi.endpoint import Endpoint
from cmi.testing import serving
from tests.framework.conftest import LogLines
from tests.framework.support import (
    IDENTITY_RPCS,
    MACHINE_RPCS,
    SECRETS,
    SPEC,
    TAGS,
    Keys,
    Scope,
    StandIn,
    ask,
    created,
    machine_class,
    request,
)
from tests.support import PATIENCE, bytes_rpc

WITH_WHOLE_SPEC = ("CreateMachine", "InitializeMachine")
NAMED = [rpc for rpc in MACHINE_RPCS if rpc != "ListMachines"]
WITH_STATE = ["CreateMachine", "DeleteMachine", "ShutDownMachine"]
WITH_ID = ["DeleteMachine", "GetMachineStatus", "ShutDownMachine"]


@pytest.fixture(scope="module")
def driver() -> StandIn:
    return StandIn()


@pytest.fixture(scope="module")
def endpoint(driver: StandIn) -> Iterator[Endpoint]:
    with serving(driver) as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def no_requests_yet(driver: StandIn) -> None:
    driver.requests.clear()


def refused(endpoint: Endpoint, rpc: str, code: str = "INVALID_ARGUMENT", **fields: Any) -> str:
    answer = ask(endpoint, rpc, request(rpc, **fields))
    assert answer.code == code, answer
    assert "\n" not in answer.message
    return answer.message


def spec(**fields: Any) -> bytes:
    return json.dumps({**SPEC, **fields}).encode()


@pytest.mark.parametrize("rpc", MACHINE_RPCS)
def test_a_valid_request_arrives_typed(endpoint: Endpoint, driver: StandIn, rpc: str) -> None:
    fields = {"ProviderID": "standin:///m1", "LastKnownState": "größe".encode()}
    assert ask(endpoint, rpc, request(rpc, **fields)).code == "OK"
    (received,) = driver.requests
    assert type(received).__name__ == f"{rpc}Request"
    assert (received.provider_spec.cluster, received.provider_spec.role) == ("one", "node")
    assert received.provider_spec.region == "north"
    assert received.secrets.api_token.get_secret_value() == "correct-horse"
    if rpc in NAMED:
        assert received.machine_name == "m1"
    if rpc in WITH_ID:
        assert received.provider_id == "standin:///m1"
    if rpc in WITH_STATE:
        assert received.last_known_state == "größe"


def test_the_last_known_state_goes_round(endpoint: Endpoint) -> None:
    with Client(endpoint) as client:
        for call in (client.create, client.shut_down, client.delete):
            answer = call(machine_class(), "m1", last_known_state="größe")
            assert answer.LastKnownState.decode() == "größe"


@pytest.mark.parametrize("rpc", MACHINE_RPCS)
def test_all_offending_fields_are_named_at_once(
    endpoint: Endpoint, driver: StandIn, rpc: str
) -> None:
    message = refused(
        endpoint,
        rpc,
        MachineName="",
        ProviderID="x" * 129,
        ProviderSpec=b'{"tags": {}}',
        Secrets={"bad key": b""},
        LastKnownState=b"\xff",
    )
    expected = {"providerSpec.tags", "providerSpec.region", "secrets['bad key']", "apiToken"}
    expected |= {"machineName"} if rpc in NAMED else set()
    expected |= {"providerID"} if rpc in WITH_ID else set()
    expected |= {"lastKnownState"} if rpc in WITH_STATE else set()
    assert {path for path in expected if path not in message} == set()
    assert driver.requests == []


@pytest.mark.parametrize(
    ("wire", "mentioned"),
    [
        pytest.param(b"", ["providerSpec: ", "empty"], id="empty"),
        pytest.param(b" \n", ["providerSpec: ", "empty"], id="blank"),
        pytest.param(b"{", ["providerSpec: ", "JSON"], id="cut short"),
        pytest.param(b"region: north", ["providerSpec: ", "JSON"], id="YAML"),
        pytest.param(b"\xff\xfe", ["providerSpec: ", "JSON"], id="binary"),
        pytest.param(b"[" * 100_000, ["providerSpec: "], id="deeply nested"),
        pytest.param(b"null", ["providerSpec: ", "object"], id="null"),
        pytest.param(b"[]", ["providerSpec: ", "object"], id="list"),
        pytest.param(b'"{}"', ["providerSpec: ", "object"], id="string"),
        pytest.param(b"{}", ["providerSpec.tags: is missing", "providerSpec.region"], id="{}"),
        pytest.param(spec(region=None), ["providerSpec.region: "], id="null field"),
        pytest.param(spec(region=7), ["providerSpec.region: "], id="type"),
        pytest.param(spec(regoin="x"), ["providerSpec.regoin: ", "spelling"], id="typo"),
        pytest.param(spec(tags=[]), ["providerSpec.tags: "], id="tags are a list"),
        pytest.param(spec(tags=TAGS | {"a.b/c": 1}), ["providerSpec.tags['a.b/c']: "], id="tag"),
        pytest.param(
            spec(tags={"kubernetes.io/role/node": "1"}),
            ["providerSpec.tags: ", "kubernetes.io/cluster/<id>"],
            id="no cluster",
        ),
        pytest.param(
            spec(tags={"kubernetes.io/cluster/one": "1"}),
            ["providerSpec.tags: ", "kubernetes.io/role/<role>"],
            id="no role",
        ),
        pytest.param(
            spec(tags={"kubernetes.io/cluster/": "1", "kubernetes.io/role/node": "1"}),
            ["providerSpec.tags: ", "kubernetes.io/cluster/<id>"],
            id="cluster without an ID",
        ),
        pytest.param(
            spec(tags=TAGS | {"kubernetes.io/cluster/two": "1"}),
            ["providerSpec.tags: ", "has 2"],
            id="two clusters",
        ),
        pytest.param(
            spec(disks=[{"sizeGiB": 1}, {"sizeGiB": "20"}, {"sizeGiB": 0}, {}, 5]),
            [
                "providerSpec.disks[1].sizeGiB: ",
                "providerSpec.disks[2].sizeGiB: ",
                "providerSpec.disks[3].sizeGiB: is missing",
                "providerSpec.disks[4]: ",
            ],
            id="disks",
        ),
        pytest.param(spec(disks=[{"size_gib": 1}]), ["providerSpec.disks[0].sizeGiB"], id="snake"),
    ],
)
def test_a_provider_spec_is_refused_by_path(
    endpoint: Endpoint, wire: bytes, mentioned: list[str]
) -> None:
    message = refused(endpoint, "CreateMachine", ProviderSpec=wire)
    assert [text for text in mentioned if text not in message] == [], message


@pytest.mark.parametrize("rpc", [rpc for rpc in MACHINE_RPCS if rpc not in WITH_WHOLE_SPEC])
def test_what_only_create_needs_never_blocks_the_other_calls(endpoint: Endpoint, rpc: str) -> None:
    wire = spec(disks="none", login=5, unknown=True)
    assert ask(endpoint, rpc, request(rpc, ProviderSpec=wire)).code == "OK"


@pytest.mark.parametrize("rpc", [rpc for rpc in MACHINE_RPCS if rpc not in WITH_WHOLE_SPEC])
@pytest.mark.parametrize(
    ("fields", "secrets", "code"),
    [
        pytest.param({"tags": {}}, {}, "INVALID_ARGUMENT", id="no scope"),
        pytest.param({}, {"apiToken": b""}, "UNAUTHENTICATED", id="no credentials"),
    ],
)
def test_a_call_that_is_refused_names_all_that_create_needs(
    endpoint: Endpoint, rpc: str, fields: Any, secrets: Any, code: str
) -> None:
    """The error names each problem once, whichever RPC is called first."""
    wire = spec(**{"disks": "none", "login": 5, "unknown": True} | fields)
    message = refused(
        endpoint, rpc, code, ProviderSpec=wire, Secrets=secrets | {"userData": b"\xff"}
    )
    paths = [f"providerSpec.{name}: " for name in ("disks", "login", "unknown", *fields)]
    paths += ["secrets.apiToken: ", "secrets.userData: "]
    assert [path for path in paths if message.count(path) != 1] == [], message


@pytest.mark.parametrize(
    ("secrets", "code", "mentioned"),
    [
        ({}, "UNAUTHENTICATED", "secrets.apiToken: is missing"),
        ({"apiToken": b""}, "UNAUTHENTICATED", "secrets.apiToken: is empty"),
        ({"apiToken": b"\xff"}, "UNAUTHENTICATED", "secrets.apiToken: is not UTF-8"),
        ({"api_token": b"x"}, "UNAUTHENTICATED", "secrets.apiToken: is missing"),
        (SECRETS | {"userData": b"\xff"}, "INVALID_ARGUMENT", "secrets.userData: is not UTF-8"),
        (SECRETS | {"a b": b"x"}, "INVALID_ARGUMENT", "secrets['a b']"),
        (SECRETS | {"": b"x"}, "INVALID_ARGUMENT", "secrets['']"),
        (SECRETS | {"ключ": b"x"}, "INVALID_ARGUMENT", "secrets"),
        (SECRETS | {"k\n": b"x"}, "INVALID_ARGUMENT", "secrets"),
        (SECRETS | {"._-Az09": b"\xff"}, "OK", ""),
        ({"a b": b"x"}, "UNAUTHENTICATED", "secrets.apiToken"),
    ],
)
def test_secrets_are_refused_by_key(
    endpoint: Endpoint, secrets: dict[str, bytes], code: str, mentioned: str
) -> None:
    answer = ask(endpoint, "CreateMachine", request("CreateMachine", Secrets=secrets))
    assert answer.code == code
    assert mentioned in answer.message


def test_an_invalid_spec_counts_more_than_a_missing_credential(endpoint: Endpoint) -> None:
    message = refused(endpoint, "CreateMachine", ProviderSpec=b"{}", Secrets={})
    assert "secrets.apiToken" in message


@pytest.mark.parametrize("name", ["x" * 128, "ä" * 64, "x"])
@pytest.mark.parametrize("rpc", NAMED)
def test_names_up_to_128_bytes_are_taken(endpoint: Endpoint, rpc: str, name: str) -> None:
    assert ask(endpoint, rpc, request(rpc, MachineName=name)).code == "OK"


@pytest.mark.parametrize("name", ["", "x" * 129, "ä" * 65])
@pytest.mark.parametrize("rpc", NAMED)
def test_other_names_are_refused(endpoint: Endpoint, rpc: str, name: str) -> None:
    assert "machineName" in refused(endpoint, rpc, MachineName=name)


@pytest.mark.parametrize("rpc", WITH_ID)
def test_a_provider_id_of_more_than_128_bytes_is_refused(endpoint: Endpoint, rpc: str) -> None:
    assert ask(endpoint, rpc, request(rpc, ProviderID="x" * 128)).code == "OK"
    assert "providerID" in refused(endpoint, rpc, ProviderID="x" * 129)


@pytest.mark.parametrize("rpc", WITH_STATE)
def test_a_last_known_state_that_is_not_utf_8_is_refused(endpoint: Endpoint, rpc: str) -> None:
    assert "lastKnownState: " in refused(endpoint, rpc, LastKnownState=b"ok\xc3")


def test_the_message_about_hundreds_of_fields_is_short_and_says_how_many_are_left_out(
    endpoint: Endpoint,
) -> None:
    fields = {f"größe{number}" * 8: 1 for number in range(500)}
    message = refused(endpoint, "CreateMachine", ProviderSpec=spec(**fields))
    assert len(message.encode()) <= 1024
    named, _, left_out = message.rpartition("; and ")
    assert named.count("providerSpec") + int(left_out.removesuffix(" more")) == 500


def test_a_spec_with_very_many_wrong_fields_does_not_hold_up_the_server(
    endpoint: Endpoint,
) -> None:
    wire = spec(**{f"f{number}": 1 for number in range(200_000)})
    assert " more" in refused(endpoint, "CreateMachine", ProviderSpec=wire)


def test_one_field_with_a_very_long_name_is_cut(endpoint: Endpoint) -> None:
    message = refused(endpoint, "CreateMachine", ProviderSpec=spec(**{"ü" * 20_000: 1}))
    assert "is an unknown field" in message
    assert len(message.encode()) <= 1024


@pytest.mark.parametrize("rpc", [*IDENTITY_RPCS, *MACHINE_RPCS, "GetVolumeIDs"])
def test_bytes_that_are_no_message_are_refused(endpoint: Endpoint, rpc: str) -> None:
    answer = ask(endpoint, rpc, b"\xff\xff garbage")
    assert answer.code == "INVALID_ARGUMENT"
    assert answer.message == f"the request is not a cmi.v1.{rpc}Request message"


def test_a_name_that_is_not_utf_8_is_refused(endpoint: Endpoint) -> None:
    assert ask(endpoint, "CreateMachine", b"\x0a\x02\xff\xfe").code == "INVALID_ARGUMENT"


def test_fields_of_a_newer_contract_are_ignored(endpoint: Endpoint) -> None:
    wire = request("CreateMachine").SerializeToString() + b"\xfa\x07\x03new"
    assert ask(endpoint, "CreateMachine", wire).code == "OK"


def test_an_unknown_rpc_and_an_unknown_service_are_unimplemented(endpoint: Endpoint) -> None:
    assert ask(endpoint, "ResizeMachine").code == "UNIMPLEMENTED"
    with grpc.insecure_channel(endpoint.target) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            bytes_rpc(channel, "/cmi.v2.Machine/CreateMachine")(b"", timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("wire", "mentioned"),
    [
        (b"", "pvSpecList: "),
        (b"nonsense", "pvSpecList: "),
        (b"null", "pvSpecList: "),
        (b"{}", "pvSpecList: "),
        (b'["a", {}]', "pvSpecList[0]: "),
        (b"[{}, null]", "pvSpecList[1]: "),
        (b"\xff", "pvSpecList: "),
    ],
)
def test_a_volume_list_is_refused_by_path(endpoint: Endpoint, wire: bytes, mentioned: str) -> None:
    assert mentioned in refused(endpoint, "GetVolumeIDs", PVSpecList=wire)


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        ([], []),
        ([{}, {"csi": None}, {"csi": []}, {"csi": "standin"}, {"nfs": {}}], []),
        ([{"csi": {"driver": "standin", "volumeHandle": "v1"}}], ["v1"]),
        ([{"csi": {"driver": "other", "volumeHandle": "v1"}}], []),
        ([{"csi": {"driver": "standin", "volumeHandle": handle}} for handle in ("", None, 5)], []),
        ([{"csi": {"driver": "standin"}}], []),
    ],
)
def test_volumes_of_others_and_odd_ones_are_skipped(
    endpoint: Endpoint, volumes: list[Any], expected: list[str]
) -> None:
    with Client(endpoint) as client:
        assert client.volume_ids(json.dumps(volumes).encode()) == expected


def test_a_provider_id_of_another_form_is_ignored_with_a_warning(log_lines: LogLines) -> None:
    class Formatted(StandIn):
        provider_id_format = ProviderIdFormat("standin:///{id:d}")

    driver = Formatted()
    with serving(driver) as endpoint, Client(endpoint) as client:
        for provider_id in ("standin:///17", '{"some": "state"}', "standin:///17/and more", ""):
            client.delete(machine_class(), "m1", provider_id)
    assert [received.provider_id for received in driver.requests] == ["standin:///17", "", "", ""]
    warnings = [line for line in log_lines() if line["level"] == "warning"]
    assert [line["machine"] for line in warnings] == ["m1", "m1"]


class Regional(TaggedScope):
    region: Annotated[str, Field(pattern=r"^[a-z]+-[0-9]$")]


class RegionalDriver(StandIn):
    provider_id_format = ProviderIdFormat("standin:///{region}/{id}")

    def delete_machine(  # type: ignore[override] # of another scope
        self, request: DeleteMachineRequest[Regional, Keys]
    ) -> DeleteMachineResponse:
        self.requests.append(request)
        return DeleteMachineResponse()


def test_a_provider_id_says_where_the_vm_is(log_lines: LogLines) -> None:
    """An ID is not this driver's if a part of it would not pass the validation of the scope."""
    driver = RegionalDriver()
    parts = ("north-1", "south-2", "evil.example.com#", "south-2a")
    with serving(driver) as endpoint, Client(endpoint) as client:
        for region in parts:
            client.delete(machine_class(region="north-1"), "m1", f"standin:///{region}/i-1")
    seen = [(each.provider_spec.region, bool(each.provider_id)) for each in driver.requests]
    assert seen == [("north-1", True), ("south-2", True), ("north-1", False), ("north-1", False)]
    assert len([line for line in log_lines() if line["level"] == "warning"]) == 2


class Pair(SecretsModel):
    user: Credential = Field(alias="cloud-user")
    password: Credential = Field(validation_alias="pass")
    region: SecretStr | None = None

    @model_validator(mode="after")
    def _differ(self) -> "Pair":
        if self.user == self.password:
            raise ValueError("user and password are the same")
        return self


class WithPair(StandIn):
    def create_machine(  # type: ignore[override]
        self, request: CreateMachineRequest[Scope, Pair]
    ) -> CreateMachineResponse:
        return CreateMachineResponse(provider_id="standin:///m1", node_name="m1")


@pytest.mark.parametrize(
    ("secrets", "code", "mentioned"),
    [
        ({"cloud-user": b"a", "pass": b"b"}, "OK", ""),
        ({"pass": b"b"}, "UNAUTHENTICATED", "secrets['cloud-user']: is missing"),
        ({"cloud-user": b"a"}, "UNAUTHENTICATED", "secrets.pass: is missing"),
        ({"cloud-user": b"a", "pass": b""}, "UNAUTHENTICATED", "is empty"),
        ({"cloud-user": b"a", "pass": b"a"}, "INVALID_ARGUMENT", "are the same"),
    ],
)
def test_credentials_may_have_aliases_and_a_validator_of_the_whole(
    secrets: dict[str, bytes], code: str, mentioned: str
) -> None:
    with serving(WithPair()) as endpoint:
        answer = ask(endpoint, "CreateMachine", request("CreateMachine", Secrets=secrets))
    assert (answer.code, mentioned in answer.message) == (code, True), answer


class Either(SecretsModel):
    token: Credential | None = None
    password: Credential | None = Field(default=None, validate_default=True)

    @field_validator("password")
    @classmethod
    def _is_one(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if password is None and not info.data.get("token"):
            raise ValueError("is missing, and so is the token")
        return password


class WithEither(StandIn):
    def create_machine(  # type: ignore[override]
        self, request: CreateMachineRequest[Scope, Either]
    ) -> CreateMachineResponse:
        return CreateMachineResponse(provider_id="standin:///m1", node_name="m1")


@pytest.mark.parametrize(
    ("secrets", "code", "mentioned"),
    [
        ({"token": b"a"}, "OK", ""),
        ({"password": b"a"}, "OK", ""),
        ({}, "UNAUTHENTICATED", "secrets.password: is missing, and so is the token"),
        ({"token": b"", "password": b"a"}, "UNAUTHENTICATED", "secrets.token: is empty"),
    ],
)
def test_one_of_several_credentials_is_enough(
    secrets: dict[str, bytes], code: str, mentioned: str
) -> None:
    with serving(WithEither()) as endpoint:
        answer = ask(endpoint, "CreateMachine", request("CreateMachine", Secrets=secrets))
    assert (answer.code, mentioned in answer.message) == (code, True), answer


def test_neither_a_request_nor_its_secrets_show_a_value(driver: StandIn) -> None:
    class Careless(SecretsModel):
        token: str

    keys = Careless.model_validate({"token": b"hunter2"})
    received = CreateMachineRequest(
        machine_name="m1", provider_spec=Scope.model_validate(SPEC), secrets=keys
    )
    for text in (repr(received), str(received), repr(keys), str(keys), f"{keys}"):
        assert "hunter2" not in text
    assert created(received).node_name == "m1"  # type: ignore[arg-type]

"""The YAML that kubectl applies, and everything that a file may be instead."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmi.manifests import ManifestError, read_provider_spec, read_secret, read_volumes

READERS = {
    "MachineClass": read_provider_spec,
    "Secret": read_secret,
    "PersistentVolume": read_volumes,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "manifest.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


Write = Callable[[str | bytes], Path]


def refusal(reader: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{a: 1, b: [x, null, true]}", {"a": 1, "b": ["x", None, True]}),
        ("{until: 2026-01-31}", {"until": "2026-01-31"}),
        ("{größe: ☃}", {"größe": "☃"}),
        ("{1: a}", {"1": "a"}),
        ("{a: &x {b: 1}, c: {<<: *x, d: 2}}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("null", None),
        ("[]", []),
        ("text", "text"),
    ],
)
def test_a_provider_spec_is_what_the_driver_gets(write: Write, spec: str, expected: Any) -> None:
    path = write(f"kind: MachineClass\nproviderSpec: {spec}\n")
    assert json.loads(read_provider_spec(path)) == expected


def test_a_file_may_hold_many_documents(write: Write) -> None:
    path = write(
        "# all in one\n---\n---\nkind: Secret\nstringData: {a: b}\n"
        "---\nkind: MachineClass\nproviderSpec: {region: north}\n---\n- a list\n---\ntext\n"
    )
    assert json.loads(read_provider_spec(path)) == {"region": "north"}
    assert read_secret(path) == {"a": b"b"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_may_have_a_byte_order_mark_and_windows_line_ends(
    write: Write, encoding: str
) -> None:
    path = write("kind: MachineClass\r\nproviderSpec:\r\n  region: nörd\r\n".encode(encoding))
    assert json.loads(read_provider_spec(path)) == {"region": "nörd"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", {}),
        ("data:", {}),
        ("data: {a: aGk=}", {"a": b"hi"}),
        ("data: {a: ''}", {"a": b""}),
        ("data: {a: /+8=}", {"a": b"\xff\xef"}),
        ("data:\n  a: |\n    aGk\n    gaG8=\n", {"a": b"hi ho"}),
        ("stringData: {a: hi, b: größe}", {"a": b"hi", "b": "größe".encode()}),
        ("stringData: {a: plain}\ndata: {a: aGk=, b: aGk=}", {"a": b"plain", "b": b"hi"}),
        ("stringData:\n  a: |\n    two\n    lines\n", {"a": b"two\nlines\n"}),
        ("stringData: {1: x}", {"1": b"x"}),
    ],
)
def test_a_secret_is_decoded(write: Write, fields: str, expected: dict[str, bytes]) -> None:
    assert read_secret(write(f"kind: Secret\n{fields}\n")) == expected


@pytest.mark.parametrize(
    ("fields", "mentioned"),
    [
        ("data: {token: plain text}", "data.token is not base64; put plain text under stringData"),
        ("data: {token: aGk}", "data.token is not base64"),
        ("data: {token: aG-_}", "data.token is not base64"),
        ("data: {token: größe}", "data.token is not base64"),
        ("data: {token: 12345}", "data.token is not base64"),
        ("data: {token: null}", "data.token is not base64"),
        ("data: {token: {a: b}}", "data.token is not base64"),
        ("data: [a]", "data is not a mapping"),
        ("data: text", "data is not a mapping"),
        ("stringData: {token: 12345}", "stringData.token is not a string; quote it"),
        ("stringData: {token: yes}", "stringData.token is not a string; quote it"),
        ("stringData: {token: null}", "stringData.token is not a string; quote it"),
        ("stringData: [a]", "stringData is not a mapping"),
    ],
)
def test_a_malformed_secret_is_refused_without_its_value(
    write: Write, fields: str, mentioned: str
) -> None:
    message = refusal(read_secret, write(f"kind: Secret\n{fields}\n"))
    assert mentioned in message
    assert "12345" not in message


def test_all_volumes_of_a_file_are_read(write: Write) -> None:
    path = write(
        "kind: PersistentVolume\nspec: {csi: {driver: a}}\n---\nkind: PersistentVolume\n"
        "---\nkind: PersistentVolumeClaim\nspec: {}\n"
    )
    assert json.loads(read_volumes(path)) == [{"csi": {"driver": "a"}}, {}]


CYCLE = "&a\n  kind: {}\n  providerSpec: *a\n  spec: *a\n  data: *a\n"


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("content", "mentioned"),
    [
        pytest.param("", "holds no object of kind", id="empty"),
        pytest.param("# nothing\n", "holds no object of kind", id="comment"),
        pytest.param("- kind: {}\n", "holds no object of kind", id="list"),
        pytest.param("just text", "holds no object of kind", id="text"),
        pytest.param("kind: Other\n", "holds no object of kind", id="other kind"),
        pytest.param("Kind: {}\n", "holds no object of kind", id="capital"),
        pytest.param("kind: {}\n  spec:\n a: 1\n", "is not YAML at line 2", id="indentation"),
        pytest.param("kind: {}\nspec:\n\ta: 1\n", "is not YAML at line 3", id="tab"),
        pytest.param("kind: {}\nspec: [a\n", "is not YAML at line", id="unclosed"),
        pytest.param("kind: {}\nspec: *unknown\n", "is not YAML at line 2", id="alias"),
        pytest.param("kind: {}\nspec: !acme {{}}\n", "is not YAML at line 2", id="tag"),
        pytest.param(
            "kind: {}\nspec: !!python/object/apply:os.getcwd []\n", "is not YAML", id="code"
        ),
        pytest.param("kind: {}\nspec: {{[a]: 1}}\n", "is not YAML at line 2", id="list as key"),
        pytest.param("kind: {}\nspec: 2026-13-45\n", "is not YAML", id="no date"),
        pytest.param("kind: {}\nspec: " + "9" * 5000, "is not YAML", id="huge number"),
        pytest.param("kind: {}\nspec: " + "[" * 5000, "is not YAML", id="deeply nested"),
        pytest.param("\x00\x01\x02", "is not YAML", id="control characters"),
        pytest.param(b"\x7fELF\x02\xff\xfe\x00", "is not YAML", id="binary"),
        pytest.param("größe".encode("latin-1"), "is not YAML", id="latin-1"),
    ],
)
def test_what_is_no_manifest_is_refused(
    write: Write, kind: str, content: str | bytes, mentioned: str
) -> None:
    if isinstance(content, str):
        content = content.replace("{}", kind, 1).replace("{{", "{").replace("}}", "}")
    assert mentioned in refusal(READERS[kind], write(content))


@pytest.mark.parametrize("kind", ["MachineClass", "PersistentVolume"])
@pytest.mark.parametrize(
    "value",
    ["&a [*a]", "{2026-01-31: a}", "{a: .inf}", "{a: .nan}", "!!binary aGk=", "!!set {a, b}"],
    ids=["cycle", "date as key", "infinity", "not a number", "binary", "set"],
)
def test_yaml_that_json_can_not_say_is_refused(write: Write, kind: str, value: str) -> None:
    field = "providerSpec" if kind == "MachineClass" else "spec"
    message = refusal(READERS[kind], write(f"kind: {kind}\n{field}: {value}\n"))
    assert "JSON" in message


def test_a_machine_class_without_a_provider_spec_is_refused(write: Write) -> None:
    assert "has no providerSpec" in refusal(read_provider_spec, write("kind: MachineClass\n"))


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_path_that_is_no_file_is_refused(
    tmp_path: Path, reader: Callable[[Path], object]
) -> None:
    assert "no such file" in refusal(reader, tmp_path / "missing.yaml")
    assert "is a directory" in refusal(reader, tmp_path)
    assert "not a directory" in refusal(reader, write_file(tmp_path) / "x.yaml")


def write_file(folder: Path) -> Path:
    path = folder / "file"
    path.touch()
    return path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_can_not_be_read_is_refused(write: Write) -> None:
    path = write("kind: Secret\n")
    path.chmod(0)
    assert "permission denied" in refusal(read_secret, path)

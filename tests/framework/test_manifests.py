"""The YAML that kubectl applies, and everything else that a file may contain instead."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmi.client import MachineClass
from cmi.manifests import (
    ManifestError,
    read_machine_class,
    read_provider_spec,
    read_secret,
    read_volumes,
)
from tests.framework.manifests import contents

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
    assert message.startswith(f"{path}")
    assert "\n" not in message
    return message.removeprefix(f"{path}")


RECORD = json.loads(Path(__file__).with_name("kubectl.json").read_text())
"""Texts, and what kubectl's own code reads in them. `e2e/test_manifests.py` compares both."""


@pytest.mark.parametrize(("text", "expected"), RECORD)
def test_a_file_is_read_as_kubectl_reads_it(write: Write, text: str, expected: Any) -> None:
    path = write(text)
    if expected is None:
        refusal(contents, path)
    else:
        assert contents(path) == expected


@pytest.mark.parametrize(
    ("value", "mentioned"),
    [
        ("{1: a, '1': b}", "at line 2: two keys become the same text '1', and kubectl takes"),
        ("{yes: a, true: b, 'true': c}", "two keys become the same text 'true'"),
        ("!acme text", "the tag !acme is not supported"),
        ("!!timestamp 2026-01-31", "tag:yaml.org,2002:timestamp is not supported"),
        ("{a: !!str }", "a tag is not followed by a value"),
        ("a\ufeff", "contains a byte order mark"),
        ("!!binary /w==", "!!binary and is not base64 of text"),
        ("[" * 5000 + "]" * 5000, "nest"),  # PyYAML 6.0.4 has its own limit and its own message
    ],
)
def test_what_kubectl_reads_by_chance_or_mangles_is_refused(
    write: Write, value: str, mentioned: str
) -> None:
    path = write(f"kind: MachineClass\nproviderSpec: {value}\n")
    assert mentioned in refusal(read_provider_spec, path)


def test_a_number_that_json_can_not_represent_matters_only_if_it_stays(write: Write) -> None:
    path = write("kind: MachineClass\nproviderSpec:\n  a: [.inf]\n  a: 1\n")
    assert read_provider_spec(path) == b'{"a":1}'
    path = write("kind: MachineClass\nproviderSpec:\n  a: 1\n  a: [.inf]\n")
    assert "at line 4: JSON can't represent the number inf" in refusal(read_provider_spec, path)


def test_aliases_that_multiply_are_refused(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = write("kind: MachineClass\n" + "\n".join(lines) + "\nproviderSpec: *a9\n")
    assert "repeats too much by aliases" in refusal(read_provider_spec, path)


def test_an_error_names_the_document_and_the_line(write: Write) -> None:
    path = write("# licence\n---\nkind: Secret\n---\nkind: MachineClass\nproviderSpec: [a\n")
    assert refusal(read_provider_spec, path).startswith(", document 2: can't be read at line 7: ")
    path = write('{"kind": "Secret"}\n{"kind": "Secret"}\n{"kind": oops}\n')
    assert refusal(read_secret, path).startswith(", document 3: can't be read at line 3: it is not")
    path = write("kind: List\nitems:\n- kind: MachineClass\n- {}\n")
    assert refusal(read_provider_spec, path) == ", item 2: is an object without a kind"


CLASS = "kind: MachineClass\nmetadata: {{name: {name}}}\nproviderSpec: {{region: {name}}}\n---\n"


def test_of_several_machine_classes_one_is_chosen_by_name(write: Write) -> None:
    path = write(CLASS.format(name="north") + CLASS.format(name="south"))
    assert refusal(read_provider_spec, path) == (
        ": contains several of kind MachineClass: north, south; choose one"
    )
    assert read_machine_class(path, name="south").provider_spec == b'{"region":"south"}'
    with pytest.raises(ManifestError, match="contains no MachineClass east, but north, south"):
        read_machine_class(path, name="east")


SECRETS = """
kind: Secret
metadata: {name: pool, namespace: shoot}
stringData: {userData: hello, token: old}
---
kind: List
items:
- kind: Secret
  metadata: {name: account, namespace: shoot}
  data: {token: bmV3}
- kind: Secret
  metadata: {name: account, namespace: other}
  stringData: {token: other}
---
"""


def class_with(references: str) -> str:
    return f"kind: MachineClass\nproviderSpec: {{}}\n{references}\n"


def test_the_secrets_that_a_class_names_are_merged_as_mcm_does(write: Write) -> None:
    path = write(
        SECRETS
        + class_with(
            "secretRef: {name: pool, namespace: shoot}\n"
            "credentialsSecretRef: {name: account, namespace: shoot}"
        )
    )
    assert read_machine_class(path, [path]) == MachineClass(
        provider_spec=b"{}", secrets={"userData": b"hello", "token": b"new"}
    )
    assert read_machine_class(path).secrets == {}


@pytest.mark.parametrize(
    ("references", "secrets"),
    [
        ("secretRef: {name: pool, namespace: shoot}", {"userData": b"hello", "token": b"old"}),
        ("credentialsSecretRef: {name: account, namespace: other}", {"token": b"other"}),
        ("credentialsSecretRef: {name: account}", {"token": b"new"}),
    ],
)
def test_a_class_gets_the_secret_that_it_names(
    write: Write, references: str, secrets: dict[str, bytes]
) -> None:
    path = write(SECRETS + class_with(references))
    assert read_machine_class(path, [path]).secrets == secrets


@pytest.mark.parametrize(
    ("references", "mentioned"),
    [
        ("", "has no secretRef that says which Secret it needs: pool, account, account"),
        (
            "secretRef: {name: pool, namespace: elsewhere}",
            "needs the Secret elsewhere/pool; there is only shoot/pool, shoot/account",
        ),
    ],
)
def test_a_secret_that_is_not_there_is_no_other(
    write: Write, references: str, mentioned: str
) -> None:
    path = write(SECRETS + class_with(references))
    with pytest.raises(ManifestError, match=mentioned):
        read_machine_class(path, [path])


def test_the_only_secret_serves_a_class_that_names_none(write: Write) -> None:
    path = write("kind: Secret\nstringData: {a: b}\n---\n" + class_with(""))
    assert read_machine_class(path, [path]).secrets == {"a": b"b"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_may_have_a_byte_order_mark_and_windows_line_ends(
    write: Write, encoding: str
) -> None:
    path = write("kind: MachineClass\r\nproviderSpec:\r\n  region: nörd\r\n".encode(encoding))
    assert json.loads(read_provider_spec(path)) == {"region": "nörd"}


@pytest.mark.parametrize(
    ("fields", "mentioned"),
    [
        ("data: {token: plain text}", "data.token is not base64; put plain text under stringData"),
        ("data: {token: aGk}", "data.token is not base64"),
        ("data: {token: aG-_}", "data.token is not base64"),
        ("data: {token: größe}", "data.token is not base64"),
        ("data: {token: 12345}", "data.token is not base64"),
        ("data: {token: {a: b}}", "data.token is not base64"),
        ("data: [a]", "data is not a mapping"),
        ("data: text", "data is not a mapping"),
        ("stringData: {token: 12345}", "stringData.token is not a string; quote it"),
        ("stringData: {token: yes}", "stringData.token is not a string; quote it"),
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


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("content", "mentioned"),
    [
        pytest.param("", "contains no {}, but nothing", id="empty"),
        pytest.param("# nothing\n", "contains no {}, but nothing", id="comment"),
        pytest.param("- kind: {}\n", "is not an object with a kind", id="list"),
        pytest.param("just text", "is not an object with a kind", id="text"),
        pytest.param("kind: Other\n", "contains no {}, but Other", id="other kind"),
        pytest.param("Kind: {}\n", "is an object without a kind", id="capital"),
        pytest.param("kind: {}\n  spec:\n a: 1\n", "can't be read at line 2", id="indentation"),
        pytest.param("kind: {}\nspec:\n\ta: 1\n", "can't be read at line 3", id="tab"),
        pytest.param("kind: {}\nspec: [a\n", "can't be read at line", id="unclosed"),
        pytest.param("kind: {}\nspec: *unknown\n", "line 2: the anchor 'unknown'", id="alias"),
        pytest.param("kind: {}\nspec: !acme a\n", "line 2: the tag !acme", id="tag"),
        pytest.param("kind: {}\nspec: !!python/object/apply:os.getcwd x\n", "the tag", id="code"),
        pytest.param("kind: {}\nspec: {{[a]: 1}}\n", "a key is a list", id="list as key"),
        pytest.param("\x00\x01\x02", "control characters are not allowed", id="control characters"),
        pytest.param(b"\x7fELF\x02\xff\xfe\x00", "is not UTF-8 at byte 6", id="binary"),
        pytest.param("größe".encode("latin-1"), "is not UTF-8 at byte 3", id="latin-1"),
    ],
)
def test_what_is_no_manifest_is_refused(
    write: Write, kind: str, content: str | bytes, mentioned: str
) -> None:
    if isinstance(content, str):
        content = content.replace("{}", kind, 1).replace("{{", "{").replace("}}", "}")
    assert mentioned.replace("{}", kind) in refusal(READERS[kind], write(content))


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_can_not_be_read_is_refused(write: Write) -> None:
    path = write("kind: Secret\n")
    path.chmod(0)
    assert "permission denied" in refusal(read_secret, path)

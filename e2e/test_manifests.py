"""The client reads every file as kubectl does, byte for byte, or says why it does not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from cmi.manifests import ManifestError
from e2e.manifests import RECORD, Kubectl
from tests.framework.manifests import contents

REFUSED_BY_US = (
    "two keys become the same text",  # kubectl takes one of them at random
    "byte order mark",
    "is not UTF-",  # kubectl replaces such bytes with U+FFFD
    "nested too deeply",
    "base64 of text",
    " tag",  # kubectl ignores unknown tags
    "found unexpected ':'",  # in {a:}, kubectl reads the key "a:"
    "did not find expected whitespace or line break",  # after a tag
)
"""Reasons why the client refuses files that kubectl reads. Nobody writes these on purpose."""

WORDS = (Path(__file__).parent / "scalars.txt").read_text().split("\n")
NUMBERS = st.text("0123456789+-._eExXobBaf:", min_size=1, max_size=8)
ODD_TEXTS = st.text("abyYnN<>&'\"\\ \t:#-?,[]{}!|>%@`*=~\u2028\u0085é😀", max_size=6)
SCALARS = st.one_of(st.sampled_from(WORDS), NUMBERS, ODD_TEXTS)
TAGS = st.sampled_from(
    ["", "", "", "", "!!str ", "!!int ", "!!float ", "!!bool ", "!!null ", "!!binary ", "! ", "!x "]
)
ANCHORS = st.sampled_from(["", "", "", "&a ", "&b "])
NOISE = st.text(" \n\t\r:-?[]{},#&*!|>'\"%@`a1~.\ufeff\u2028\u0085\x00\x7f", max_size=3)
HEAD = "apiVersion: v1\nkind: MachineClass\nx: &a {p: 1, q: 2}\ny: &b [*a, 3]\nproviderSpec: "


@st.composite
def written(draw: st.DrawFn, *, in_flow: bool, indent: int) -> str:
    """A scalar in one of the styles of YAML."""
    text = draw(SCALARS)
    styles = ["plain", "plain", "single", "double"] + ([] if in_flow else ["block"])
    match draw(st.sampled_from(styles)):
        case "plain":
            return text
        case "single":
            return "'" + text.replace("'", "''") + "'"
        case "double":
            escapes = '"\\x41\\u263a\\e\\_\\N\\L\\0\\/"'
            return draw(st.sampled_from([json.dumps(text), f'"{text}"', escapes]))
    lines = draw(st.sampled_from([text, f"{text}\n{text}", "a\n\n  b", "\n\na\n\n"])).split("\n")
    mark = draw(st.sampled_from(["|", "|-", "|+", "|2", ">", ">-", ">+1", "| # c"]))
    return "\n".join([mark, *(" " * indent + line for line in lines)])


@st.composite
def nodes(draw: st.DrawFn, depth: int = 3, *, in_flow: bool = False, indent: int = 2) -> str:
    """A value, with anchors, aliases, tags and merges."""
    kind = draw(st.sampled_from(["scalar", "scalar", "alias", *(["map", "list"] * bool(depth))]))
    if kind == "alias":
        return "*" + draw(st.sampled_from("ab"))
    front = draw(ANCHORS) + draw(TAGS)
    if kind == "scalar":
        return front + draw(written(in_flow=in_flow, indent=indent))
    in_flow = in_flow or draw(st.booleans())
    inner = indent if in_flow else indent + 2
    items = draw(st.lists(nodes(depth - 1, in_flow=in_flow, indent=inner), min_size=1, max_size=3))
    if kind == "map":
        colon = draw(st.sampled_from([": ", ":"])) if in_flow else ": "
        keys = st.one_of(st.just("<<"), written(in_flow=True, indent=indent))
        items = [draw(ANCHORS) + draw(keys) + colon + item for item in items]
    if in_flow:
        joined = draw(st.sampled_from([", ", ",", "\n  , "])).join(items)
        return f"{front}{{{joined}}}" if kind == "map" else f"{front}[{joined}]"
    line = "\n" + " " * indent + ("" if kind == "map" else "- ")
    return front + "".join(line + item for item in items)


@st.composite
def classes(draw: st.DrawFn) -> bytes:
    """A machine class in YAML, perhaps with a few wrong characters."""
    text = HEAD + draw(nodes()) + "\n"
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(HEAD.index("x:"), len(text)))
        text = text[:start] + draw(NOISE) + text[start + draw(st.integers(0, 3)) :]
    return text.encode()


BASE64 = st.one_of(
    st.text("aGk=+/-_ \n\r\t", max_size=8),
    st.sampled_from(
        ["YWJj\nZGVm", "aGk", "aGl=", "aGk==", "====", "=", "a===", "aGk= ", "aGk=aGk="]
    ),
)
VALUES = st.one_of(BASE64, st.none(), st.integers(0, 9), st.booleans(), st.text(max_size=3))
DATA = st.one_of(st.dictionaries(st.text("ab.-", min_size=1, max_size=2), VALUES), VALUES)
SECRETS = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.just("Secret")},
    optional={"data": DATA, "stringData": DATA},
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=4), inner)),
    max_leaves=6,
)
CLASSES = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.just("MachineClass"), "providerSpec": JSON}
)
LISTS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.sampled_from(["List", "SecretList", "MachineClassList", None]),
        "items": st.one_of(st.none(), st.just(3), st.lists(st.one_of(SECRETS, CLASSES, JSON))),
    }
)
ODD_DOCUMENTS = st.sampled_from(
    [
        "# c",
        "",
        "null",
        "text",
        "kind: Other",
        "kind: ''",
        "kind: 3",
        "{}",
        "[]",
        "...",
        "%YAML 1.1",
        "a: 1\n...\nb: 2",
        "kind: Other\n---x",
        "  kind: Other",
        "apiVersion: 1\nkind: Other",
    ]
)
SEPARATORS = st.sampled_from(
    [
        "\n---\n",
        "\n---\n",
        "\n--- # x\n",
        "\n---",
        "\n",
        "",
        "\n\n",
        "---\n",
        "\n--- x\n",
        "\n ---\n",
    ]
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Several documents in YAML and JSON, with the separators that people use."""
    text = draw(st.sampled_from(["", "", "---\n", "\n", "# c\n"]))
    for _ in range(draw(st.integers(0, 4))):
        value = draw(st.one_of(SECRETS, CLASSES, LISTS, JSON))
        forms = [json.dumps(value), json.dumps(value, indent=1), yaml.safe_dump(value)]
        text += draw(st.one_of(st.sampled_from(forms), ODD_DOCUMENTS)) + draw(SEPARATORS)
    text = text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    return text.encode(encoding, errors="surrogatepass")


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with Kubectl() as running:
        yield running


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests") / "manifest.yaml"


def compare(kubectl: Kubectl, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    expected = kubectl.read(path)
    found: list[Any] | None = None
    reason = ""
    try:
        found = contents(path)
    except ManifestError as error:
        reason = str(error)
    assert "\n" not in reason
    if not any(known in reason for known in REFUSED_BY_US):
        assert found == expected, reason


thoroughly = hypothesis.settings(
    max_examples=1500, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@thoroughly
@hypothesis.given(content=classes())
def test_a_machine_class_in_yaml(kubectl: Kubectl, path: Path, content: bytes) -> None:
    compare(kubectl, path, content)


@thoroughly
@hypothesis.given(word=st.one_of(SCALARS, NUMBERS))
def test_a_scalar_as_value_and_as_key(kubectl: Kubectl, path: Path, word: str) -> None:
    compare(kubectl, path, f"{HEAD}{word}\n".encode())
    compare(kubectl, path, f"{HEAD}\n  {word}: 1\n".encode())


@thoroughly
@hypothesis.given(content=files())
def test_documents_lists_and_secrets(kubectl: Kubectl, path: Path, content: bytes) -> None:
    compare(kubectl, path, content)


def test_the_record_is_what_kubectl_reads_today(kubectl: Kubectl, path: Path) -> None:
    for text, expected in json.loads(RECORD.read_text()):
        path.write_bytes(text.encode())
        assert kubectl.read(path) == expected, text

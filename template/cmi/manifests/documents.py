"""The objects in a file, as kubectl finds them: in several documents, JSON values and lists."""

import codecs
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from cmi.manifests import gojson, goyaml
from cmi.manifests.goyaml import Json, YamlError

STANDARD_INPUT: Final = Path("-")
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_JSON_SPACE: Final = " \t\r\n"
_NOTHING: Final = re.compile(r"\s*|#.*|---(\s.*)?")
_END_OF_LINE: Final = re.compile(r"[^\S\n]*\n?")


class ManifestError(ValueError):
    """A file can't be read as the manifest it should be.

    The message names the file, the document if there are several, and the reason.
    """


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a file.

    Attributes:
        place: The file, and the object's position in it, for messages.
        fields: The object's fields; `kind` is text.
    """

    place: str
    fields: dict[str, Json]

    @property
    def kind(self) -> str:
        """Its kind, such as `Secret`."""
        return str(self.fields["kind"])

    @property
    def name(self) -> str:
        """Its name, or an empty text if it has none."""
        return self._metadata("name")

    @property
    def namespace(self) -> str:
        """Its namespace, or an empty text if the file does not say."""
        return self._metadata("namespace")

    def error(self, reason: str) -> ManifestError:
        """Return an error that says where this object is."""
        return ManifestError(f"{self.place}: {reason}")

    def _metadata(self, key: str) -> str:
        metadata = self.fields.get("metadata")
        value = metadata.get(key) if isinstance(metadata, dict) else None
        return value if isinstance(value, str) else ""


def name_of(path: Path) -> str:
    """Return the name of a file for messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def read_objects(path: Path) -> list[Object]:
    """Return all objects of a file, including those in lists.

    Args:
        path: The file; `-` is standard input, which is read only once.

    Raises:
        ManifestError: The file can't be read, or something in it is not an object with a kind.
    """
    name = name_of(path)
    text = _text(path)
    try:
        documents = [*_documents(text)]
    except YamlError as error:
        raise _unreadable(name, 0, error) from None
    found: list[Object] = []
    for number, document in enumerate(documents, 1):
        place = f"{name}, document {number}" if len(documents) > 1 else name
        try:
            value = document.value()
        except YamlError as error:
            raise _unreadable(place, document.line, error) from None
        if value is not None:
            found += _objects(place, value)
    return found


def _unreadable(place: str, lines_before: int, error: YamlError) -> ManifestError:
    where = "" if error.line is None else f" at line {lines_before + error.line + 1}"
    return ManifestError(f"{place}: can't be read{where}: {error}")


def _text(path: Path) -> str:
    try:
        data = _standard_input() if path == STANDARD_INPUT else path.read_bytes()
        for mark, encoding in _BYTE_ORDER_MARKS:
            if data.startswith(mark):
                return data[len(mark) :].decode(encoding)
        return data.decode()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ManifestError(f"{name_of(path)}: {reason}") from None
    except UnicodeDecodeError as error:
        problem = f"is not {error.encoding.upper()} at byte {error.start + 1}"
        raise ManifestError(f"{name_of(path)}: {problem}") from None


@lru_cache(1)
def _standard_input() -> bytes:
    return sys.stdin.buffer.read()


@dataclass(frozen=True, slots=True)
class _Document:
    """One document of a file, not yet parsed.

    Attributes:
        line: How many lines of the file precede it.
    """

    line: int
    text: str
    is_json: bool = False

    def value(self) -> Json:
        """Parse the document.

        Raises:
            YamlError: The document is malformed.
        """
        if not self.is_json:
            return goyaml.read(self.text)
        try:
            return gojson.read(self.text, 0)[0]
        except json.JSONDecodeError as error:
            raise YamlError(f"it is not JSON: {error.msg}", error.lineno - 1) from None
        except ValueError as error:
            raise YamlError(f"{error}") from None


def _documents(text: str) -> Iterator[_Document]:
    """Yield the documents that are not empty.

    If a file begins with a brace, kubectl reads it as a sequence of JSON values. YAML may follow
    the first value, but not the second.

    Raises:
        YamlError: A line has text after `---`.
    """
    position = 0
    if text.lstrip().startswith("{"):
        ends = [0, *_ends_of_json_values(text)]
        for start, position in pairwise(ends):
            part = text[start:position].lstrip()
            yield _Document(text.count("\n", 0, position - len(part)), part, is_json=True)
        rest = text[position:].lstrip(_JSON_SPACE)
        if rest and len(ends) > 2:
            yield _Document(text.count("\n", 0, len(text) - len(rest)), rest, is_json=True)
            return
        end = _END_OF_LINE.match(text, position)
        position = end.end() if end else position
    yield from _yaml_documents(text[position:], text.count("\n", 0, position))


def _ends_of_json_values(text: str) -> Iterator[int]:
    """Yield the end of each JSON value at the beginning of a text."""
    position = 0
    while rest := text[position:].lstrip(_JSON_SPACE):
        try:
            _, position = gojson.read(text, len(text) - len(rest))
        except ValueError:
            return
        yield position


def _yaml_documents(text: str, lines_before: int) -> Iterator[_Document]:
    """Split a text at the lines that begin with `---`, even within a string, like kubectl."""
    lines: list[str] = []
    number = lines_before
    for number, line in enumerate(text.removesuffix("\n").split("\n"), lines_before):
        if line.startswith("---"):
            behind = line[3:].strip()
            if behind and not behind.startswith("#"):
                raise YamlError("a document begins on the line after ---, not on the same", number)
            yield from _yaml_document(lines, number)
            lines = [] if lines else [line]  # kubectl's parser gets the first of several in a row
        else:
            lines.append(line.removesuffix("\r"))
    yield from _yaml_document(lines, number + 1)


def _yaml_document(lines: list[str], end: int) -> Iterator[_Document]:
    """Yield the document in these lines, unless all of them are empty or comments."""
    if not all(map(_NOTHING.fullmatch, lines)):
        yield _Document(end - len(lines), "\n".join([*lines, ""]))


def _objects(place: str, value: Json) -> Iterator[Object]:
    """Yield an object, or its items if it is a list (`kind: List`, `SecretList`, …)."""
    if not isinstance(value, dict):
        raise ManifestError(f"{place}: is not an object with a kind")
    kind = value.get("kind")
    if not isinstance(kind, str) or not kind:
        raise ManifestError(f"{place}: is an object without a kind")
    if not isinstance(value.get("apiVersion", ""), str | None):
        raise ManifestError(f"{place}: its apiVersion is not text; quote it")
    items = value.get("items")
    if "items" not in value:
        yield Object(place, value)
        return
    if not isinstance(items, list | None):
        raise ManifestError(f"{place}: its items are not a list")
    for number, item in enumerate(items or (), 1):
        # In a list of one kind, as the API server returns it, the items have no kind.
        filled = {} if item is None else item
        if isinstance(filled, dict) and not filled.get("kind") and not filled.get("apiVersion"):
            filled["kind"] = kind.removesuffix("List")
        yield from _objects(f"{place}, item {number}", filled)

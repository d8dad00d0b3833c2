"""Keeps secrets out of logs, statuses and reports (C50).

A `Redactor` knows secrets and replaces them by `***`, even if an SDK writes them in another
form: in base64 (whole, without padding, in lines, after a user name as in HTTP Basic, percent-
encoded), in hex, percent-encoded, escaped for JSON, Python, HTML or XML, line by line, or cut.

The server has one redactor, `in_flight`, for the secrets of all its calls, because a line logged
by an SDK's thread, a finaliser or a shared client may contain the secrets of any call.
"""

import base64
import html
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import Annotated, Any, Final, TypeAlias, TypeVar, get_args, get_origin
from urllib.parse import quote, quote_plus

from google.protobuf.message import Message
from pydantic import BaseModel, SecretBytes, SecretStr

from cmi.v1 import cmi_pb2

MASK: Final = "***"
_START: Final = 8
"""How many characters identify the beginning of a form, so that one search of the text finds all
forms. Shorter lines of a secret are not masked on their own."""
_CUT: Final = 16
"""The least number of leading characters by which a truncated secret is recognised."""
_WORD: Final = 4
"""Shorter values are masked only as whole words; otherwise no text would stay readable."""
_LEAST_LEAF: Final = 6
"""The least length of a value within a secret that is masked because its key looks secret."""
_MAX_PARTS: Final = 2_000
"""How many lines of one secret are masked on their own, to bound time and memory."""
_MAX_STARTS: Final = 50_000
"""How many beginnings there may be. Beyond it, lines of further secrets are not masked on their
own."""
_MAX_SECRETS: Final = 10_000
"""How many secrets can be masked. While there are more, no text is shown at all."""
_MAX_TRIES: Final = 50_000
"""How many comparisons a text may need. The rest of the text is masked without a search."""
_MAX_COMPLETED: Final = 100
"""How many deferred secrets are learned at once, since the event loop may wait for that."""
_LINGER: Final = 1.0
"""Seconds for which secrets are kept after their call, since the next call may have the same."""
_QUICK: Final = 16 * 1024
"""The maximum size of text and new secrets that are processed on the event loop, in bytes."""

_BREAK: Final = re.compile(r"(?:[\r\n\t ]|\\r|\\n|%0D|%0A|&#1[03];)+")
"""The separators between the lines of wrapped base64."""
_NEVER_ESCAPED: Final = re.compile(r"[ !#-%(-;=?-\[\]-~]*")
"""Lines that look the same in all forms."""
_LEAF: Final = re.compile(
    # Every repetition is bounded, or ends at the first character that does not match, so the
    # time grows linearly with the text.
    r"""(?:key|secret|token|passw|credential|cert)[\w.-]{0,40}+["']?\s{0,8}+[:=]\s{0,8}"""
    r"""("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'#,}{][^\s,}]*)""",
    re.IGNORECASE,
)
"""A value within JSON, YAML or a shell script whose key says that it is secret."""

_LINE: Final = re.compile(r"[^\r\n]+")

_T = TypeVar("_T")
_Form: TypeAlias = tuple[Callable[[Any], str], str | bytes, int]
"""The encoder of a value, the value, and how many characters have to match."""


def _base64(shift: int, value: bytes) -> str:
    """Return the base64 of a value after `shift` other bytes, without the characters they share."""
    return base64.b64encode(bytes(shift) + value).decode()[(shift * 8 + 5) // 6 :]


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_readable(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_of_go(text: str) -> str:
    return _json(text).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _repr(value: str | bytes) -> str:
    return repr(value).removeprefix("b")[1:-1]


def _urlsafe(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _percent_of_base64(value: bytes) -> str:
    return quote(base64.b64encode(value), safe="")


def _upper_hex(value: bytes) -> str:
    return value.hex().upper()


def _html(text: str) -> str:
    return html.escape(text)


def _xml(text: str) -> str:
    return html.escape(text, quote=False)


def _xml_with_quotes(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&apos;")


def _xml_with_numbers(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


_BASE64: Final[tuple[Callable[[Any], str], ...]] = (
    *(partial(_base64, shift) for shift in range(3)),
    _urlsafe,
    _percent_of_base64,
)
_OF_BYTES: Final[tuple[Callable[[Any], str], ...]] = (*_BASE64, bytes.hex, _upper_hex, _repr)
_OF_LINES: Final[tuple[Callable[[Any], str], ...]] = (
    *(str, _repr, _json, _json_readable, _json_of_go),
    *(_html, _xml, _xml_with_quotes, _xml_with_numbers),
)
_OF_TEXT: Final[tuple[Callable[[Any], str], ...]] = (
    *_OF_LINES,
    quote,
    partial(quote, safe=""),
    quote_plus,
)


@dataclass(slots=True, eq=False)
class Sources:
    """Where to find the secrets of one call, once a text has to be searched for them.

    Attributes:
        plain: Secrets that are known already.
        messages: Requests, whose fields with the option `cmi_secret` count.
        models: Validated models, whose secret-typed fields count.
        documents: Model classes, and JSON that may not be valid for them.
        size: The total size, in bytes.
    """

    plain: Collection[bytes] = ()
    messages: list[Message] = field(default_factory=list)
    models: list[BaseModel] = field(default_factory=list)
    documents: list[tuple[type[BaseModel], bytes]] = field(default_factory=list)
    size: int = 0

    def values(self) -> set[bytes]:
        """Return the secrets themselves."""
        found = {*self.plain}
        for message in self.messages:
            found.update(secret_fields(message))
        for model in self.models:
            found.update(_secrets_in(model))
        for kind, raw in self.documents:
            found.update(_secrets_in_json(kind, raw))
        return {value for value in found if value.strip()}


@dataclass(slots=True)
class _Known:
    """The forms of a secret, and how many sources contain it.

    Attributes:
        starts: Its forms, each with its beginning.
        short: The forms that are too short to have a beginning.
        count: How many sources contain it.
    """

    starts: list[tuple[str, _Form]]
    short: list[str]
    count: int = 0


class Redactor:
    """Replaces secrets by `***`. Any thread may use it.

    It derives the forms of the secrets when it has to search the first text. So a call that
    writes no text costs next to nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The event loop and finalisers only append, which needs no lock.
        self._changes: deque[tuple[Sources, bool]] = deque()
        self._added = self._seen = 0  # sizes, in bytes
        self._sources: dict[Sources, set[bytes] | None] = {}
        self._known: dict[bytes, _Known] = {}
        self._unused: dict[bytes, float] = {}
        self._starts: dict[str, dict[_Form, int]] = {}
        self._short: dict[str, int] = {}
        # Secrets that are not masked, or not line by line, while there are too many others.
        self._left_out: dict[bytes, None] = {}
        self._without_lines: dict[bytes, None] = {}

    def add(self, sources: Sources) -> None:
        """Mask these secrets too, or search these sources again."""
        self._added += sources.size
        self._changes.append((sources, True))
        if len(self._changes) > 1000 and self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def forget(self, sources: Sources) -> None:
        """Stop masking these secrets, unless other sources contain them."""
        self._changes.append((sources, False))

    def is_quick(self, text: str) -> bool:
        """Return whether `scrub` is quick enough to run on the event loop."""
        return len(text) + self._added - self._seen <= _QUICK and not self._lock.locked()

    def unlock(self) -> None:
        """Replace the lock in a child process, because a thread of its parent may hold it."""
        self._lock = threading.Lock()

    def scrub(self, text: str) -> str:
        """Return `text` with the secrets replaced by `***`."""
        with self._lock:
            self._learn()
            return self._masked(text)

    def scrub_all(self, texts: list[str]) -> list[str]:
        """Do the same for several texts."""
        with self._lock:
            self._learn()
            joined = "\0".join(texts)
            if joined == self._masked(joined):
                return texts
            return [*map(self._masked, texts)]

    def _settle(self) -> None:
        """Process the sources that were added and forgotten."""
        while self._changes:
            sources, is_new = self._changes.popleft()
            values = self._sources.pop(sources, set() if is_new else None)
            if values is None:  # they were never searched
                self._seen += sources.size
            if is_new:
                self._sources[sources] = None
            for value in values or ():
                known = self._known[value]
                known.count -= 1
                if not known.count:
                    self._unused[value] = time.monotonic()

    def _learn(self) -> None:
        """Update the secrets to mask."""
        self._settle()
        for sources in [each for each, values in self._sources.items() if values is None]:
            self._sources[sources] = sources.values()
            self._seen += sources.size
            for value in self._sources[sources] or ():
                self._learn_value(value)
        long_ago = time.monotonic() - _LINGER
        while self._unused and next(iter(self._unused.values())) < long_ago:
            value = next(iter(self._unused))
            del self._unused[value]
            self._drop(value)
        self._complete()

    def _learn_value(self, value: bytes) -> None:
        known = self._known.get(value) or self._note(value)
        known.count += 1
        self._unused.pop(value, None)

    def _complete(self) -> None:
        """Learn deferred secrets once there is room; calls may reuse the same ones for ever."""
        for incomplete, has_room in (
            (self._left_out, self._has_room),
            (self._without_lines, self._has_room_for_lines),
        ):
            for value in [*islice(incomplete, _MAX_COMPLETED)] if has_room() else ():
                count = self._known[value].count
                self._drop(value)
                self._note(value).count = count

    def _note(self, value: bytes) -> _Known:
        """Remember a new secret."""
        known = self._known[value] = self._learned(value)
        for start, form in known.starts:
            _count(self._starts.setdefault(start, {}), form)
        for word in known.short:
            _count(self._short, word)
        return known

    def _learned(self, value: bytes) -> _Known:
        if not self._has_room():
            self._left_out[value] = None
            return _Known([], [])
        if self._has_room_for_lines():
            return _forms_of(value, _MAX_PARTS)
        self._without_lines[value] = None
        return _forms_of(value, 0)

    def _has_room(self) -> bool:
        return len(self._known) - len(self._left_out) < _MAX_SECRETS

    def _has_room_for_lines(self) -> bool:
        return len(self._starts) + len(self._short) < _MAX_STARTS

    def _drop(self, value: bytes) -> None:
        known = self._known.pop(value)
        self._left_out.pop(value, None)
        self._without_lines.pop(value, None)
        for start, form in known.starts:
            _uncount(forms := self._starts[start], form)
            if not forms:
                del self._starts[start]
        for word in known.short:
            _uncount(self._short, word)

    def _masked(self, text: str) -> str:
        if self._left_out:
            return MASK
        spans = [*self._spans_of_forms(text)]
        for word in self._short:
            if word in text:
                spans += _spans_of_word(text, word)
        return _mask(text, spans) if spans else text

    def _spans_of_forms(self, text: str) -> Iterator[tuple[int, int]]:
        starts = self._starts
        if not starts:
            return
        tries = 0
        made: dict[_Form, str] = {}
        ends: dict[_Form, int] = {}
        for at in range(len(text) - _START + 1):
            if (start := text[at : at + _START]) in starts:
                tries += len(starts[start])
                if tries > _MAX_TRIES:
                    yield at, len(text)
                    return
                for form in starts[start]:
                    # Skip what the form has matched; repetitive text would take too long.
                    if ends.get(form, 0) <= at:
                        ends[form] = end = _end(text, at, form, made)
                        if end > at:
                            yield at, end


def _spans_of_word(text: str, word: str) -> Iterator[tuple[int, int]]:
    escaped = re.escape(word)
    pattern = escaped if len(word) >= _WORD else rf"(?<!\w){escaped}(?!\w)"
    return (match.span() for match in re.finditer(pattern, text))


def _count(counts: dict[_T, int], key: _T) -> None:
    counts[key] = counts.get(key, 0) + 1


def _uncount(counts: dict[_T, int], key: _T) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _mask(text: str, spans: list[tuple[int, int]]) -> str:
    pieces = []
    done = 0
    masked_until = -1
    for begin, end in sorted(spans):
        if begin > masked_until:
            pieces += [text[done:begin], MASK]
        masked_until = done = max(masked_until, end)
    return "".join([*pieces, text[done:]])


def _end(text: str, at: int, form: _Form, made: dict[_Form, str]) -> int:
    """Return the end of the form that may begin at `at`, or `at` if it does not begin there."""
    encode, value, least = form
    written = made.get(form)
    if written is None:
        written = made[form] = encode(value)
    is_base64 = encode in _BASE64
    matched, end = 0, at
    while matched < len(written):
        piece = written[matched : matched + 64]
        if not text.startswith(piece, end):
            while piece and not text.startswith(piece, end):
                piece = piece[:-1]
        matched, end = matched + len(piece), end + len(piece)
        if len(piece) < 64 and matched < len(written):
            wrapped = _BREAK.match(text, end) if is_base64 and piece else None
            if wrapped is None or not text.startswith(written[matched], wrapped.end()):
                break
            end = wrapped.end()
    return end if matched >= least else at


def _forms_of(value: bytes, max_parts: int) -> _Known:
    """Return the forms in which a secret appears in the texts of SDKs."""
    known = _Known([], [])
    for whole in {value, value.strip()}:
        for encode in _OF_BYTES if len(whole) >= _WORD else ():
            _add_form(known, encode, whole)
        try:
            text = whole.decode()
        except UnicodeDecodeError:
            continue
        for encode in _OF_TEXT:
            _add_form(known, encode, text)
    for part in islice(_parts_of(value), max_parts):
        if len(part) < _START:
            known.short.append(part)
        else:
            for encode in _OF_LINES[:1] if _NEVER_ESCAPED.fullmatch(part) else _OF_LINES:
                _add_form(known, encode, part, is_line=True)
    known.starts = [*dict.fromkeys(known.starts)]
    known.short = [*dict.fromkeys(known.short)]
    return known


def _add_form(
    known: _Known, encode: Callable[[Any], str], value: str | bytes, *, is_line: bool = False
) -> None:
    # The first characters depend only on the first ones of the value. The rest is encoded when a
    # text contains them.
    written = encode(value[:_CUT]) if len(value) > _CUT else encode(value)
    size = len(written) if len(value) <= _CUT else _CUT
    if encode in _BASE64:
        # The last character before the padding may differ if more follows.
        full = written.replace("%3D", "").rstrip("=")
        size = min(_CUT, len(full) - (len(full) != len(written)))
        if size < _START:
            known.short += [form for form in (written, full) if len(form) >= _WORD + 1]
            return
    elif size < _START:
        if size:
            known.short.append(written)
        return
    least = len(encode(value)) if is_line else min(size, _CUT)
    known.starts.append((written[:_START], (encode, value, least)))


def _parts_of(value: bytes) -> Iterator[str]:
    """Yield the lines of a secret, and the values within it whose keys look secret."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    for match in _LEAF.finditer(text):
        leaf = _unquoted(match[1])
        if len(leaf) >= _LEAST_LEAF:
            yield leaf
            yield from _lines_of(leaf)
    yield from _lines_of(text)


def _lines_of(text: str) -> Iterator[str]:
    """Yield the lines of a text, if it has several."""
    for match in _LINE.finditer(text):
        line = match[0].strip()
        if _START <= len(line) < len(text):
            yield line


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        try:
            return str(json.loads(text, strict=False))
        except ValueError:
            pass
    return text.strip("\"'")


in_flight: Final = Redactor()
"""Knows the secrets of all calls of this process."""
os.register_at_fork(after_in_child=in_flight.unlock)


def at_once(action: Callable[[], None]) -> None:
    """Call a function."""
    action()


after_log: Callable[[Callable[[], None]], None] = at_once
"""Calls a function once everything that was logged so far has been scrubbed."""


class Lease:
    """Keeps the secrets of one call in `in_flight` until nothing of the call is alive.

    The call's context refers to the lease, and the call's thread and tasks inherit the context.
    So the lease covers a thread that outlives its call, and gRPC's log lines after a call.
    """

    __slots__ = ("_at_end", "sources")

    def __init__(self, message: Message, size: int, at_end: Callable[[], None]) -> None:
        self.sources = Sources(messages=[message], size=size)
        self._at_end = at_end
        in_flight.add(self.sources)

    def watch(self, *models: BaseModel) -> None:
        """Mask the secret-typed fields of these models too."""
        self.sources.models += models
        in_flight.add(self.sources)

    def watch_document(self, kind: type[BaseModel], raw: bytes) -> None:
        """Mask the values in JSON where the model has secret-typed fields, even in invalid JSON."""
        if has_secrets(kind):
            self.sources.documents.append((kind, raw))
            in_flight.add(self.sources)

    def __del__(self) -> None:
        after_log(partial(_end_lease, self.sources, self._at_end))


def _end_lease(sources: Sources, at_end: Callable[[], None]) -> None:
    in_flight.forget(sources)
    at_end()


lease: ContextVar[Lease | None] = ContextVar("lease", default=None)
"""The lease of the call that is being served."""


def secret_fields(message: Message) -> Iterator[bytes]:
    """Yield the values of all fields of `message` that carry the option `cmi_secret`."""
    for description, value in message.ListFields():
        if description.GetOptions().Extensions[cmi_pb2.cmi_secret]:
            yield from value.values()


@cache
def has_secrets(kind: type[BaseModel]) -> bool:
    """Return whether a model may contain a `SecretStr` or a `SecretBytes`."""
    return _may_hold_secrets(kind)


def _may_hold_secrets(annotation: Any) -> bool:
    return any(_is_secret(kind) or kind in (Any, object) for kind in _kinds_in(annotation, set()))


def _is_secret(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, (SecretStr, SecretBytes))


def _kinds_in(annotation: Any, seen: set[Any]) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            for info in annotation.model_fields.values():
                yield from _kinds_in(info.annotation, seen)
        return
    yield annotation
    for argument in get_args(annotation):
        yield from _kinds_in(argument, seen)


def _secrets_in(value: object) -> Iterator[bytes]:
    """Yield the plain values of all `SecretStr` and `SecretBytes` within a model."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value().encode(errors="surrogatepass")
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _secrets_in([getattr(value, name) for name in type(value).model_fields])
    elif isinstance(value, Mapping):
        yield from _secrets_in(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            yield from _secrets_in(item)


def _secrets_in_json(kind: type[BaseModel], raw: bytes) -> Iterator[bytes]:
    """Yield the values in JSON where the model has secrets, whether or not they are valid."""
    try:
        yield from _Comparison().secrets_at(kind, json.loads(raw))
    except (ValueError, RecursionError):
        return


class _Comparison:
    """Walks through JSON along the annotations of a model.

    It compares each value with each annotation only once. Nested unions would take for ever
    otherwise.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._annotations: dict[int, tuple[Any, bool]] = {}

    def secrets_at(self, annotation: Any, value: Any) -> Iterator[bytes]:
        """Yield the secrets that a value contains if it is of this type."""
        if (seen := (id(annotation), id(value))) in self._seen or not self._may_hold(annotation):
            return
        self._seen.add(seen)
        if _is_secret(annotation):
            yield from _strings_in(value)
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if isinstance(value, dict):
                for name, info in annotation.model_fields.items():
                    for key in {name, info.alias, info.validation_alias}:
                        if isinstance(key, str) and key in value:
                            yield from self.secrets_at(info.annotation, value[key])
        else:
            arguments = get_args(annotation)
            if get_origin(annotation) is Annotated:
                arguments = arguments[:1]
            items = value.values() if isinstance(value, dict) else value
            for argument in arguments:
                yield from self.secrets_at(argument, value)
                for item in items if isinstance(value, dict | list) else ():
                    yield from self.secrets_at(argument, item)

    def _may_hold(self, annotation: Any) -> bool:
        # By identity: some annotations have no hash. Cached ones stay alive, so no ID is reused.
        known = self._annotations.get(id(annotation))
        if known is None:
            known = self._annotations[id(annotation)] = annotation, _may_hold_secrets(annotation)
        return known[1]


def _strings_in(value: Any) -> Iterator[bytes]:
    if isinstance(value, str):
        yield value.encode(errors="surrogatepass")
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings_in(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value).encode()

"""Writes JSON byte for byte as the API server does, that is, like Go's encoding/json.

Keys are sorted, nothing is indented, and `<`, `>` and `&` are escaped. A number is an integer
of 64 bits or a float, because the API server stores it with that precision.
"""

import json
import math
import re
from decimal import Decimal
from typing import Final, NoReturn

from cmi.manifests.goyaml import Json

_ESCAPED: Final = re.compile('["\\\\\x00-\x1f<>&\u2028\u2029\ud800-\udfff]')
_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


def read(text: str, start: int) -> tuple[Json, int]:
    """Return the JSON value that begins at `start`, and where it ends.

    Raises:
        ValueError: The text is not JSON, or nested too deeply.
    """
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def write(value: Json) -> bytes:
    """Return a value in the API server's form.

    Raises:
        ValueError: The value contains a number that JSON can't represent.
    """
    return _text(value).encode()


def _text(value: Json) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_string(key)}:{_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, str):
        return _string(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _number(value)


def _string(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code >= 0xD800:  # half of a surrogate pair
        return "\ufffd"
    return _ESCAPES.get(match[0], f"\\u{code:04x}")


def _number(value: float) -> str:
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return str(value)
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"JSON can't represent the number {value}")
    if value and not 1e-6 <= abs(value) < 1e21:
        return repr(value).replace("e-0", "e-")
    text = format(Decimal(repr(value)), "f")
    return str(int(value)) if text.endswith(".0") else text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON can't represent the number {constant}")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)

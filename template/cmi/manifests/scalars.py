"""The types of scalars in go-yaml v2, and their conversion to JSON keys."""

import base64
import math
import re
import struct
from typing import Final, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

TAG: Final = "tag:yaml.org,2002:"
"""The full form of the prefix `!!` of a tag such as `!!str`."""

_WORDS: Final[tuple[tuple[str, Scalar, tuple[str, ...]], ...]] = (
    ("bool", True, ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")),
    ("bool", False, ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")),
    ("null", None, ("", "~", "null", "Null", "NULL")),
    ("float", math.nan, (".nan", ".NaN", ".NAN")),
    ("float", math.inf, (".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF")),
    ("float", -math.inf, ("-.inf", "-.Inf", "-.INF")),
)
_CONSTANTS: Final = {word: (kind, value) for kind, value, words in _WORDS for word in words}
_INTEGER: Final = re.compile(
    r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))"
)
_BASES: Final = (16, 2, 8, 10)
_SIGNED_BINARY: Final = re.compile(r"0b([-+][01]+)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_POINTED: Final = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
_MAX_INT64: Final = 2**63 - 1
_MAX_UINT64: Final = 2**64 - 1
_MAX_DIGITS: Final = 20


def resolve(text: str, tag: str, *, is_plain: bool) -> tuple[str, Scalar]:
    """Return the type and the value of a scalar.

    Args:
        text: The scalar's text.
        tag: Its full tag, or an empty text.
        is_plain: Whether it has neither quotes nor a tag.

    Raises:
        ValueError: The text does not have the type of its tag.
    """
    if not tag and not is_plain:
        return "str", text
    short = tag.removeprefix(TAG) if tag.startswith(TAG) else ""
    if short == "binary":
        return "str", _binary(text)
    if short == "str" or tag == "!":
        return "str", text
    if tag and short not in ("bool", "int", "float", "null"):
        raise ValueError(f"the tag {tag} is not supported; leave it out")
    kind, value = _implicit(text)
    if short == "float" and kind == "int" and isinstance(value, int) and value <= _MAX_INT64:
        return "float", float(value)
    if short and short != kind:
        raise ValueError(f"a value has the tag !!{short} and is of type {kind}")
    return kind, value


def key_text(kind: str, value: Scalar) -> str:
    """Return a key of this type as a JSON key.

    Raises:
        ValueError: The value can't be a key.
    """
    if value is None:
        raise ValueError("a key is empty, or null")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_key(value)
    if isinstance(value, int) and value > _MAX_INT64:
        raise ValueError("a key is a number of more than 63 bits")
    return str(value)


def _implicit(text: str) -> tuple[str, Scalar]:
    """Return the type and the value of a plain scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _POINTED.fullmatch(text):
        return _finite(text.replace("_", ""), text)
    if text[0] in "+-0123456789":
        plain = text.replace("_", "")
        integer = _integer(plain)
        if integer is not None:
            return "int", integer
        if _FLOAT.fullmatch(plain):
            return _finite(plain, text)
    return "str", text


def _integer(text: str) -> int | None:
    """Return the number that Go's strconv reads, as a signed or unsigned integer of 64 bits."""
    binary = _SIGNED_BINARY.fullmatch(text)
    if binary:
        value = int(binary[1], 2)
        return value if -_MAX_INT64 - 1 <= value <= _MAX_INT64 else None
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    sign, *digits = match.groups()
    if match[5] and len(match[5]) > _MAX_DIGITS:
        return None
    value = next(int(found, base) for found, base in zip(digits, _BASES, strict=True) if found)
    if sign == "-":
        return -value if value <= _MAX_INT64 + 1 else None
    return value if value <= (_MAX_INT64 if sign else _MAX_UINT64) else None


def _finite(number: str, text: str) -> tuple[str, str | float]:
    value = float(number)
    return ("str", text) if math.isinf(value) else ("float", value)


def _binary(text: str) -> str:
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True).decode()
    except ValueError:
        raise ValueError("a value has the tag !!binary and is not base64 of text") from None


def _float_key(value: float) -> str:
    """Return a number as go-yaml writes it in a key: with the precision of 32 bits."""
    if math.isnan(value):
        return ".nan"
    try:
        (single,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        single = math.copysign(math.inf, value)
    if math.isinf(single):
        return ".inf" if single > 0 else "-.inf"
    shortest = next(
        text
        for digits in range(9)
        if struct.pack("f", float(text := f"{single:.{digits}e}")) == struct.pack("f", single)
    )
    mantissa, _, exponent = shortest.partition("e")
    if not -4 <= int(exponent) < 6:
        return shortest
    return f"{single:.{max(len(mantissa.lstrip('-').replace('.', '')) - 1 - int(exponent), 0)}f}"

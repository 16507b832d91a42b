"""Values as JSON text, and, where that cannot be, which value is the reason and where it is.

The way of a good value is the C encoder and nothing else. Only a value that it refused is walked through, to name the
first fault by its path: `output.scores[3] is NaN …`. numpy's and torch's scalars count as the numbers they hold.
"""

from __future__ import annotations

import json
import json.encoder
import math
from typing import Any, Callable

MOST_LEVELS = 512  # what the supervisor takes

_decoder = json.JSONDecoder()
_scan = getattr(_decoder, "scan_once", None)


class NotJson(TypeError):
    """A value that JSON cannot express; the message begins with its path."""


def decode(text: bytes) -> Any:
    """From bytes of UTF-8."""
    decoded = str(text, "utf-8")
    if _scan is not None:  # PyPy has none
        try:
            value, end = _scan(decoded, 0)
            if end == len(decoded):
                return value
        except StopIteration:
            pass
    return _decoder.decode(decoded)  # with blanks around it


def _plain_number(value: Any) -> Any:
    """The number a scalar of numpy or torch holds."""
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "shape", None) == ():
        plain = item()
        if type(plain) in (int, float, bool, str):
            return plain
    raise TypeError("not JSON")


def _encoder() -> Callable[[Any], str]:
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # PyPy
        return json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain_number
        ).encode
    # Without the table of containers being written: a circle ends by the limit of recursion, a good value pays nothing.
    write = make(None, _plain_number, getattr(json.encoder, "encode_basestring"), None, ":", ",", False, False, False)
    join = "".join
    return lambda value: join(write(value, 0))


_encode = _encoder()


def encode(value: Any, name: str, nan_as_null: bool = False) -> bytes:
    """The text of `value` as bytes. Raises NotJson, which calls the value itself `name`."""
    try:
        text = _encode(value)
        data = text.encode("utf-8")
    except Exception as error:  # also what a foreign item() or an odd subclass raises
        fault = find_fault(value, name, nan_as_null)
        if fault is not None:
            raise NotJson(fault) from None
        if not nan_as_null:
            raise NotJson("%s cannot be written as JSON: %s" % (name, _text_of(error))) from None
        data = _encode(_without_nan(value)).encode("utf-8")
        text = None
    # A fault the encoder does not see. Few values have so many containers that it is worth looking.
    if len(data) > 2 * MOST_LEVELS and data.count(b"[") + data.count(b"{") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
        raise NotJson(find_fault(value, name, True) or "%s is nested too deeply" % name)
    return data


def _levels(value: Any) -> int:
    """How deep the containers are nested, as far as it matters."""
    level, depth = [value], 0
    while level and depth <= MOST_LEVELS:
        deeper = []
        for container in level:
            parts = container.values() if isinstance(container, dict) else container
            deeper += [part for part in parts if isinstance(part, (dict, list, tuple))]
        level, depth = deeper, depth + 1
    return depth


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    if not isinstance(value, (str, int, float, type(None))):
        value = _plain_number(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- the first fault -------------------------------------------------------------------------------------------------

_HINTS = {
    "bytes": "encode it, for example with base64",
    "bytearray": "encode it, for example with base64",
    "memoryview": "encode it, for example with base64",
    "set": "return a list",
    "frozenset": "return a list",
    "ndarray": "return its tolist()",
    "Tensor": "return its tolist()",
    "datetime": "return its isoformat()",
    "date": "return its isoformat()",
    "Decimal": "return a float or a str",
    "generator": "return a list",
    "function": "was a call forgotten?",
    "coroutine": "was an await forgotten?",
}


def find_fault(value: Any, path: str, nan_as_null: bool = False) -> str | None:
    """What is wrong with `value`, beginning with the path of the first fault; None where nothing is."""
    # By hand and not by recursion: the value may be deeper than the stack.
    trail, names, walks = set(), [path], []

    def enter(container: Any) -> None:
        trail.add(id(container))
        if isinstance(container, dict):
            walks.append((container, iter([("." + _key(key), part, key) for key, part in container.items()])))
        else:
            walks.append((container, (("[%d]" % i, part, "") for i, part in enumerate(container))))

    def judge(part: Any) -> str | None:
        if isinstance(part, (dict, list, tuple)):
            if id(part) in trail:
                return " contains itself"
            if len(walks) >= MOST_LEVELS:
                return " is nested more than %d levels deep" % MOST_LEVELS
            enter(part)
            return None
        return _fault_of_leaf(part, nan_as_null)

    fault = judge(value)
    while fault is None and walks:
        container, rest = walks[-1]
        step = next(rest, None)
        if step is None:
            walks.pop()
            trail.discard(id(container))
            continue
        name, part, key = step
        names[len(walks):] = []
        fault = _fault_of_key(key)
        if fault is None:
            names.append(name)
            fault = judge(part)
    return _shortened("".join(names)) + fault if fault is not None else None


def _shortened(path: str) -> str:
    return path if len(path) <= 300 else path[:150] + " … " + path[-150:]


def _key(key: Any) -> str:
    text = key if isinstance(key, str) else repr(key)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 80 else text[:80] + "…"


def _fault_of_key(key: Any) -> str | None:
    if isinstance(key, str):
        fault = _fault_of_leaf(key, False)
        return fault and " has a key that" + fault
    if isinstance(key, float) and not math.isfinite(key):
        return " has the key %r, which JSON does not have" % key
    if key is None or isinstance(key, (bool, int, float)):
        return None
    return " has a key that is a %s: keys must be strings or numbers" % type(key).__name__


def _fault_of_leaf(value: Any, nan_as_null: bool) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value.encode("utf-8")
            return None
        except UnicodeEncodeError as error:
            return " is text with half a character (U+%04X at %d): it is not Unicode" % (
                ord(value[error.start]),
                error.start,
            )
    if isinstance(value, int):
        try:
            int.__repr__(value)
            return None
        except ValueError:
            return " is an integer of about %d digits, more than this Python writes" % (value.bit_length() * 0.30103)
    if isinstance(value, float):
        if math.isfinite(value) or nan_as_null:
            return None
        number = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        return " is %s, which JSON does not have (BULKHEAD_NAN_AS_NULL=1 sends null)" % number
    try:
        return _fault_of_leaf(_plain_number(value), nan_as_null)
    except Exception:
        kind = type(value).__name__
        hint = _HINTS.get(kind)
        return " is %s %s, which JSON does not have%s: %s" % (
            "an" if kind[:1] in "aeiouAEIOU" else "a",
            kind,
            " (%s)" % hint if hint else "",
            _text_of(value, repr),
        )


def _text_of(value: Any, how: Any = str) -> str:
    """A short text of anything."""
    try:
        text: str = how(value)
    except Exception as error:
        text = "its %s() raised %s" % (how.__name__, type(error).__name__)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 120 else text[:100] + "…"

"""Broken versions of good files."""
import json
import random
import struct
from typing import Any, Iterator, Sequence

EXTREME = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 3600 * 100 * 16000]  # the last: samples of 100 hours
TOKENS = [b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400, b"null", b"true", b'""', b"[]", b"{}", b"[" * 2000, b'{"a":' * 500, b"\0", b"\xff\xfe", b"\r\n", b"\n\n",
          b"../../../tmp/x", b"/etc/passwd", b"'", b'"', b"\\u0000", b"\\ud800", b"%s%n", b"=", b"#", b"0x10", b"1_0", b"inf", b"nan", b"\xe2\x80\xae"]

VALUES = [None, True, 0, -1, 0.5, 1e308, 10**30, float("nan"), float("inf"), "", "x", "\ud800", "../../x", "<b>", [], [1, 2], ["a"], {}, {"a": 1}]  # for those of JSON


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the seeds, changed in one to four ways."""
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        content = chance.choice(WAYS)(content, chance, seeds)
    return bytes(content)


def _place(content: bytearray, chance: random.Random) -> int:
    """A place in it; headers are hit more often."""
    return chance.randrange(min(len(content), 96) if chance.random() < 0.6 else len(content)) if content else 0


def flip(content, chance, seeds):
    """A bit turned over."""
    if content:
        content[_place(content, chance)] ^= 1 << chance.randrange(8)
    return content


def number(content, chance, seeds):
    """An extreme number in one, two, four or eight bytes."""
    width, order = chance.choice([1, 2, 4, 4, 8]), chance.choice(["little", "big"])
    place = _place(content, chance)
    content[place : place + width] = (chance.choice(EXTREME) % 256**width).to_bytes(width, order)
    return content


def cut(content, chance, seeds):
    """The beginning alone."""
    return content[: _place(content, chance)]


def left_out(content, chance, seeds):
    """A piece missing."""
    place = _place(content, chance)
    del content[place : place + chance.randrange(1, 64)]
    return content


def doubled(content, chance, seeds):
    """A piece twice."""
    place, length = _place(content, chance), chance.randrange(1, 256)
    content[place:place] = content[place : place + length]
    return content


def token(content, chance, seeds):
    """A word that readers stumble over."""
    place = _place(content, chance)
    content[place : place + chance.choice([0, 0, 4])] = chance.choice(TOKENS)
    return content


def crossed(content, chance, seeds):
    """The beginning of one and the end of another."""
    other = chance.choice(seeds)
    return content[: _place(content, chance)] + other[_place(bytearray(other), chance) :]


def floats(content, chance, seeds):
    """A number that is none."""
    place = _place(content, chance)
    content[place : place + 4] = struct.pack("<f", chance.choice([float("nan"), float("inf"), -1e38, 1e-45]))
    return content


def another_value(content, chance, seeds):
    """JSON that is still JSON, with another value somewhere; other bytes with an extreme number."""
    try:
        found = json.loads(content)
        holder, key = chance.choice(list(_places(found)))
    except (ValueError, RecursionError, IndexError):
        return number(content, chance, seeds)
    if chance.random() < 0.1:
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    return bytearray(json.dumps(found).encode("ascii"))


def _places(thing: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of each value."""
    for key, value in list(thing.items()) if isinstance(thing, dict) else list(enumerate(thing)) if isinstance(thing, list) else ():
        yield thing, key
        yield from _places(value)


WAYS = (flip, flip, number, number, cut, left_out, doubled, token, crossed, floats, another_value, another_value)

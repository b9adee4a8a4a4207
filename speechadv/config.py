"""Flat TOML configs as dataclasses: every key known, every value of the right type, or one line that says which is not."""
import dataclasses
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from .errors import ConfigError, shown
from .registry import closest, keywords, lookup

T = TypeVar("T")


def load(cls: type[T], path: str | Path, overrides: typing.Sequence[str] = ()) -> T:
    """Read a config file into a dataclass; `overrides` are `key=value` words (dotted keys reach into tables; value in TOML, or a bare string).

    Raises ConfigError: no such file, not TOML, unknown key, wrong type, negative or non-finite number.
    """
    content = read(path)
    for override in overrides:
        key, value = parse_override(override)
        _set(content, key.split("."), value)
    return from_dict(cls, content, str(path))


def _set(content: dict[str, Any], keys: list[str], value: Any) -> None:
    """Put a value at a dotted key, making the tables on the way."""
    for key in keys[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set '{shown('.'.join(keys))}': '{shown(key)}' is no table")
    content[keys[-1]] = value


def read(path: str | Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises ConfigError for a missing, empty or broken one."""
    try:
        content = tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"config '{shown(path)}': no such file") from None
    except OSError as problem:
        raise ConfigError(f"config '{shown(path)}': {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:  # broken TOML or UTF-8, or an integer of thousands of digits
        raise ConfigError(f"config '{shown(path)}': expected TOML: {shown(problem)}") from None
    if not content:
        raise ConfigError(f"config '{shown(path)}' is empty: expected keys such as models, attacks, budgets")
    return content


def parse_override(word: str) -> tuple[str, Any]:
    """`key=value` -> (key, value). A value that is not TOML is taken as a string."""
    key, equals, value = word.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set '{shown(word)}': expected key=value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits
        return key.strip(), value


def from_dict(cls: type[T], content: dict[str, Any], where: str = "config") -> T:
    """A dataclass from a dictionary, strictly. Nested dataclasses take nested tables. Raises ConfigError."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in content:
        if key not in fields:
            raise ConfigError(f"{shown(where)}: unknown key '{shown(key)}'{closest(key, fields)} (known: {', '.join(fields)})")
    missing = [n for n, f in fields.items() if n not in content and f.default is f.default_factory is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"{shown(where)}: key '{missing[0]}' is missing")
    return cls(**{key: _checked(hints[key], value, f"{where}: {key}") for key, value in content.items()})


def keywords_of(kind: str, name: str, options: dict[str, Any], where: str) -> dict[str, Any]:
    """The keywords for a registered attack, defense or model, held to the types that its constructor names. Raises ConfigError."""
    factory, known = lookup(kind, name), keywords(kind, name)
    for key in options:
        if key not in known:
            raise ConfigError(f"{where}: {kind} '{name}' has no option '{shown(key)}'{closest(key, known)} (known: {', '.join(known) or 'none'})")
    hints = typing.get_type_hints(factory.__init__ if isinstance(factory, type) else factory)
    return {key: _checked(hints.get(key, Any), value, f"{where}: {key}") for key, value in options.items()}


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value as the type that the hint asks for, or ConfigError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(arguments, value, where)
    if hint is type(None) and value is None:
        return None
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_dict(hint, value, where)
    if origin in (list, tuple) and isinstance(value, list):
        return [_checked(arguments[0] if arguments else Any, v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict) or hint is Any:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(_finite(value, where))
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return _finite(value, where)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    raise ConfigError(f"{shown(where)}: expected {_named(hint)}, got {shown(repr(value))[:80]}")


def _first_that_fits(arguments, value, where):
    problems = []
    for argument in arguments:
        try:
            return _checked(argument, value, where)
        except ConfigError as problem:
            problems.append(problem)
    raise problems[0]


def _finite(number, where):
    if not abs(number) < 2**63:  # NaN, infinity, and integers that only Python can hold
        raise ConfigError(f"{shown(where)}: expected a finite number of at most 18 digits")
    return number


def _named(hint: Any) -> str:
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    if typing.get_origin(hint) in (list, tuple):
        return "a list"
    if typing.get_origin(hint) is dict or dataclasses.is_dataclass(hint):
        return "a table"
    return words.get(hint, str(hint))


def require(condition: bool, key: str, expected: str, came: Any, where: str = "config") -> None:
    """Raise ConfigError naming the key unless the condition holds."""
    if not condition:
        raise ConfigError(f"{shown(where)}: {key}: expected {expected}, got {shown(came)}")


def as_dict(config: Any) -> dict[str, Any]:
    """A dataclass as a plain dictionary without the keys that are None (TOML has no null)."""
    return {k: v for k, v in dataclasses.asdict(config).items() if v is not None}


def dumps(config: Any) -> str:
    """The resolved config as TOML text."""
    return tomli_w.dumps(as_dict(config))

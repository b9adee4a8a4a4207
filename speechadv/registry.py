"""Names of models, attacks, defenses and budgets, and the classes behind them.

A newcomer is one file in `models/`, `attacks/`, `defenses/` or `budgets/` with `@register(kind, name)` on its class; the constructor's keywords
are its configuration. The files of a folder are imported when the first name of that kind is asked for.
"""
import difflib
import importlib
import inspect
import pkgutil
from typing import Any, Callable

from .errors import ConfigError, shown

FOLDERS = {"model": "models", "attack": "attacks", "defense": "defenses", "budget": "budgets", "detector": "detectors", "corruption": "evaluation.corruptions"}
_entries: dict[str, dict[str, Callable]] = {kind: {} for kind in FOLDERS}
_complete: set[str] = set()


def register(kind: str, name: str) -> Callable[[Callable], Callable]:
    """Decorator that enters a class or factory under a name. Raises ValueError where the name is taken by another one."""

    def enter(factory: Callable) -> Callable:
        taken = _entries[kind].get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (factory.__module__, factory.__qualname__):
            raise ValueError(f"{kind} {name!r} is registered twice: {taken.__module__} and {factory.__module__}")
        _entries[kind][name] = factory
        return factory

    return enter


def _load(kind: str) -> None:
    if kind in _complete:
        return
    package = importlib.import_module(f"speechadv.{FOLDERS[kind]}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    _complete.add(kind)


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted."""
    _load(kind)
    return sorted(_entries[kind])


def closest(word: str, choices) -> str:
    """", did you mean 'x'?" for a misspelt word, else an empty string."""
    near = difflib.get_close_matches(str(word), [str(choice) for choice in choices], n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def lookup(kind: str, name: str) -> Callable:
    """The class or factory registered under a name. Raises ConfigError for an unknown one."""
    known = names(kind)
    if name not in _entries[kind]:
        raise ConfigError(f"unknown {kind} '{shown(name)}'{closest(name, known)} (known: {', '.join(known)})")
    return _entries[kind][name]


def keywords(kind: str, name: str) -> list[str]:
    """The configuration keywords of an entry."""
    parameters = inspect.signature(lookup(kind, name)).parameters.values()
    return [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]


def create(kind: str, name: str, *arguments: Any, **configuration: Any) -> Any:
    """Make an entry from its configuration. Raises ConfigError for an unknown name or keyword, naming the closest one."""
    factory, known = lookup(kind, name), keywords(kind, name)
    for key in configuration:
        if key not in known:
            raise ConfigError(f"{kind} '{name}' has no option '{shown(key)}'{closest(key, known)} (known: {', '.join(known)})")
    try:
        inspect.signature(factory).bind(*arguments, **configuration)
    except TypeError as problem:
        raise ConfigError(f"{kind} '{name}': {problem}") from None
    return factory(*arguments, **configuration)

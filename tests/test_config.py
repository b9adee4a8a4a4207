"""Flat TOML configs: strict in keys and types, one line for what is wrong."""
from dataclasses import dataclass, field

import pytest

from speechadv import config
from speechadv.errors import ConfigError


@dataclass
class Inner:
    share: float = 0.5


@dataclass
class Example:
    name: str
    count: int = 3
    rate: float = 0.1
    flag: bool = False
    words: list[str] = field(default_factory=list)
    pairs: list[list[int]] = field(default_factory=list)
    either: str | list[str] = "a"
    perhaps: int | None = None
    inner: Inner = field(default_factory=Inner)
    options: dict[str, object] = field(default_factory=dict)


def loaded(tmp_path, text, *overrides):
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    return config.load(Example, tmp_path / "config.toml", overrides)


def test_it_reads_what_it_writes(tmp_path):
    text = 'name = "ä"\ncount = 4\nrate = 1\nwords = ["x"]\npairs = [[1, 2]]\neither = ["a", "b"]\n[inner]\nshare = 0.25\n[options]\nwidth = 2\n'
    example = loaded(tmp_path, text)
    assert example == Example("ä", 4, 1.0, False, ["x"], [[1, 2]], ["a", "b"], None, Inner(0.25), {"width": 2})
    assert isinstance(example.rate, float)
    assert loaded(tmp_path, config.dumps(example)) == example


def test_overrides(tmp_path):
    example = loaded(tmp_path, 'name = "a"', "count=7", "words=['x', 'y']", "name=no TOML", "inner.share=0.75", "options.new.deep=1")
    assert (example.count, example.words, example.name, example.inner.share, example.options) == (7, ["x", "y"], "no TOML", 0.75, {"new": {"deep": 1}})


@pytest.mark.parametrize("text, message", [
    ("", "is empty"),
    ("# nothing\n", "is empty"),
    ("name = ", "expected TOML"),
    ('name = "a"\nname = "b"', "expected TOML"),
    ('count = 1', "key 'name' is missing"),
    ('name = "a"\ncuont = 1', "unknown key 'cuont', did you mean 'count'"),
    ('name = "a"\n[inner]\nshaer = 1', "inner: unknown key 'shaer', did you mean 'share'"),
    ("name = 1", "name: expected a text, got 1"),
    ('name = "a"\ncount = 1.5', "count: expected a whole number, got 1.5"),
    ('name = "a"\ncount = true', "count: expected a whole number, got True"),
    ('name = "a"\nrate = "fast"', "rate: expected a number, got 'fast'"),
    ('name = "a"\nrate = nan', "rate: expected a finite number"),
    ('name = "a"\nrate = -inf', "rate: expected a finite number"),
    (f'name = "a"\ncount = {10**400}', "count: expected a finite number"),
    (f'name = "a"\nrate = {10**400}', "rate: expected a finite number"),
    (f'name = "a"\ncount = {"9" * 5000}', "expected TOML"),
    ('name = "a"\nflag = 1', "flag: expected true or false"),
    ('name = "a"\nwords = "x"', "words: expected a list"),
    ('name = "a"\nwords = ["x", 1]', r"words\[1\]: expected a text, got 1"),
    ('name = "a"\npairs = [[1, "2"]]', r"pairs\[0\]\[1\]: expected a whole number"),
    ('name = "a"\neither = 1', "either: expected a text"),
    ('name = "a"\ninner = 1', "inner: expected a table, got 1"),
    ('name = "a"\noptions = []', "options: expected a table"),
    ('name = "a"\n"x\\u0007" = 1', r"unknown key 'x\\x07'"),
    ("name = " + "[" * 5000, "expected TOML"),
])
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as problem:
        loaded(tmp_path, text)
    assert "config.toml" in str(problem.value) and len(str(problem.value).splitlines()) == 1


@pytest.mark.parametrize("override, message", [("count", "expected key=value"), ("=1", "expected key=value"), ("count=x", "expected a whole number"), ("count=" + 5000 * "9", "expected a whole number"),
                                               ("name.deep=1", "'name' is no table"), ("nmae=x", "did you mean 'name'")])
def test_wrong_overrides(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, 'name = "a"', override)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        config.load(Example, tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="directory"):
        config.load(Example, tmp_path)
    (tmp_path / "latin.toml").write_bytes('name = "ä"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="expected TOML"):
        config.load(Example, tmp_path / "latin.toml")


def test_keywords_are_held_to_their_types():
    assert config.keywords_of("attack", "pgd", {"steps": 3, "step_size": 1, "full": True}, "here") == {"steps": 3, "step_size": 1.0, "full": True}
    for options, message in (({"step": 3}, "did you mean 'steps'"), ({"steps": "3"}, "here: steps: expected a whole number"),
                             ({"steps": True}, "whole number"), ({"loss": 1}, "loss: expected a text")):
        with pytest.raises(ConfigError, match=message):
            config.keywords_of("attack", "pgd", options, "here")


def test_require():
    config.require(True, "key", "anything", 1)
    with pytest.raises(ConfigError, match="config: key: expected more, got 1"):
        config.require(False, "key", "more", 1)


def test_what_is_none_is_left_out():
    assert "perhaps" not in config.as_dict(Example("a")) and config.as_dict(Example("a", perhaps=1))["perhaps"] == 1

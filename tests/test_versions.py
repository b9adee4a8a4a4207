"""The versions that setup.cfg allows: a lower and an upper bound each, and the lowest ones are those that `make test-lowest` runs on."""
import configparser
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOUNDED = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9.]+),<([0-9.]+)")


def requirements():
    """Every line of install_requires and of all extras, our own extras left out."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].splitlines() + [line for extra in config["options.extras_require"].values() for line in extra.splitlines()]
    return sorted({line for line in map(str.strip, lines) if line and not line.startswith(("#", "speechadv["))})


@pytest.mark.parametrize("line", requirements())
def test_has_a_lower_and_an_upper_bound(line):
    found = BOUNDED.fullmatch(line)
    assert found, f"expected NAME>=LOWEST,<NEXT, got {line}"
    assert number(found[2]) < number(found[3])


def number(version):
    return tuple(map(int, version.split(".")))


def test_the_lowest_versions_are_the_lower_bounds():
    allowed = {found[1]: number(found[2]) for line in requirements() if (found := BOUNDED.fullmatch(line))}
    pinned = dict(line.split("==") for line in (ROOT / "tests" / "lowest.txt").read_text("utf-8").splitlines() if not line.startswith("#"))
    assert pinned.pop("pyparsing") and pinned.pop("llvmlite") and len(pinned) >= 20 and pinned.keys() <= allowed.keys()
    for name, version in pinned.items():
        parts = number(version)
        assert parts == allowed[name] + (0,) * (len(parts) - len(allowed[name])), f"{name}: tests/lowest.txt has {version}, setup.cfg another lower bound"


def test_python_versions_are_named_and_this_is_one():
    text = (ROOT / "setup.cfg").read_text("utf-8")
    assert "python_requires = >=3.11" in text and (3, 11) <= sys.version_info[:2]
    assert re.findall(r"Python :: (3\.[0-9]+)", text) == ["3.11", "3.12", "3.13"]

"""Names of models, attacks, defenses and budgets: loaded when asked for, misspellings met with the closest one."""
import subprocess
import sys

import pytest

from speechadv import registry
from speechadv.errors import ConfigError


@pytest.fixture
def own_entries(monkeypatch):
    """Names that a test adds are gone afterwards."""
    for kind in registry.FOLDERS:
        registry.names(kind)  # all are loaded before the copy: a module registers itself only once
    monkeypatch.setattr(registry, "_entries", {kind: dict(entries) for kind, entries in registry._entries.items()})


def test_everything_is_found():
    assert {"pgd", "fgsm", "noise"} <= set(registry.names("attack"))
    assert {"linf", "snr", "masking"} <= set(registry.names("budget"))
    assert registry.names("attack") == sorted(registry.names("attack"))


def test_one_kind_is_loaded_at_a_time():
    code = ("import sys\nfrom speechadv import registry\nassert 'torch' not in sys.modules\nregistry.names('budget')\n"
            "assert 'speechadv.budgets.snr' in sys.modules and 'speechadv.attacks.pgd' not in sys.modules and 'speechadv.defenses.mp3' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind, name, message", [
    ("attack", "pdg", "unknown attack 'pdg', did you mean 'pgd'?"),
    ("budget", "masking-", "did you mean 'masking'"),
    ("defense", "zzz", r"unknown defense 'zzz' \(known: .*mp3"),
    ("model", "a\nb", r"unknown model 'a\\nb'"),
])
def test_an_unknown_name(kind, name, message):
    with pytest.raises(ConfigError, match=message) as problem:
        registry.create(kind, name)
    assert len(str(problem.value).splitlines()) == 1


def test_an_unknown_keyword():
    with pytest.raises(ConfigError, match="attack 'pgd' has no option 'step', did you mean 'steps'"):
        registry.create("attack", "pgd", step=3)
    with pytest.raises(ConfigError, match="missing a required argument: 'eps'"):
        registry.create("budget", "linf")


def test_keywords_are_those_of_the_constructor():
    assert registry.keywords("attack", "fgsm") == ["loss"]
    assert {"steps", "restarts", "full"} <= set(registry.keywords("attack", "pgd"))


def test_a_name_is_taken_once(own_entries):
    @registry.register("attack", "mine")
    class Mine:
        pass

    registry.register("attack", "mine")(Mine)  # the same class again, as a reload does
    assert registry.lookup("attack", "mine") is Mine
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("attack", "mine")(int)


def test_closest():
    assert registry.closest("stpo", ["stop", "go"]) == ", did you mean 'stop'?"
    assert registry.closest("xyz", ["stop", "go"]) == ""

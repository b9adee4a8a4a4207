"""The honest three threats in one option, the gradient that an attack follows, and no robust number without an adaptive row."""
import csv
import json

import pytest

from speechadv.defenses.base import Defense, check_waveforms
from speechadv.errors import ConfigError
from speechadv.evaluation.cells import cells, under_threats
from speechadv.evaluation.run import evaluate
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.evaluation.verify import verify
from speechadv.randomness import clip_generators, uniform
from speechadv.registry import _entries
from speechadv.report.tables import NOT_ADAPTIVE


def config(**keys):
    return EvaluationConfig(**{"attacks": ["pgd"], "budgets": ["linf:0.002"], "defenses": ["mp3:32"]} | keys)


def threats(settings):
    return [(cell.threat, cell.attack, cell.adaptive) for cell in cells(settings)]


def test_all_is_oblivious_adaptive_and_black_box_by_square():
    expected = [("oblivious", "pgd", False), ("adaptive", "pgd", True), ("black-box", "square", False)]
    assert threats(under_threats(config(threats=["adaptive"]), ["all"])) == expected
    assert threats(under_threats(config(attacks=["pgd", "noise"]), ["all"]))[-2:] == [("black-box", "noise", False), ("black-box", "square", False)]
    assert threats(under_threats(config(attacks=["pgd", {"name": "nes", "queries": 100}]), ["all"]))[-1] == ("black-box", "nes", False)
    assert threats(under_threats(config(), ["adaptive"])) == expected[1:2]


def test_all_needs_an_attack_with_gradients():
    for attacks in (["square"], [{"name": "pgd", "gradient": "none"}]):
        with pytest.raises(ConfigError, match="--threat all: expected an attack with gradients"):
            under_threats(config(attacks=attacks), ["all"])
    with pytest.raises(ConfigError, match="threats.*'?obvious"):
        under_threats(config(), ["obvious"])


def test_an_attack_may_follow_another_gradient():
    attacks = ["pgd", *({"name": "pgd", "gradient": gradient} for gradient in ("mdct", "gain", "identity", "none"))]
    grid = cells(config(attacks=attacks, defenses=["none", "bandpass:100-4000", "mp3:32"]))
    named = {defense: [(c.attack, c.adaptive) for c in grid if c.defense == defense and c.threat == "adaptive"]
             for defense in ("none", "bandpass:100-4000", "mp3:32")}
    assert named["none"] == [("pgd", True)], "without a defense there is nothing to choose"
    assert named["bandpass:100-4000"] == [("pgd", True), ("pgd gradient=identity", True), ("pgd gradient=none", False)]
    assert named["mp3:32"] == [("pgd", True), *((f"pgd gradient={name}", name != "none") for name in ("mdct", "gain", "identity", "none"))]
    assert {c.craft.attack.gradient for c in grid if c.threat == "oblivious"} == {"surrogate"}


@pytest.mark.parametrize("attack, message", [
    ({"name": "pgd", "gradient": "mdtc"}, "gradient: expected one of surrogate, identity, none, .*mdct.*'mdtc'"),
    ({"name": "square", "gradient": "identity"}, "expected one of surrogate, since square asks for none"), ({"name": "pgd", "gradient": 3}, "gradient")])
def test_a_wrong_gradient_is_named(attack, message):
    with pytest.raises(ConfigError, match=message):
        cells(config(attacks=[attack]))


def test_without_an_adaptive_row_nothing_is_called_robust(settings, tmp_path, no_page):
    """Whatever prints numbers: the three tables and result.json; an attack that got no gradient did not know the defense."""
    attacks = ["noise", {"name": "pgd", "steps": 2, "gradient": "none"}]
    run = settings(attacks=attacks, defenses=["bandpass:200-3000"], goal="untargeted", clips=3)
    result = evaluate(run, tmp_path / "run")
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {line["robust_accuracy"] for line in [*result["cells"], *written["cells"]]} == {None}
    assert {line["robust_accuracy"] for line in csv.DictReader((tmp_path / "run" / "table.csv").open())} == {""}
    assert all((tmp_path / "run" / f"table.{kind}").read_text().count(NOT_ADAPTIVE) == len(result["cells"]) for kind in ("md", "tex"))


class Wobble(Defense):
    """Adds noise of up to 64 LSB to each sample, drawn anew at each pass: never the same sound twice, even where a clip is silent."""

    name, stochastic = "wobble", True

    @classmethod
    def from_spec(cls, text, sample_rate=16000):
        return cls()

    def forward(self, waveforms):
        check_waveforms(waveforms)
        from speechadv.audio import to_grid
        from speechadv.defenses import straight_through
        noisy = waveforms + (2 * uniform(self.generators_for(waveforms), waveforms.shape[1:]) - 1) * 64 / 32768
        return straight_through(to_grid(noisy.detach()), noisy)


def test_a_random_defense_repeats_and_its_draws_are_counted(settings, tmp_path, no_page, monkeypatch):
    monkeypatch.setitem(_entries["defense"], "wobble", Wobble)
    rows = []
    for name, size in (("a", 2), ("b", 3)):
        run = settings(attacks=[{"name": "pgd", "steps": 3, "full": True}], defenses=["wobble"], threats=["adaptive"], draws=4, clips=4, batch_size=size)
        evaluate(run, tmp_path / name)
        rows.append((tmp_path / name / "rows.jsonl").read_bytes())
    assert rows[0] == rows[1]
    from speechadv.evaluation.rows import read_finished
    assert {row["passes"] for row in read_finished(tmp_path / "a" / "rows.jsonl")} <= {0, 3 * 4}


def test_verify_draws_what_the_run_drew(settings, tmp_path, no_page, monkeypatch):
    monkeypatch.setitem(_entries["defense"], "wobble", Wobble)
    evaluate(settings(attacks=["fgsm", "noise"], defenses=["wobble"], threats=["adaptive", "black-box"], draws=2, clips=4, batch_size=3), tmp_path / "run")
    verdict = verify(tmp_path / "run")
    assert verdict.same and verdict.scored == 8 and [line.split(":")[0] for line in verdict.unchecked] == ["wobble is random"]
    monkeypatch.setattr("speechadv.evaluation.verify.scorer.clip_generators", lambda seed, cell, clips: clip_generators(seed + 1, cell, clips))
    assert sum("is not what wobble makes" in line for line in verify(tmp_path / "run").differences) == 8, "other draws, other sound"


def test_the_command_takes_the_option(run, settings, tmp_path, no_page):
    from speechadv import config as configs

    path = tmp_path / "config.toml"
    path.write_text(configs.dumps(settings(attacks=[{"name": "pgd", "steps": 2}, {"name": "square", "queries": 5}], defenses=["bandpass:200-3000"], clips=2)))
    code, out, err = run("evaluate", path, "--out", tmp_path / "run", "--threat", "all")
    assert code == 0 and all(word in out for word in ("oblivious", "adaptive", "black-box", "sanity flag"))
    assert configs.load(EvaluationConfig, tmp_path / "run" / "config.toml", []).threats == ["oblivious", "adaptive", "black-box"]
    code, _, err = run("evaluate", path, "--out", tmp_path / "other", "--threat", "sideways")
    assert code == 2 and "sideways" in err and not (tmp_path / "other").exists()


def test_adaptive_attacks_on_a_random_defense_spend_the_whole_budget():
    """A success under a lucky draw is none under the next one."""
    grid = cells(config(defenses=["none", "bits:8", "noise:20", "bits:8+noise:20"], threats=["oblivious", "adaptive"]))
    spent = {(cell.defense, cell.threat) for cell in grid if dict(cell.craft.attack.options).get("full")}
    assert {defense for defense, threat in spent if threat == "oblivious"} == {"none", "bits:8", "noise:20", "bits:8+noise:20"}
    assert {defense for defense, threat in spent if threat == "adaptive"} == {"noise:20", "bits:8+noise:20"}

"""Rows made by hand, and a small run of the engine that several tests look at."""
import shutil

import pytest

WORDS = "yes,no,stop,go"
BASE = {
    "model": "m", "defense": "none", "attack": "pgd", "threat": "adaptive", "adaptive": True, "budget": "linf:0.002", "seed": 0, "clip": "yes/a_nohash_0.wav",
    "label": "yes", "target": None, "clean_prediction": "yes", "adversarial_prediction": "yes", "linf": 0.002, "snr_db": 30.0, "masking_excess_db": -1.0,
    "passes": 10, "queries": 1, "clean_audio": None, "adversarial_audio": None, "perturbation_audio": None, "defended_audio": None,
    "perturbation_gain_db": None, "reached": False}


def make_row(clip=BASE["clip"], *, label="yes", before=None, after=None, **others):
    """A row; heard right before and after unless said otherwise."""
    assert set(others) <= set(BASE), others
    return BASE | {"clip": clip, "label": label, "clean_prediction": before or label, "adversarial_prediction": after or label} | others


def make_cell(broken, clips=40, **others):
    """The rows of one cell whose clips in `broken` (a number of the first ones, or their numbers) are heard wrong after the attack."""
    chosen = set(range(broken)) if isinstance(broken, int) else set(broken)
    return [make_row(f"yes/{i}_nohash_0.wav", after="no" if i in chosen else "yes", **{"reached": i in chosen} | others) for i in range(clips)]


@pytest.fixture
def row():
    return make_row


@pytest.fixture
def cell():
    return make_cell


@pytest.fixture(scope="session")
def settings(tiny_weights, data_root):
    """`settings(**keys)`: a small grid on a small network that was really trained, on the test clips of a small data folder."""
    from speechadv.evaluation.settings import EvaluationConfig

    def make(**keys):
        base = {"task": [*WORDS.split(","), "_silence_"], "models": [str(tiny_weights)], "data": [str(data_root)], "defenses": ["none", "bandpass:200-3000"],
                "attacks": [{"name": "pgd", "steps": 4}, "noise"], "budgets": ["linf:0.005"], "goal": "targeted", "clips": 5, "batch_size": 3}
        return EvaluationConfig(**base | keys)

    return make


@pytest.fixture
def no_page(monkeypatch):
    """Runs without figures and page, which take most of the time of a small one."""
    monkeypatch.setattr("speechadv.report.page.write_page", lambda run: None)


@pytest.fixture(scope="session")
def finished(settings, tmp_path_factory):
    """The folder of a finished run, not to be changed."""
    from speechadv.evaluation.run import evaluate

    out = tmp_path_factory.mktemp("run") / "finished"
    evaluate(settings(), out)
    return out


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(finished, tmp_path / "finished")  # the page shows the name


@pytest.fixture
def files():
    """`files(run)`: every file of a run that must repeat, with its bytes (the environment names the code's revision, which may be a newer one)."""
    return lambda run: {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(run.rglob("*"))
                        if path.is_file() and path.name not in ("timing.jsonl", "environment.json")}

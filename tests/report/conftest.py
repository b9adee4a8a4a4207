"""A small run with hostile words in it: rows made by hand, sound that is really there, tables made by the package."""
import json

import numpy as np
import pytest
import torch

from speechadv import audio, config as configs
from speechadv.evaluation import rows as row_files
from speechadv.evaluation.settings import EvaluationConfig
from speechadv.evaluation.sounds import amplified

NASTY = "<script>alert('x')</script> \"50 %\" &amp; 日本語"
CLIP = "yes/a%b#c?d_nohash_{}.wav"


def write_run(folder, *, clips=3, budgets=("linf:0.001", "linf:0.002"), sound=True, model=NASTY):
    """A targeted run: `clips` clips of "yes" under each budget, alone and behind mp3:32, obliviously and adaptively; the first clip is fooled."""
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    clean = [audio.to_grid(np.sin(np.arange(4000) / (3 + i), dtype=np.float32) * 0.3) for i in range(clips)]
    for i in range(clips if sound else 0):
        save(folder / "audio/clean" / CLIP.format(i), clean[i])
    for defense, threat in (("none", "adaptive"), ("mp3:32", "oblivious"), ("mp3:32", "adaptive")):
        for number, budget in enumerate(budgets):
            for i in range(clips):
                fooled = i == 0 or threat == "adaptive" and number == len(budgets) - 1
                row = {"model": model, "defense": defense, "attack": "pgd", "threat": threat, "adaptive": threat == "adaptive", "budget": budget, "seed": 0,
                       "clip": CLIP.format(i), "label": "yes", "target": "no", "clean_prediction": "yes", "adversarial_prediction": "no" if fooled else "yes",
                       "linf": 0.001, "snr_db": 30.0 + i, "masking_excess_db": 3.0, "passes": 40, "queries": 1, "reached": fooled}
                row |= {"clean_probabilities": {"yes": 0.9, model: 0.07, "no": 0.03}, "adversarial_probabilities": {"no" if fooled else "yes": 0.75, "go": 0.25}}
                row |= {"segmental_snr_db": 12.25, "log_spectral_distance_db": None, "quality_gaps": "log_spectral_distance_db: <why>"}
                rows.append(row | (sounds(folder, row, clean[i], i, rng) if sound else without()))
    row_files.rewrite(folder / "rows.jsonl", rows)
    settings = EvaluationConfig(attacks=["pgd"], budgets=list(budgets), models=[model], defenses=["none", "mp3:32"], goal="targeted", data=["bundled"])
    (folder / "config.toml").write_text(configs.dumps(settings), encoding="utf-8")
    (folder / "probes.json").write_text("[]")
    (folder / "environment.json").write_text(json.dumps({"speechadv": "0", "clips": {"source": "bundled"}, "packages": {"torch": "2"}, "seeds": [0]}))
    from speechadv.report.tables import write_tables

    write_tables(folder)
    return folder


def sounds(folder, row, clean, i, rng):
    """The files of a row; an oblivious row shares the adversarial clip with the undefended one."""
    craft = "none" if row["threat"] == "oblivious" else row["defense"].replace(":", "-")
    where = f"audio/{craft}-{row['budget'].replace(':', '-')}"
    adversarial = audio.to_grid(clean + 0.001 * rng.choice([-1, 1], len(clean)).astype(np.float32))
    if (folder / where / "adversarial" / row["clip"]).exists():
        adversarial = audio.read(folder / where / "adversarial" / row["clip"])
    change, gain = amplified(torch.from_numpy(adversarial - clean))
    names = {"clean_audio": f"audio/clean/{row['clip']}", "adversarial_audio": f"{where}/adversarial/{row['clip']}",
             "perturbation_audio": f"{where}/perturbation/{row['clip']}", "defended_audio": None, "perturbation_gain_db": gain}
    save(folder / names["adversarial_audio"], adversarial)
    save(folder / names["perturbation_audio"], change.numpy())
    if row["defense"] != "none":
        names["defended_audio"] = f"{where}/defended-{row['threat']}/{row['clip']}"
        save(folder / names["defended_audio"], audio.to_grid(adversarial * np.float32(0.5)))
    return names


def without():
    return dict.fromkeys(("clean_audio", "adversarial_audio", "perturbation_audio", "defended_audio", "perturbation_gain_db"))


def save(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write_pcm16(path, samples)


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory):
    """The folder of the run with its page; not to be changed."""
    from speechadv.report.page import write_page

    folder = write_run(tmp_path_factory.mktemp("runs") / "<b>run & 1")
    write_page(folder)
    return folder


@pytest.fixture
def make_run(tmp_path):
    """`make_run(**choices)`: another run, to be changed."""
    return lambda name="run", **choices: write_run(tmp_path / name, **choices)

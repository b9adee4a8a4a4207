"""`--json`: each command is carried out on something tiny, and standard output holds one JSON document and nothing else."""
import functools
import hashlib
import http.server
import importlib
import json
import tarfile
import threading
from types import SimpleNamespace

import click
import pytest

from speechadv.cli import COMMANDS
from speechadv.cli import demo as demo_command

WORDS = ["yes", "no", "stop", "go"]
GRID = {"task": [*WORDS, "_silence_"], "attacks": [{"name": "pgd", "steps": 1}], "budgets": ["linf:0.005"], "clips": 2, "defenses": ["none", "bandpass:200-3000"]}
NETWORK = {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}
TRIALS = "trial,a,b,x,answer,correct\n" + "".join(f"{n},c.wav,d.wav,a,a,1\n" for n in range(1, 13))


def leaves():
    """The words of every command that does something."""
    for name in COMMANDS:
        command = importlib.import_module(f"speechadv.cli.{name.replace('-', '_')}").command
        yield from ([f"{name} {sub}" for sub in command.commands] if isinstance(command, click.Group) else [name])


# What follows `speechadv COMMAND`, from `tiny`: things to work on that are there, and `out`, a path where nothing is.
CASES = {
    "demo": lambda tiny: ["--out", tiny.out, "--model", tiny.model, "--robust-model", tiny.second],
    "attack": lambda tiny: [tiny.clip, "--target", "no", "--budget", "snr:20", "--steps", 2, "--model", tiny.model, "--out", tiny.out],
    "listen": lambda tiny: [tiny.clip, "--model", tiny.model],
    "defend": lambda tiny: [tiny.clip, "--defense", "mp3:32", "--out", tiny.out],
    "classify": lambda tiny: [tiny.clip, "--model", tiny.model],
    "detect": lambda tiny: [tiny.clip, "--detector", "disagreement:bandpass:200-3000,mp3:32", "--threshold", 1, "--model", tiny.model],
    "evaluate": lambda tiny: [tiny.config(GRID | {"models": [tiny.model]}), "--out", tiny.out],
    "certify": lambda tiny: ["--model", tiny.model, "--task", ",".join([*WORDS, "_silence_"]), "-n", 20, "--n0", 5, "--clips", 1, "--out", tiny.out],
    "report": lambda tiny: [tiny.run],
    "abx-summary": lambda tiny: [tiny.trials],
    "compare": lambda tiny: [tiny.run, "--a", "defense=none", "--b", "defense=bandpass:200-3000"],
    "merge": lambda tiny: [tiny.run, "--out", tiny.out],
    "export-rows": lambda tiny: [tiny.run, "--format", "csv", "--out", tiny.out.with_suffix(".csv")],
    "plot": lambda tiny: ["success", tiny.run, "--out", tiny.out.with_suffix(".svg")],
    "write-up": lambda tiny: [tiny.run, "--out", tiny.out.with_suffix(".html")],
    "bundle": lambda tiny: [tiny.run, "--out", tiny.out.with_suffix(".zip")],
    "verify": lambda tiny: [tiny.run],
    "train": lambda tiny: [tiny.config({"name": "t", "task": WORDS, "model": "tc_resnet8", "model_options": NETWORK, "epochs": 1}), "--out", tiny.out],
    "export": lambda tiny: [tiny.model, "--format", "torch-export", "--out", tiny.out.with_suffix(".pt2")],
    "models list": lambda tiny: [],
    "models describe": lambda tiny: ["ds_cnn"],
    "models download": lambda tiny: [],
    "data check": lambda tiny: [tiny.data],
    "data download": lambda tiny: [*tiny.archive, "--out", tiny.out],
}


@pytest.fixture(scope="module")
def there(tiny_weights, data_root, tmp_path_factory):
    """A finished run of two clips, a clip, the answers of a listener, and an archive behind an address."""
    from speechadv.evaluation.run import evaluate
    from speechadv.evaluation.settings import EvaluationConfig

    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speechadv.report.page.write_page", lambda run: None)  # `report` makes it
        evaluate(EvaluationConfig(**GRID, models=[str(tiny_weights)], data=[str(data_root)]), folder / "run")
    (folder / "anna.csv").write_text(TRIALS)
    clip = next((data_root / "yes").iterdir())
    with tarfile.open(folder / "words.tar", "w") as archive:
        archive.add(clip, f"yes/{clip.name}")
    return SimpleNamespace(folder=folder, run=folder / "run", clip=clip, trials=folder / "anna.csv", model=str(tiny_weights), data=data_root)


@pytest.fixture
def tiny(there, tmp_path, monkeypatch):
    """The same, and where a command may write."""
    import tomli_w

    def config(content):
        path = tmp_path / "config.toml"
        path.write_text(tomli_w.dumps(content))
        return path

    monkeypatch.setenv("SPEECHADV_DATA", str(there.data))
    for name, value in {"WORDS": WORDS, "CLIPS": 1, "STEPS": 1, "BUDGETS": ["snr:20"], "DEFENSES": ["none", "bandpass:300-3400"]}.items():
        monkeypatch.setattr(demo_command, name, value)
    return SimpleNamespace(**vars(there), out=tmp_path / "out", config=config, second=second(there), archive=[])


def second(there):
    """Another network beside the small one: the same under another name."""
    for suffix in (".safetensors", ".json"):
        path = there.folder / f"second{suffix}"
        path.write_bytes(type(path)(there.model).with_suffix(suffix).read_bytes())
    return there.folder / "second.safetensors"


@pytest.fixture
def served(there, tiny):
    """The archive's address and hash, as options."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=there.folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        digest = hashlib.sha256((there.folder / "words.tar").read_bytes()).hexdigest()
        yield ["--url", f"http://127.0.0.1:{server.server_port}/words.tar", "--sha256", digest]
        server.shutdown()


@pytest.mark.parametrize("words", list(leaves()))
def test_one_document_and_nothing_else(words, tiny, served, run, monkeypatch):
    tiny.archive = served
    if words != "report":
        monkeypatch.setattr("speechadv.report.page.write_page", lambda run: None)
    status, out, err = run(*words.split(), *CASES[words](tiny), "--json")
    assert status == 0, err
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document or words == "listen"
    assert "next:" not in err and "\x1b" not in out

"""What SECURITY.md promises about the code: no pickle, no shell, no evaluated text, nothing that a stranger's file names could lead astray."""
import ast
import os
import pickle
import stat
from pathlib import Path

import pytest

import speechadv
from speechadv.errors import SpeechAdvError

PACKAGE = Path(speechadv.__file__).parent
FORBIDDEN = {"os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler", "eval", "exec", "compile", "tempfile.mktemp", "marshal.loads", "yaml.load",
             "shutil.unpack_archive", "subprocess.getoutput", "subprocess.getstatusoutput"}
RUNS_CODE = {"torch.jit.load", "torch.export.load"}  # a program: only where the user said so
TRUSTED = {"programs.py", "exporting.py"}  # the second one reads back what it has just written


def calls(file: Path):
    """(dotted name, keywords) of each call."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_dangerous_is_called(file):
    for name, keywords in calls(file):
        assert name not in FORBIDDEN, name
        assert keywords.get("shell", "False") == "False", "a shell"
        assert keywords.get("allow_pickle", "False") == "False" and keywords.get("trust_remote_code", "False") == "False", name
        if name == "torch.load":
            assert keywords.get("weights_only") == "True"
        if name in RUNS_CODE:
            assert file.name in TRUSTED, f"{name} belongs behind --trust-model-file"
        if name.endswith(("extractall", ".extract")):
            pytest.fail("archives are unpacked by data/unpack.py alone")


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_malicious_checkpoint_of_training_stays_inert(tmp_path, run, data_root, tiny_weights):
    import tomli_w
    import torch

    config = {"name": "small", "task": ["yes", "no"], "model": "tc_resnet8", "data": [str(data_root)], "epochs": 1, "batch_size": 8,
              "model_options": {"widths": [6, 8], "n_mels": 16, "n_fft": 512, "hop_length": 512}}
    (tmp_path / "config.toml").write_text(tomli_w.dumps(config))
    assert run("train", tmp_path / "config.toml", "--out", tmp_path / "run", "--quiet")[0] == 0
    for save in (lambda thing, path: path.write_bytes(pickle.dumps(thing)), torch.save):
        save({"model": Bomb(tmp_path / "exploded")}, tmp_path / "run" / "checkpoint.pt")
        status, _, err = run("train", tmp_path / "config.toml", "--out", tmp_path / "run", "--quiet")
        assert status == 2 and "expected a checkpoint of this run" in err and err.count("\n") == 1
    assert not (tmp_path / "exploded").exists()


def test_a_malicious_cache_of_clips_stays_inert(tmp_path, monkeypatch):
    import numpy as np

    np.save(tmp_path / "clips.npy", np.array([Bomb(tmp_path / "exploded")], object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        np.load(tmp_path / "clips.npy")
    assert not (tmp_path / "exploded").exists()


def test_names_of_clips_and_cells_never_leave_the_run(tmp_path):
    from speechadv.evaluation.cells import AttackSpec, Craft
    from speechadv.evaluation.sounds import craft_folder

    for name in ("../../etc/passwd", "/etc/passwd", "..", ".", "a/../../b", "\0", "C:\\x", "~root", "-rf", "$(touch x)", "\n"):
        folder = craft_folder(Craft(name, name, AttackSpec(name, name, ()), name, 0))
        assert (tmp_path / folder).resolve().is_relative_to(tmp_path.resolve()) and folder.count("/") == 1 and folder.isprintable()


def test_a_row_that_names_a_file_outside_is_refused(tmp_path):
    from speechadv.report.saved import SavedRun

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rows.jsonl").touch()
    (tmp_path / "secret.wav").touch()
    for name in ("../secret.wav", str(tmp_path / "secret.wav"), "audio/../../secret.wav"):
        with pytest.raises(SpeechAdvError, match="outside the run"):
            SavedRun(tmp_path / "run").path(name)
    (tmp_path / "run" / "link.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(SpeechAdvError, match="outside the run"):
        SavedRun(tmp_path / "run").path("link.wav")


def test_temporary_folders_are_private():
    import tempfile

    with tempfile.TemporaryDirectory(prefix="speechadv-") as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    made = [(file.name, name) for file in PACKAGE.rglob("*.py") for name, _ in calls(file) if name.startswith("tempfile.")]
    assert {name for _, name in made} <= {"tempfile.TemporaryDirectory", "tempfile.TemporaryFile", "tempfile.mkdtemp", "tempfile.TemporaryFile(dir=parent).close"}, made


def test_only_known_places_start_programs_or_fetch():
    starts = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") for name, _ in calls(file) if name.startswith("subprocess.")}
    assert starts <= {"evaluation/environment.py", "report/printing.py", "models/remote/transports.py"}
    fetches = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if "import urllib.request" in file.read_text() or "http.client" in file.read_text()}
    assert fetches <= {"data/download.py", "models/remote/transports.py", "cli/listen.py"}, fetches

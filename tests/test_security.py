"""What SECURITY.md promises about the code: no pickle, no shell, no evaluated text, nothing that a stranger's file names could lead astray."""
import ast
import contextlib
import os
import pickle
import stat
import sys
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


def test_pickled_weights_in_a_hugging_face_folder_stay_inert(tmp_path):
    pytest.importorskip("transformers")
    import torch

    from speechadv import load_model
    from tests.models.test_hf import saved

    saved("ast", tmp_path / "hf")
    for name in ("pytorch_model.bin", "training_args.bin"):
        torch.save({"weight": Bomb(tmp_path / "exploded")}, tmp_path / "hf" / name)
    assert load_model(f"hf:{tmp_path / 'hf'}").labels == ("yes", "no", "stop")
    (tmp_path / "hf" / "model.safetensors").unlink()
    with pytest.raises(SpeechAdvError, match="pickled weights"):
        load_model(f"hf:{tmp_path / 'hf'}")
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

    with open_to_all(), tempfile.TemporaryDirectory(prefix="speechadv-") as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    made = [(file.name, name) for file in PACKAGE.rglob("*.py") for name, _ in calls(file) if name.startswith("tempfile.")]
    assert {name for _, name in made} <= {"tempfile.TemporaryDirectory", "tempfile.TemporaryFile", "tempfile.mkdtemp", "tempfile.TemporaryFile(dir=parent).close"}, made


@contextlib.contextmanager
def open_to_all():
    """The most careless umask."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def test_what_a_command_is_given_to_hear_is_private(tmp_path):
    import torch

    from speechadv import load_model

    (tmp_path / "box.py").write_text("import os, stat, sys\nmode = stat.S_IMODE(os.stat(os.path.dirname(sys.argv[1])).st_mode)\nprint('private' if mode == 0o700 else 'open')\n")
    with open_to_all():
        model = load_model(f"command:{sys.executable} {tmp_path / 'box.py'} {{wav}}#labels=private,open")
        assert model(torch.zeros(1, 16000)).argmax() == 0


def test_only_known_places_start_programs_or_fetch():
    starts = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") for name, _ in calls(file) if name.startswith("subprocess.")}
    assert starts <= {"evaluation/environment.py", "report/printing.py", "models/remote/transports.py"}
    fetches = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if "import urllib.request" in file.read_text() or "http.client" in file.read_text()}
    assert fetches <= {"data/download.py", "models/remote/transports.py", "cli/listen.py"}, fetches

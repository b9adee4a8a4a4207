"""Imports point down only, and nothing heavy is loaded before it is needed."""
import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import speechadv

PACKAGE = Path(speechadv.__file__).parent
# ARCHITECTURE: each layer may import its own and those after it.
LAYERS = [
    {"speechadv", "__main__", "cli"},  # "speechadv" are the public names of the package itself
    {"report", "evaluation", "training"},
    {"attacks", "defenses", "detectors"},
    {"models", "data", "budgets", "goals", "masking", "rooms"},
    {"audio", "registry", "config", "randomness", "locks", "memory", "errors"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
HEAVY = ("torch", "numpy", "librosa", "matplotlib", "soundfile", "scipy", "torchaudio")


def parts_imported(file: Path) -> set[str]:
    """Top-level parts of speechadv that a file imports anywhere, also inside functions."""
    package = ("speechadv", *file.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part_of(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            found |= {part_of([*base, alias.name]) for alias in node.names}
    return found - {None}


def part_of(path: list[str]) -> str | None:
    """`speechadv.models.layers` -> models; a public name of the package -> speechadv; anything else -> None."""
    if path[0] != "speechadv":
        return None
    is_part = len(path) > 1 and ((PACKAGE / path[1]).is_dir() or (PACKAGE / f"{path[1]}.py").is_file())
    return path[1] if is_part else "speechadv"


def own_part(file: Path) -> str:
    name = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "speechadv" if name == "__init__" else name


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_down(file):
    own = own_part(file)
    assert own in RANK, f"{own} stands in no layer: enter it in LAYERS"
    for part in parts_imported(file) - {own}:
        assert part in RANK, f"{part} stands in no layer: enter it in LAYERS"
        assert RANK[part] >= RANK[own], f"{own} must not import {part}, which stands above it"
        assert {own, part} not in ({"attacks", "defenses"}, {"attacks", "detectors"}), "attacks know of no defense and no detector, nor these of attacks"
        assert (own, part) != ("defenses", "detectors"), "detectors use defenses, not the other way round"


def test_the_rule_sees_imports(tmp_path):
    file = PACKAGE / "models" / "imaginary.py"
    source = "from ..attacks import base\nfrom .. import load_model, audio\nimport speechadv.cli.attack\nimport torch\ndef f():\n    from . import layers\n"
    imagined = type("File", (type(file),), {"read_text": lambda self, encoding: source})(file)
    assert parts_imported(imagined) == {"attacks", "speechadv", "audio", "cli", "models"}


def loaded_by(*arguments: str, cwd: Path) -> set[str]:
    """Top-level modules that a fresh interpreter loads."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, cwd=cwd, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize("arguments", [("-c", "import speechadv"), ("-m", "speechadv", "--help"), ("-m", "speechadv", "--version"),
                                       ("-m", "speechadv", "models", "--help"), ("-m", "speechadv", "classify", "--help")], ids=" ".join)
def test_nothing_heavy_is_loaded(arguments, tmp_path):
    loaded = loaded_by(*arguments, cwd=tmp_path)
    assert "speechadv" in loaded
    assert not loaded & set(HEAVY)


def test_importing_the_package_is_quick(tmp_path):
    code = "import time; t = time.perf_counter(); import speechadv; print(time.perf_counter() - t)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    seconds = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True).stdout) for _ in range(3)]
    assert min(seconds) < 0.1


def test_a_numpy_beside_the_clips_does_not_run(tmp_path):
    """`python -m speechadv` in a stranger's folder: what lies there is not imported."""
    (tmp_path / "click.py").write_text("open('exploded', 'w')\n")
    loaded_by("-m", "speechadv", "--help", cwd=tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_public_names():
    assert set(speechadv.__all__) <= set(dir(speechadv)) and "data" in dir(speechadv)
    assert speechadv.data.official_split and speechadv.errors.SpeechAdvError
    assert speechadv.list_models() == sorted(speechadv.list_models())
    assert {"mp3", "bandpass"} <= set(speechadv.list_defenses())
    assert {"pgd", "fgsm"} <= set(speechadv.list_attacks())
    with pytest.raises(speechadv.errors.SpeechAdvError, match="did you mean 'pgd'"):
        speechadv.create_attack("pgdd")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        speechadv.nothing

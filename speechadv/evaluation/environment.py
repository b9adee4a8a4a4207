"""What a run was made with: versions, code, hardware. No names of machines, users or folders."""
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Sequence

PACKAGES = ("torch", "torchaudio", "numpy", "scipy", "numba", "soundfile", "soxr", "lameenc", "librosa", "pesq", "pystoi", "ai-edge-litert", "onnxruntime", "transformers")


def environment(device: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Versions, git revision, hardware and seeds, ready for environment.json."""
    return {"speechadv": importlib.metadata.version("speechadv"), "git": git_revision(), "python": platform.python_version(), "packages": versions(),
            "libsndfile": _libsndfile(), "hardware": hardware(device), "seeds": list(seeds)}


def versions() -> dict[str, str | None]:
    """Installed versions of what the numbers depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _libsndfile() -> str:
    import soundfile

    return soundfile.__libsndfile_version__


def hardware(device: str) -> dict[str, Any]:
    """Processor, cores, memory in GiB and, where the run uses one, the GPU."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {"system": platform.system(), "machine": platform.machine(), "processor": _processor(), "cores": os.cpu_count(), "device": device, "gpu": gpu}


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def git_revision() -> dict[str, Any] | None:
    """Revision of the checkout that the package runs from and whether it is changed; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        run = [subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
               for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])]
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": run[0], "changed": bool(run[1])}

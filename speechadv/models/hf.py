"""Hugging Face's audio classifiers: wav2vec 2.0, HuBERT, WavLM, the Audio Spectrogram Transformer and Whisper, from safetensors alone."""
import contextlib
import os
import re
from pathlib import Path
from typing import Any, Iterator

from torch import Tensor, nn

from ..errors import InputError, shown
from .foreign import Request, completed, guarded, optional
from .hf_features import KaldiBank, RawWave, WhisperBank

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w./-]+)?")  # of a model on huggingface.co, with a revision
NEEDED = {"config.json": "the network", "preprocessor_config.json": "the front end"}
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
FRONT_ENDS = {"Wav2Vec2FeatureExtractor": RawWave, "ASTFeatureExtractor": KaldiBank, "WhisperFeatureExtractor": WhisperBank}


class HfClassifier(nn.Module):
    """A network of `transformers` behind a differentiable copy of its own front end.

    Args:
        network: a model for audio classification.
        frontend: one of FRONT_ENDS.
        labels: of the outputs, in order.
        sample_rate: Hz.
    """

    def __init__(self, network: nn.Module, frontend: nn.Module, labels: tuple[str, ...], sample_rate: int):
        super().__init__()
        self.network, self.frontend, self.labels, self.sample_rate = network, frontend, labels, sample_rate

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.network(self.frontend(waveforms)).logits


def load_hf(request: Request) -> nn.Module:
    """The classifier of `hf:FOLDER_OR_NAME`: a folder as `save_pretrained` writes it, or a name on huggingface.co with `@REVISION` behind it if wanted.

    A folder is read without touching the network. Weights are read from safetensors alone, code that comes with a model is never run.

    Raises:
        InputError: `transformers` is missing, no such folder, a file is missing or broken, a front end that is not known here.
        ConfigError: labels or sample rate do not fit.
    """
    transformers = optional("transformers", "hf", request.named)
    place, options = _place(request)
    with _quiet(transformers):
        extractor = _loaded(transformers.AutoFeatureExtractor, place, options, request, "the front end")
        network, found = _loaded(transformers.AutoModelForAudioClassification, place, options | {"use_safetensors": True, "output_loading_info": True}, request, "the network")
    _check_whole(found, request)
    rate = guarded(lambda: int(extractor.sampling_rate), f"{request.named}: reading sampling_rate failed")
    return completed(HfClassifier(network, _frontend(extractor, request), _labels(network), rate), request)


def _place(request: Request) -> tuple[str, dict[str, Any]]:
    """What `transformers` is to load from, and how. Raises InputError."""
    options: dict[str, Any] = {"trust_remote_code": False}
    if os.path.isdir(request.rest):
        _check_folder(Path(request.rest), request.named)
        return request.rest, options | {"local_files_only": True}
    parent = os.path.dirname(request.rest)
    if os.path.exists(request.rest):
        raise InputError(f"{request.named}: expected a folder as save_pretrained writes it, got a file")
    if not NAME.fullmatch(request.rest) or parent and os.path.isdir(parent):
        raise InputError(f"{request.named}: no such folder")
    name, _, revision = request.rest.partition("@")
    return name, options | ({"revision": revision} if revision else {})


def _check_folder(folder: Path, named: str) -> None:
    for name, what in NEEDED.items():
        if not (folder / name).is_file():
            raise InputError(f"{named}: expected {name}, which describes {what}, in the folder")
    if (folder / "adapter_config.json").exists():
        raise InputError(f"{named}: holds an adapter, which is loaded on top of another model: merge the two and save them")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise InputError(f"{named}: expected weights in {WEIGHTS[0]}; pickled weights (.bin) are not loaded, since they may run code")


def _loaded(kind: Any, place: str, options: dict[str, Any], request: Request, what: str) -> Any:
    return guarded(lambda: kind.from_pretrained(place, **options), f"{request.named}: loading {what} failed")


def _check_whole(found: dict[str, Any], request: Request) -> None:
    """Raise InputError where the file lacks weights of the network, or has them in another shape: `transformers` would draw them at random."""
    lacking = sorted(map(str, found.get("missing_keys") or ())) + sorted(str(key[0] if isinstance(key, tuple) else key) for key in found.get("mismatched_keys") or ())
    if lacking:
        raise InputError(f"{request.named}: expected all weights of a classifier, the file lacks {len(lacking)} of them or has them in another shape, {shown(lacking[0])} first")


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and reports of `transformers`; what goes wrong becomes our own line."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _frontend(extractor: Any, request: Request) -> nn.Module:
    kind = type(extractor).__name__
    if kind not in FRONT_ENDS:
        raise InputError(f"{request.named}: expected a front end among {', '.join(FRONT_ENDS)}, got {shown(kind)}")
    if getattr(extractor, "dither", 0.0):
        raise InputError(f"{request.named}: its front end adds random noise (dither = {extractor.dither}); set it to 0 in preprocessor_config.json")
    return guarded(lambda: FRONT_ENDS[kind](extractor), f"{request.named}: making its front end failed")


def _labels(network: nn.Module) -> tuple[str, ...]:
    names = network.config.id2label
    return tuple(str(names.get(index, index)) for index in range(network.config.num_labels))

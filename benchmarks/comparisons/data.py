"""Reading the training clips, beside a DataLoader that decodes each file as it comes."""
import shutil
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from ..timing import Comparison

BATCH = 128


class Files(torch.utils.data.Dataset):
    """A file an item, decoded, padded and cut, as one writes it first."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        samples, _ = soundfile.read(self.paths[index], dtype="float32")
        return torch.from_numpy(np.pad(samples[:16000], (0, max(0, 16000 - len(samples)))))


def _clips(quick: bool):
    from speechadv.data import data_roots, scan, select, task
    from speechadv.data.samples import bundled_folder

    roots = data_roots([]) or [bundled_folder()]
    pairs = select(scan(roots), task("v2-12"), "train" if data_roots([]) else "test")
    clips = [clip for clip, _ in pairs if clip.start is None]
    return clips[:64] if quick else clips[:8000]


def _epoch_of_files(paths):
    for _ in torch.utils.data.DataLoader(Files(paths), BATCH, num_workers=2):
        pass


def _epoch(array):
    order = np.random.default_rng(0).permutation(len(array))
    for i in range(0, len(order), BATCH):
        torch.from_numpy(array[np.sort(order[i : i + BATCH])].astype(np.float32)).div_(32768)


def data_epoch(quick: bool) -> Comparison:
    """An epoch once the clips are cached: every batch in memory as floats."""
    from speechadv.data import load

    clips = _clips(quick)
    array = load(clips)
    return Comparison("data_epoch", lambda: _epoch(array), lambda: _epoch_of_files([clip.path for clip in clips]), "s", "a DataLoader with two workers", 5,
                      notes=[f"{len(clips)} clips; the cache is a memory-mapped file of 32 KB a clip, all of them bounded by SPEECHADV_CACHE_BYTES"])


def data_first_epoch(quick: bool) -> Comparison:
    """The first epoch: decoding into an empty cache, then every batch."""
    import os

    from speechadv.data import load
    from speechadv.data.loading import CACHE_VARIABLE

    clips, folder = _clips(quick), Path(tempfile.mkdtemp())

    def ours():
        before = os.environ.get(CACHE_VARIABLE)
        os.environ[CACHE_VARIABLE] = str(folder)
        try:
            _epoch(load(clips))
        finally:
            shutil.rmtree(folder)
            folder.mkdir()
            os.environ.pop(CACHE_VARIABLE) if before is None else os.environ.__setitem__(CACHE_VARIABLE, before)

    return Comparison("data_first_epoch", ours, lambda: _epoch_of_files([clip.path for clip in clips]), "s", "a DataLoader with two workers", 1,
                      notes=[f"{len(clips)} clips"])

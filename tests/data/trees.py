"""Small folders in the official layout, made of noise and tones."""
import numpy as np
import soundfile

from speechadv.data import official_split

RATE = 16000
OFFICIAL = {  # from the official lists of version 0.02; what stands in none is training
    "backward/beb458a4_nohash_0.wav": "test",
    "eight/2c6d3924_nohash_0.wav": "test",
    "happy/1f653d27_nohash_0.wav": "test",
    "no/422d3197_nohash_1.wav": "test",
    "right/c22d3f18_nohash_4.wav": "test",
    "stop/f297e878_nohash_0.wav": "test",
    "backward/ff2b842e_nohash_1.wav": "validation",
    "four/264f471d_nohash_3.wav": "validation",
    "left/a6d586b7_nohash_1.wav": "validation",
    "no/dbb40d24_nohash_1.wav": "validation",
    "stop/541120c7_nohash_1.wav": "validation",
    "up/57cb3575_nohash_0.wav": "validation",
    "yes/004ae714_nohash_0.wav": "train",
    "go/44260689_nohash_1.wav": "test",
    "go/d1a17cbe_nohash_1.wav": "train",
    "go/902258bb_nohash_0.wav": "train",
}
SPEAKERS = {"train": ("004ae714", "012c8314", "92037d73", "d1a17cbe"), "validation": ("ff2b842e", "264f471d"), "test": ("beb458a4", "2c6d3924")}


def put(path, samples=None, rate=RATE, **options):
    """A sound file, its folders made; by default 0.1 s of noise that is the path's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = np.random.default_rng(list(str(path.parent.name + path.name).encode())).integers(-9000, 9000, 1600).astype(np.int16)
    soundfile.write(path, samples, rate, **options)
    return path


def tree(root, words=("yes", "no", "bed", "cat"), suffix="wav", lists=True, backgrounds=1):
    """Each word by each speaker, official lists, and background recordings of 12 s."""
    names = [f"{word}/{speaker}_nohash_0.wav" for word in words for those in SPEAKERS.values() for speaker in those]
    for name in names:
        put(root / name.replace(".wav", f".{suffix}"))
    if lists:
        for split, file in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
            (root / file).write_text("".join(f"{name}\n" for name in names if official_split(name) == split))
    for number in range(backgrounds):
        noise = np.random.default_rng(number).integers(-3000, 3000, 12 * RATE).astype(np.int16)
        put(root / "_background_noise_" / f"noise{number}.wav", noise)
    return root

"""What a codec or a filter keeps for any clip: length, range, place, and independence of its neighbours in the batch."""
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechadv.defenses import parse_defense

KINDS = {"silence": 0.0, "quiet": 2e-4, "speech": 0.1, "full scale": 9.0}


@settings(max_examples=12, deadline=None, database=None, derandomize=True)
@given(st.sampled_from(["mp3:8", "mp3:32", "mp3:160", "bandpass:300-3400"]), st.integers(1, 5000), st.sampled_from(sorted(KINDS)), st.integers(0, 2**32 - 1))
def test_any_length_and_level(word, length, kind, seed):
    noise = KINDS[kind] * torch.randn(2, length, generator=torch.Generator().manual_seed(seed))
    clips = (noise.clamp(-1, 1 - 2**-15) * 32768).round() / 32768
    (defense,) = parse_defense(word)
    heard = defense(clips)
    assert heard.shape == clips.shape and heard.isfinite().all() and heard.abs().max() <= 1
    assert torch.equal(defense(clips), heard), "the same again"
    torch.testing.assert_close(defense(clips[1:])[0], heard[1], atol=2e-4, rtol=0)
    if kind == "silence":
        assert heard.abs().max() <= 2**-15

"""An independent listener: PocketSphinx with its American English model and a grammar of single words.

It decides which clips are good enough, so that no network of ours ever chooses the clips it is shown on.
"""

import importlib.metadata

import numpy as np
from pocketsphinx import Config, Decoder, get_model_path

from clipmaker.words import DECOYS, KEYWORDS, OTHER_WORDS


class Recogniser:
    """Hears exactly one word of the grammar, or nothing."""

    def __init__(self) -> None:
        words = sorted({*KEYWORDS, *OTHER_WORDS, *DECOYS})
        config = Config(
            hmm=get_model_path("en-us/en-us"), dict=get_model_path("en-us/cmudict-en-us.dict"), lm=None, samprate=16000, loglevel="FATAL"
        )
        self._decoder = Decoder(config)
        self._decoder.add_jsgf_string("words", f"#JSGF V1.0;\ngrammar words;\npublic <word> = {' | '.join(words)};\n")
        self._decoder.activate_search("words")
        self.description = {
            "name": "PocketSphinx " + importlib.metadata.version("pocketsphinx"),
            "model": "en-us, as shipped in its wheel",
            "grammar": words,
        }

    def hear(self, clip: np.ndarray) -> str:
        """The word heard in an int16 (16000,) clip; "" for none. A fresh cepstral mean each time, so that order does not matter."""
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(clip.tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return heard.hypstr.split("(")[0] if heard else ""

"""Played by a loudspeaker and heard by a microphone: a channel, not a protection, in front of the classifier."""
from torch import Tensor

from .. import rooms
from ..audio import to_grid
from ..errors import ConfigError, shown
from ..registry import register
from .base import Defense, check_waveforms, straight_through

UNSEEN = "1000-1019"  # rooms that no attack of ours is made for unless it is told to


@register("defense", "air")
class Air(Defense):
    """A room between loudspeaker and microphone, drawn anew for every clip and pass: one of several rooms, a level, a moment, background noise.

    What is drawn comes from the generators that are passed in, one a clip. The output is rounded to 16 bit, with the gradient of the channel itself.

    Args:
        rooms: "1000-1019", simulated rooms by their numbers, or a folder of measured impulse responses.
        gain_db: by which the level changes at most, up or down.
        shift: seconds by which the clip comes earlier or later at most.
        noise_db: the least signal-to-noise ratio of the background noise in dB; it is drawn from there up to 20 dB above.
        sample_rate: Hz.

    Raises:
        ConfigError: a value out of range, or no such folder. SpeechAdvError: pyroomacoustics is not installed.
        InputError: waveforms that are no floating (batch, time), or as many generators as there are clips are missing.
    """

    stochastic = True
    moves = True  # the clip, on purpose

    def __init__(self, rooms: str = UNSEEN, gain_db: float = 6.0, shift: float = 0.05, noise_db: float = 20.0, sample_rate: int = 16000):
        super().__init__()
        self.rooms, self.sample_rate, self.name = rooms, sample_rate, f"air:{rooms}"
        self.channel = channel(rooms, gain_db, shift, noise_db, sample_rate)

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Air":
        """From "1000-1019" or the name of a folder; "" for the default. Raises ConfigError."""
        try:
            return cls(text or UNSEEN, sample_rate=sample_rate)
        except ConfigError as problem:
            raise ConfigError(f"defense air: expected air:FIRST-LAST or air:FOLDER, got 'air:{shown(text)}' ({problem})") from None

    def forward(self, waveforms: Tensor) -> Tensor:
        check_waveforms(waveforms)
        heard = self.channel(waveforms, self.generators_for(waveforms))
        return straight_through(to_grid(heard.detach()), heard)

    def extra_repr(self) -> str:
        return f"rooms={self.rooms}"


def channel(chosen: str, gain_db: float, shift: float, noise_db: float, sample_rate: int) -> rooms.Air:
    """The way through the air with a shift in seconds. Raises SpeechAdvError."""
    return rooms.Air(rooms.responses(chosen, sample_rate), gain_db, round(shift * sample_rate), noise_db)

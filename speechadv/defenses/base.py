"""The contract of a defense, and a classifier with defenses in front of it, which is again a classifier."""
import re
from typing import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError, InputError, shown
from ..models.layers import straight_through
from ..randomness import Draws

SURROGATE, IDENTITY, NO_GRADIENT = "surrogate", "identity", "none"
GRADIENTS = (SURROGATE, IDENTITY, NO_GRADIENT)


def check_waveforms(waveforms: Tensor) -> None:
    """Raises InputError unless waveforms is a floating (batch, time) tensor with at least one sample a clip."""
    if not waveforms.is_floating_point() or waveforms.ndim != 2 or waveforms.shape[1] == 0:
        kind = str(waveforms.dtype).removeprefix("torch.")
        raise InputError(f"expected floating-point waveforms of shape (batch, time), got {tuple(waveforms.shape)} of {kind}")


def whole_number(text: str, name: str, expected: str) -> int:
    """The number of a specification such as "median:3", from what follows the colon. Raises ConfigError: it is none; `expected` says what should stand there."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ConfigError(f"defense {name}: expected {expected}, got '{name}:{shown(text)}'")
    return int(text)


class Defense(Draws, nn.Module):
    """Something that a waveform passes before the classifier hears it.

    The output has the shape of the input, is not delayed against it, and lies on the 16-bit grid k / 32768 within [-1, 1 - 2**-15], so that
    what is deployed, what is saved and what is scored are the same samples. Configuration is the constructor's keywords; `threads` and other
    things that only change the speed belong to it too, but not to `name`.

    Attributes:
        name: the specification that makes it again, such as "mp3:32": `parse_defense(d.name)` gives an equal defense.
        sample_rate: Hz of the waveforms it is made for.
        surrogates: names of its stand-ins where it has several, the default first.
        stochastic: whether two calls may differ.
        generators: of a stochastic defense, one a clip of the next batch; `speechadv.randomness.drawing` sets them.
    """

    surrogates: tuple[str, ...] = ()
    role = "defense"
    name: str
    sample_rate: int = 16000

    @classmethod
    def from_spec(cls, text: str, sample_rate: int = 16000) -> "Defense":
        """Make the defense from what follows the colon in its specification ("" where there is none). Raises ConfigError."""
        raise NotImplementedError(f"{cls.__name__}.from_spec")

    def forward(self, waveforms: Tensor) -> Tensor:
        """What is deployed: (batch, time) float32 -> the same shape."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def surrogate(self, waveforms: Tensor) -> Tensor:
        """A differentiable stand-in whose gradient attacks use: (batch, time) -> the same shape. By default the defense itself."""
        return self(waveforms)

    def fitted_surrogate(self, waveforms: Tensor, exact: Tensor, kind: str = "") -> Tensor:
        """The surrogate for a caller who has `exact`, which is `forward(waveforms)`: a stand-in may fit itself to what was done to this very clip.

        `kind` is one of `surrogates`; what is none of them stands for the default.
        """
        return self.surrogate(waveforms)

    @property
    def differentiable(self) -> bool:
        """Whether `forward` carries its own gradient: true where `surrogate` is not overridden."""
        return type(self).surrogate is Defense.surrogate


def gradients(defenses: Iterable[Defense]) -> tuple[str, ...]:
    """The gradients that an attack on these defenses may follow: the general ones, and the names of their surrogates."""
    return tuple(dict.fromkeys([*GRADIENTS, *(name for defense in defenses for name in defense.surrogates)]))


class Defended(nn.Module):
    """A classifier behind defenses: `model(last(...first(waveforms)))`, itself a classifier.

    The forward pass is exact in every mode; what an attack on this model knows is set by `gradient`:

    - "surrogate": each defense passes back the gradient of its `surrogate`. This is the adaptive attack.
    - the name of a surrogate, such as "mdct": the same, and a defense that has several stand-ins (`Defense.surrogates`) takes that one.
    - "identity": each defense passes the gradient back unchanged.
    - "none": the defenses pass back zeros, as a pipeline without any stand-in would.

    Training mode, device and freezing pass through to the model and the defenses; the wrapper starts in the mode of the model.

    Args:
        model: nn.Module with `labels` and `sample_rate`, (batch, time) -> logits (batch, classes).
        *defenses: in the order of application; none leaves the model as it is.
        gradient: "surrogate", the name of a surrogate of one of the defenses, "identity" or "none".
        draws: how many forward passes an attack averages its loss over when a defense is stochastic.

    Raises:
        ConfigError: an unknown gradient mode, draws below 1, or a defense for another sample rate than the model's.

    Example:
        >>> defended = Defended(speechadv.load_model("resnet"), *parse_defense("bandpass:100-4000+mp3:32"))
        >>> logits = defended(waveforms)
    """

    def __init__(self, model: nn.Module, *defenses: Defense, gradient: str = "surrogate", draws: int = 1):
        super().__init__()
        known = gradients(defenses)
        if gradient not in known:
            raise ConfigError(f"gradient: expected one of {', '.join(known)}, got '{shown(gradient)}'")
        if draws < 1:
            raise ConfigError(f"draws: expected at least 1, got {draws}")
        for defense in defenses:
            if defense.sample_rate != model.sample_rate:
                raise ConfigError(f"defense '{defense.name}' is made for {defense.sample_rate} Hz, the model hears {model.sample_rate} Hz")
        self.model, self.defenses = model, nn.ModuleList(defenses)
        self.gradient = gradient
        self._draws = draws
        self.defenses.train(model.training)
        self.training = model.training

    @property
    def labels(self) -> Sequence[str]:
        """The model's labels."""
        return self.model.labels

    @property
    def sample_rate(self) -> int:
        """The model's sample rate in Hz."""
        return self.model.sample_rate

    @property
    def stochastic(self) -> bool:
        """Whether two calls may differ: any of the defenses, or the model within, is stochastic."""
        return any(defense.stochastic for defense in self.defenses) or bool(getattr(self.model, "stochastic", False))

    @property
    def draws(self) -> int:
        """Forward passes that an attack averages its loss over: 1 unless something is stochastic."""
        return self._draws if self.stochastic else 1

    def defend(self, waveforms: Tensor) -> Tensor:
        """The waveforms as the model hears them: (batch, time) -> (batch, time), with the gradient of the chosen mode."""
        check_waveforms(waveforms)
        for defense in self.defenses:
            waveforms = self._pass(defense, waveforms)
        return waveforms

    def _pass(self, defense: Defense, waveforms: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and waveforms.requires_grad):
            return defense(waveforms)
        if self.gradient not in (IDENTITY, NO_GRADIENT) and defense.differentiable:
            return defense(waveforms)
        with torch.no_grad():
            exact = defense(waveforms)
        if self.gradient == NO_GRADIENT:
            # Zeros rather than no graph at all: an attack then runs, fails, and the sanity checks can say why.
            return straight_through(exact, waveforms * 0)
        return straight_through(exact, waveforms if self.gradient == IDENTITY else defense.fitted_surrogate(waveforms, exact, self.gradient))

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.model(self.defend(waveforms))

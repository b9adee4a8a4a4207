"""Randomised smoothing: what a vote under Gaussian noise proves (Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918)."""
from dataclasses import dataclass
from math import log10
from typing import Iterator

import torch
from scipy.stats import beta, norm
from torch import Tensor, nn

from ..randomness import derived_seed

BLOCK = 256  # draws at a time from a clip's generator; a multiple of 16 times any length gives the same numbers in blocks of any size


@dataclass(frozen=True)
class Certificate:
    """What the vote says about one clip.

    Attributes:
        predicted: index of the label, or None where the vote abstains.
        radius: L2 length (of samples in [-1, 1)) within which the smoothed network provably hears `predicted`; None where it abstains.
        votes: for `predicted` of the n draws.
    """

    predicted: int | None
    radius: float | None
    votes: int


def lower_bound(successes: int, trials: int, alpha: float) -> float:
    """The one-sided Clopper-Pearson bound (1934): with probability 1 - alpha the true rate is at least this."""
    return float(beta.ppf(alpha, successes, trials - successes + 1)) if successes else 0.0


def radius(votes: int, n: int, alpha: float, sigma: float) -> float | None:
    """sigma x the normal quantile of the bound (Cohen et al. 2019, algorithm 2); None where the bound is at most one half."""
    bound = lower_bound(votes, n, alpha)
    return sigma * float(norm.ppf(bound)) if bound > 0.5 else None


def ceiling(n: int, alpha: float, sigma: float) -> float:
    """The largest radius that n draws can prove: all of them agree."""
    return sigma * float(norm.ppf(lower_bound(n, n, alpha)))


def snr_of_radius(clean: Tensor, length: float) -> float | None:
    """The SNR in dB of a perturbation with the L2 norm `length` against a clip (time,); None for silence or the length 0."""
    energy = float(clean.double().square().sum())
    return 10 * log10(energy / length**2) if energy > 0 and length > 0 else None


class Smoothed:
    """A network that hears each clip many times under white Gaussian noise and takes the vote.

    The noise is neither rounded nor clipped: the certificate is about the network on real-valued input, and every 16-bit file inside the radius is
    such an input. Floating-point rounding of the network itself is not covered.

    Args:
        model: a classifier; frozen by the caller.
        sigma: standard deviation of the noise, as a fraction of full scale.
        batch_size: draws that the network hears in one call.
    """

    def __init__(self, model: nn.Module, sigma: float, batch_size: int = 64):
        self.model, self.sigma, self.batch_size = model, sigma, batch_size

    def votes(self, clips: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """How often each label won: int64 (clips, classes) of `count` draws around each of the clips (clips, time), the same draws for all of them."""
        total = torch.zeros(len(clips), len(self.model.labels), dtype=torch.int64)
        with torch.no_grad():
            for noise in _blocks(count, clips.shape[1], generator):
                for part in noise.to(clips.device).split(self.batch_size):
                    for clip, sums in zip(clips, total):
                        sums += self.model(torch.add(clip, part, alpha=self.sigma)).argmax(1).bincount(minlength=len(sums)).cpu()
        return total

    def certify(self, clips: Tensor, *, n0: int, n: int, alpha: float, seed: int) -> list[Certificate]:
        """Choose a label for each clip with n0 draws and prove it with n others (Cohen et al. 2019, algorithm 2).

        The draws depend on seed and sigma alone, so a clip's certificate is the same in any company. Each is wrong with a chance of alpha at most; since all share
        their draws, the errors of several clips are not independent.

        Args:
            clips: (clips, time) float32.
            n0, n: draws to choose and to prove with.
            alpha: the chance that a certificate is wrong, at most.
            seed: of the draws.
        """
        generator = torch.Generator().manual_seed(derived_seed(seed, "smoothing", self.sigma))
        chosen = self.votes(clips, n0, generator).argmax(1)
        votes = self.votes(clips, n, generator).gather(1, chosen[:, None])[:, 0]
        proved = [radius(count, n, alpha, self.sigma) for count in votes.tolist()]
        return [Certificate(None if length is None else label, length, count) for label, length, count in zip(chosen.tolist(), proved, votes.tolist())]


def _blocks(count: int, time: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Standard normal noise (at most BLOCK, time), `count` rows in all. Each block is overwritten by the next."""
    place = torch.empty(min(BLOCK, count), time)
    for start in range(0, count, BLOCK):
        yield place[: count - start].normal_(generator=generator)

"""SimBA: one direction of a fixed basis at a time, forwards or backwards, kept where it helps (Guo et al. 2019)."""
import math

import torch
from torch import Tensor

from ..errors import ConfigError
from ..registry import register
from .base import Attack, Problem
from .search import Proposals, check_queries, random_search

DOMAINS = ("time", "frequency")


@register("attack", "simba")
class SimBA(Attack):
    """Simple black-box attack (Guo et al. 2019, arXiv:1905.07121, algorithm 1): logits alone, one or two queries a direction.

    Args:
        queries: forward passes a clip, at most.
        domain: "time", a few samples at once, or "frequency", tone bursts: the cosines of a block DCT, lowest frequencies only.
        step_size: length of a step, as a share of a step across the whole budget along the same direction.
        block: samples of a block: the whole length of a tone burst. In "time" a direction is a 32nd of it.
        highest: highest frequency of the tone bursts, as a share of the Nyquist frequency.

    Raises:
        ConfigError: a value out of range.
    """

    white_box, one_by_one, fewest = False, True, 1

    def __init__(self, queries: int = 1000, domain: str = "frequency", step_size: float = 0.3, block: int = 512, highest: float = 0.5):
        if domain not in DOMAINS:
            raise ConfigError(f"attack 'simba': domain: expected {' or '.join(DOMAINS)}, got '{domain}'")
        if not step_size > 0:
            raise ConfigError(f"attack 'simba': step_size: expected above 0, got {step_size}")
        if block < 32:
            raise ConfigError(f"attack 'simba': block: expected 32 samples or more, got {block}")
        if not 0 < highest <= 1:
            raise ConfigError(f"attack 'simba': highest: expected above 0, at most 1, got {highest}")
        self.queries, self.domain, self.step_size = check_queries("simba", queries), domain, step_size
        self.block, self.highest = block, highest

    def run(self, problem: Problem) -> Tensor:
        shapes = tone_bursts(self.block, self.highest) if self.domain == "frequency" else torch.ones(1, self.block // 32)
        return random_search(problem, self.queries, Directions(problem, shapes.to(problem.clean), self.step_size))


class Directions(Proposals):
    """Walks through the basis in an order of each clip's own: first forwards, then, where that did not help, backwards.

    Args:
        shapes: (kinds, length); the basis is each shape in each place.
    """

    state = ("order", "place", "sign")

    def __init__(self, problem: Problem, shapes: Tensor, step_size: float):
        self.shapes, self.step_size = shapes, step_size
        self.places = max(1, math.ceil(problem.clean.shape[1] / shapes.shape[1]))
        device = problem.clean.device
        self.order = torch.stack([torch.randperm(self.places * len(shapes), generator=g) for g in problem.generators]).to(device)
        self.place = torch.full((len(problem),), -1, device=device)  # in the order
        self.sign = torch.full((len(problem),), -1.0, device=device)

    def propose(self, problem: Problem, iterate: Tensor, query: int, accepted: Tensor) -> Tensor:
        forwards = accepted | (self.sign < 0)  # the last direction is done with
        self.place = (self.place + forwards) % self.order.shape[1]
        self.sign = torch.where(forwards, 1.0, -1.0)
        direction = self._direction(iterate.shape[1])
        across = (problem.bound.size() * problem.bound.steepest(direction)).norm(dim=1, keepdim=True)
        step = self.sign[:, None] * self.step_size * across * direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-30)
        return problem.bound.project(iterate + step)

    def _direction(self, length: int) -> Tensor:
        """(batch, length): the basis vector that is each clip's turn."""
        which = self.order.gather(1, self.place[:, None]).squeeze(1)
        kind, place = which // self.places, which % self.places
        whole = torch.zeros(len(which), self.places, self.shapes.shape[1], device=self.shapes.device)
        whole[torch.arange(len(which), device=whole.device), place] = self.shapes[kind]
        return whole.flatten(1)[:, :length]


def tone_bursts(length: int, highest: float) -> Tensor:
    """(kinds, length): the cosines of the DCT-II with 1 to `highest` * length half periods."""
    half_periods = torch.arange(1, max(2, int(highest * length)))[:, None]
    return torch.cos(math.pi / length * (torch.arange(length) + 0.5) * half_periods)

"""A file that someone deployed, as a classifier: the runtime gives the verdict, the float rebuilding gives the gradient."""
import copy
from typing import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from .card import FileCard
from .fitting import fitting, ports, settle
from .frontends import Features
from .imported.graph import Graph
from .imported.network import Network
from .layers import straight_through
from .runtimes import Runtime


class Shaped(nn.Module):
    """Waveforms of any length -> the input that a file wants.

    Shapes: waveforms (batch, time) -> (batch, *shape); `samples` of them are heard, zeros follow where there are fewer.
    """

    def __init__(self, features: Features, samples: int, shape: Sequence[int]):
        super().__init__()
        self.features, self.samples, self.shape = features, samples, tuple(shape)

    def forward(self, waveforms: Tensor) -> Tensor:
        time = waveforms.shape[1]
        heard = waveforms[:, : self.samples] if time >= self.samples else nn.functional.pad(waveforms, (0, self.samples - time))
        return self.features(heard).reshape(waveforms.shape[0], *self.shape)


class Rebuilding(nn.Module):
    """The float network alone, front end included: an ordinary module that can be trained and exported.

    `identity`: of file and card that it comes from, in hexadecimal.

    Shapes: waveforms (batch, time) -> logits (batch, classes).
    """

    def __init__(self, front_end: nn.Module, network: nn.Module, labels: Sequence[str], sample_rate: int, identity: str = ""):
        super().__init__()
        self.front_end, self.network = front_end, network
        self.labels, self.sample_rate, self.identity = tuple(labels), sample_rate, identity

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.network(self.front_end(waveforms)).reshape(waveforms.shape[0], -1)


class Deployed(nn.Module):
    """A deployed file as a classifier.

    The forward pass is the runtime's in every mode, bit for bit; where a gradient is asked for it is the rebuilding's, passed straight through
    (Athalye et al. 2018, arXiv:1802.00420, section 4.1). So an attack judges itself by what the device says, and rounding is no defense.

    Args:
        runtime: features -> real outputs.
        surrogate: features -> logits, differentiable; None leaves a black box.
        front_end: waveforms -> features.
        labels: words of the outputs in order.
        sample_rate: Hz.
        floor: the outputs are probabilities: the logits are log(max(probability, floor)). None: they are logits as they are.
        identity: 32 bytes that differ where file or card differ; part of the state, so that a run knows what it was begun with.
        why_no_gradient: the line that says why there is no surrogate.

    Shapes: waveforms (batch, time) float32 in [-1, 1) -> logits (batch, classes).
    """

    def __init__(self, runtime: nn.Module, surrogate: nn.Module | None = None, *, front_end: nn.Module, labels: Sequence[str], sample_rate: int,
                 floor: float | None = None, identity: bytes = bytes(32), why_no_gradient: str = ""):
        super().__init__()
        self.runtime, self.surrogate, self.front_end = runtime, surrogate, front_end
        self.labels, self.sample_rate, self.floor, self.why_no_gradient = tuple(labels), sample_rate, floor, why_no_gradient
        self.register_buffer("identity", torch.tensor(list(identity), dtype=torch.uint8))

    @property
    def access(self) -> str:
        """What attacks get: "gradient", or "scores" without a surrogate."""
        return "scores" if self.surrogate is None else "gradient"

    def forward(self, waveforms: Tensor) -> Tensor:
        features = self.front_end(waveforms)
        logits = self.runtime(features).reshape(waveforms.shape[0], -1)
        if self.floor is not None:
            logits = logits.clamp_min(self.floor).log()
        if self.surrogate is None or not (torch.is_grad_enabled() and features.requires_grad):
            return logits
        return straight_through(logits, self.surrogate(features).reshape(waveforms.shape[0], -1))

    def trainable(self) -> Rebuilding:
        """A copy of the float rebuilding with its front end, for fine-tuning and export: every weight takes a gradient, and the bounds of quantised
        tensors are gone. Its verdicts are those of the file up to quantisation.

        Raises InputError where the file has no rebuilding.
        """
        if self.surrogate is None:
            raise InputError(self.why_no_gradient or "the model has no rebuilding in torch")
        network = copy.deepcopy(self.surrogate)
        for node in network.nodes:
            if node.saturation:
                node.operator, node.attributes = "identity", {}
        known_as = bytes(self.identity.tolist()).hex()
        return Rebuilding(copy.deepcopy(self.front_end), network, self.labels, self.sample_rate, known_as).requires_grad_(True)


def deployed(runtime_kind: type[Runtime], content: bytes, graph: Graph, card: FileCard, named: str) -> Deployed:
    """A classifier from a file, its graph and its card. Raises ConfigError or InputError."""
    entry, exit = ports(graph, card, named)
    front_end = Shaped(Features(card.front_end, card.sample_rate), card.samples, fitting(card, entry, named))
    probabilities = card.outputs == "probabilities"
    floor = (exit.scale / 2 if exit.integer else 1e-12) if probabilities else None
    surrogate = Network(graph, logarithm=probabilities).requires_grad_(False) if graph.nodes else None
    model = Deployed(runtime_kind(content, entry, exit, named), surrogate, front_end=front_end, labels=card.labels, sample_rate=card.sample_rate, floor=floor,
                    identity=card.identity(content), why_no_gradient=graph.missing)
    exact = graph.weights == "float32" and not entry.integer
    return settle(model.eval(), card.samples, exact, named)

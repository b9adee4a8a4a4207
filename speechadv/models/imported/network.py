"""A graph as a torch module: its float constants are parameters, so it can be followed, and trained."""
import numpy as np
import torch
from torch import Tensor, nn

from .graph import Graph, Node
from .operators import OPERATORS

LAST = {"softmax": "log_softmax", "sigmoid": "log_sigmoid"}  # what makes probabilities -> what makes their logarithm
HARMLESS = ("clamp", "identity")  # between the last probabilities and the output


class Network(nn.Module):
    """The float rebuilding of a file.

    Args:
        graph: with nodes.
        logarithm: the file's outputs are probabilities, the network gives their logarithms: the softmax or sigmoid at the end is replaced, so that
            the gradient does not fade where the file is sure.
        saturate: keep the bounds of what quantised tensors can hold. They belong to the file, not to a network that is trained further.

    Shapes: (batch, ...) as the file's input, real values -> (batch, ...) as its output.
    """

    def __init__(self, graph: Graph, logarithm: bool = False, saturate: bool = True):
        super().__init__()
        nodes = graph.nodes if saturate else [Node("identity", node.inputs, node.output) if node.saturation else node for node in graph.nodes]
        self.nodes = as_logarithm(nodes, graph.output.name) if logarithm else list(nodes)
        self.input_name, self.output_name = graph.input.name, self.nodes[-1].output if logarithm else graph.output.name
        self.weights, self.places, used = nn.ParameterDict(), {}, {name for node in self.nodes for name in node.inputs}
        for name in [name for name in graph.constants if name in used]:
            self._add(name, graph.constants[name])
        self.one_by_one = False  # for files whose batch of one is written into their shapes

    def _add(self, name: str, constant: np.ndarray) -> None:
        place, tensor = f"w{len(self.places)}", torch.from_numpy(np.array(constant))
        self.places[name] = place
        if tensor.is_floating_point() and tensor.numel() > 1:  # single numbers are exponents and bounds rather than weights
            self.weights[place] = nn.Parameter(tensor)
        else:
            self.register_buffer(place, tensor)

    def forward(self, features: Tensor) -> Tensor:
        if self.one_by_one and len(features) > 1:
            return torch.cat([self._run(row[None]) for row in features])
        return self._run(features)

    def _run(self, features: Tensor) -> Tensor:
        values = {name: self.weights[place] if place in self.weights else getattr(self, place) for name, place in self.places.items()}
        values |= {self.input_name: features, None: None}
        for node in self.nodes:
            values[node.output] = OPERATORS[node.operator](*(values[name] for name in node.inputs), **node.attributes)
        return values[self.output_name]


def as_logarithm(nodes: list[Node], output: str) -> list[Node]:
    """The nodes without what stands behind the last softmax or sigmoid, and that one replaced by its logarithm; a logarithm at the end where none is."""
    makers = {node.output: node for node in nodes}
    last = makers.get(output)
    while last and last.operator in HARMLESS and len([name for name in last.inputs if name]) == 1:
        last = makers.get(last.inputs[0])
    if last is None or last.operator not in LAST:
        return [*nodes, Node("clamp", [output], f"{output}/floor", {"least": 1e-12}), Node("logarithm", [f"{output}/floor"], f"{output}/logarithm")]
    before = nodes[: nodes.index(last)]
    return [*before, Node(LAST[last.operator], last.inputs, last.output, last.attributes)]

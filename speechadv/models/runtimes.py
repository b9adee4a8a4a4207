"""The programs that run such files where they are deployed: LiteRT and onnxruntime. What they say is the verdict."""
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .foreign import guarded, optional
from .imported.graph import Port


class Runtime(nn.Module):
    """A deployed file as a function of features; it has no gradient.

    Args:
        content: of the file.
        entry, exit: what the file says of its input and output, scales filled in.
        named: the file as it stands in messages.

    Shapes: (batch, ...) float32, real values -> (batch, classes) float32, real values. Integer inputs are round(value / scale) + zero point, clipped.
    """

    def __init__(self, content: bytes, entry: Port, exit: Port, named: str):
        super().__init__()
        self.entry, self.exit, self.named = entry, exit, named
        self.one_by_one = False  # for files whose batch of one is written into their shapes
        self.start(content)

    def start(self, content: bytes) -> None:
        """Load the file. Raises InputError."""
        raise NotImplementedError

    def run(self, stored: np.ndarray) -> np.ndarray:
        """One call: numbers as the file stores them, in and out."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict) -> "Runtime":
        """A loaded file has no state but its weights: copies share it."""
        return self

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        stored = quantised(features.detach().cpu().numpy(), self.entry)
        parts = [stored[i : i + 1] for i in range(len(stored))] if self.one_by_one and len(stored) > 1 else [stored]
        heard = np.concatenate([self.run(part) for part in parts])
        return torch.from_numpy(real(heard, self.exit)).to(features.device)


def quantised(values: np.ndarray, port: Port) -> np.ndarray:
    """Real values as an input stores them."""
    if not port.integer:
        return values.astype(port.dtype)
    limits = np.iinfo(port.dtype)
    return np.clip(np.rint(values / np.float32(port.scale)) + port.zero_point, limits.min, limits.max).astype(port.dtype)


def real(stored: np.ndarray, port: Port) -> np.ndarray:
    """What an output's stored numbers stand for, float32."""
    values = stored.astype(np.float32)
    return (values - np.float32(port.zero_point)) * np.float32(port.scale) if port.integer else values


class LiteRT(Runtime):
    """TensorFlow Lite's runtime, with its own integer kernels instead of a delegate, on one thread: the arithmetic of TensorFlow Lite for Microcontrollers."""

    def start(self, content: bytes) -> None:
        interpreter = optional("ai_edge_litert.interpreter", "tflite", self.named)
        kernels = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        make = lambda: interpreter.Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)  # noqa: E731
        self.interpreter: Any = guarded(make, f"{self.named}: LiteRT cannot load it")
        guarded(self.interpreter.allocate_tensors, f"{self.named}: LiteRT cannot run it")
        self.places = [details[0]["index"] for details in (self.interpreter.get_input_details(), self.interpreter.get_output_details())]
        self.shape = tuple(self.interpreter.get_input_details()[0]["shape"])

    def run(self, stored: np.ndarray) -> np.ndarray:
        if stored.shape != self.shape:
            self.shape = ()  # unknown until it has worked
            self.interpreter.resize_tensor_input(self.places[0], stored.shape)
            self.interpreter.allocate_tensors()
            self.shape = stored.shape
        self.interpreter.set_tensor(self.places[0], stored)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.places[1])


class OnnxRuntime(Runtime):
    """onnxruntime on the processor, on one thread."""

    def start(self, content: bytes) -> None:
        onnxruntime = optional("onnxruntime", "onnx", self.named)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        make = lambda: onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])  # noqa: E731
        self.session: Any = guarded(make, f"{self.named}: onnxruntime cannot load it")

    def run(self, stored: np.ndarray) -> np.ndarray:
        try:
            return self.session.run([self.exit.name], {self.entry.name: stored})[0]
        except Exception as problem:  # onnxruntime has errors of its own
            raise RuntimeError(f"onnxruntime: {problem}") from problem

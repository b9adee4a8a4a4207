"""Each operator of a TensorFlow Lite file, rebuilt in torch, against LiteRT; then whole files: float, dynamic-range and full-integer."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from speechadv.errors import InputError
from speechadv.models.imported.network import Network
from speechadv.models.imported.tflite_file import LOWER, read_tflite
from speechadv.models.runtimes import LiteRT

FILES = importlib.util.spec_from_file_location("tflite_files", Path(__file__).with_name("tflite_files.py"))
files = importlib.util.module_from_spec(FILES)
FILES.loader.exec_module(files)
T, Op, build, constant, quantised = files.T, files.Op, files.build, files.constant, files.quantised
IMAGE = (1, 7, 6, 3)


def normal(*shape):
    """Normal numbers, for each shape the same ones whatever test runs."""
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def conv(padding=0, stride=(1, 1), dilation=(1, 1), activation=0):
    return "Conv2DOptions", {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "DilationHFactor": dilation[0], "DilationWFactor": dilation[1],
                             "FusedActivationFunction": activation}


def depthwise(padding=0, stride=(1, 1), multiplier=1, activation=0):
    return "DepthwiseConv2DOptions", {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "DepthMultiplier": multiplier, "DilationHFactor": 1,
                                      "DilationWFactor": 1, "FusedActivationFunction": activation}


def pool(padding=0, stride=(2, 2), size=(3, 2), activation=0):
    return "Pool2DOptions", {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1], "FilterHeight": size[0], "FilterWidth": size[1],
                             "FusedActivationFunction": activation}


def one(name, shape, out, *constants, options=(), first=None):
    """A file of one operator on an input of this shape."""
    tensors = [T(shape), *constants, T(out)]
    return build(tensors, [Op(name, list(range(len(tensors) - 1)), [len(tensors) - 1], options)])


WEIGHT, BIAS = normal(4, 3, 2, 3), normal(4)
CASES = {
    "convolution": lambda: one("CONV_2D", IMAGE, (1, 7, 6, 4), constant(WEIGHT), constant(BIAS), options=conv()),
    "convolution, strides, same padding, relu": lambda: one("CONV_2D", IMAGE, (1, 4, 3, 4), constant(WEIGHT), constant(BIAS), options=conv(0, (2, 2), activation=1)),
    "convolution, valid, dilated, relu6": lambda: one("CONV_2D", IMAGE, (1, 3, 4, 4), constant(WEIGHT), constant(BIAS), options=conv(1, dilation=(2, 2), activation=3)),
    "convolution in groups": lambda: one("CONV_2D", (1, 5, 5, 4), (1, 5, 5, 6), constant(normal(6, 3, 3, 2)), constant(normal(6)), options=conv()),
    "depthwise": lambda: one("DEPTHWISE_CONV_2D", IMAGE, (1, 7, 6, 3), constant(normal(1, 3, 3, 3)), constant(normal(3)), options=depthwise()),
    "depthwise, twice as many channels": lambda: one("DEPTHWISE_CONV_2D", IMAGE, (1, 4, 3, 6), constant(normal(1, 3, 3, 6)), constant(normal(6)),
                                                     options=depthwise(0, (2, 2), 2, 1)),
    "fully connected": lambda: one("FULLY_CONNECTED", (1, 12), (1, 5), constant(normal(5, 12)), constant(normal(5)), options=("FullyConnectedOptions", {"FusedActivationFunction": 1})),
    "fully connected, axes kept": lambda: one("FULLY_CONNECTED", (1, 4, 12), (1, 4, 5), constant(normal(5, 12)), constant(normal(5)), options=("FullyConnectedOptions", {"KeepNumDims": True})),
    "average pool, same": lambda: one("AVERAGE_POOL_2D", IMAGE, (1, 4, 3, 3), options=pool()),
    "average pool, valid": lambda: one("AVERAGE_POOL_2D", IMAGE, (1, 3, 3, 3), options=pool(1)),
    "max pool, same": lambda: one("MAX_POOL_2D", IMAGE, (1, 4, 3, 3), options=pool()),
    "mean": lambda: one("MEAN", IMAGE, (1, 3), constant([1, 2], "int32"), options=("ReducerOptions", {"KeepDims": False})),
    "mean, axes kept": lambda: one("MEAN", IMAGE, (1, 1, 1, 3), constant([1, 2], "int32"), options=("ReducerOptions", {"KeepDims": True})),
    "sum": lambda: one("SUM", IMAGE, (1, 7, 3), constant([2], "int32"), options=("ReducerOptions", {"KeepDims": False})),
    "largest": lambda: one("REDUCE_MAX", IMAGE, (1, 7, 3), constant([-2], "int32"), options=("ReducerOptions", {"KeepDims": False})),
    "add": lambda: one("ADD", IMAGE, IMAGE, constant(normal(3)), options=("AddOptions", {"FusedActivationFunction": 3})),
    "subtract": lambda: one("SUB", IMAGE, IMAGE, constant(normal(3)), options=("SubOptions", {"FusedActivationFunction": 1})),
    "multiply": lambda: one("MUL", IMAGE, IMAGE, constant(normal(3)), options=("MulOptions", {"FusedActivationFunction": 2})),
    "divide": lambda: one("DIV", IMAGE, IMAGE, constant(1 + normal(3) ** 2), options=("DivOptions", {})),
    "minimum": lambda: one("MINIMUM", IMAGE, IMAGE, constant(normal(3))),
    "maximum": lambda: one("MAXIMUM", IMAGE, IMAGE, constant(normal(3))),
    "pad": lambda: one("PAD", IMAGE, (1, 9, 9, 3), constant([[0, 0], [1, 1], [0, 3], [0, 0]], "int32"), options=("PadOptions", {})),
    "pad with a value": lambda: one("PADV2", IMAGE, (1, 9, 9, 3), constant([[0, 0], [1, 1], [0, 3], [0, 0]], "int32"), constant([2.5]), options=("PadV2Options", {})),
    "mirrored": lambda: one("MIRROR_PAD", IMAGE, (1, 10, 9, 3), constant([[0, 0], [1, 2], [0, 3], [0, 0]], "int32"), options=("MirrorPadOptions", {"Mode": 0})),
    "reshape": lambda: one("RESHAPE", IMAGE, (1, 42, 3), constant([-1, 42, 3], "int32"), options=("ReshapeOptions", {})),
    "reshape, batch of one": lambda: one("RESHAPE", IMAGE, (1, 126), constant([1, 126], "int32"), options=("ReshapeOptions", {})),
    "transpose": lambda: one("TRANSPOSE", IMAGE, (1, 3, 7, 6), constant([0, 3, 1, 2], "int32"), options=("TransposeOptions", {})),
    "squeeze": lambda: one("SQUEEZE", (1, 7, 1, 3), (1, 7, 3), options=("SqueezeOptions", {"SqueezeDims": [2]})),
    "expand": lambda: one("EXPAND_DIMS", (1, 7, 3), (1, 7, 1, 3), constant([2], "int32"), options=("ExpandDimsOptions", {})),
    "a part": lambda: one("STRIDED_SLICE", IMAGE, (1, 3, 3, 3), constant([0, 1, 0, 0], "int32"), constant([0, 4, 5, 0], "int32"), constant([1, 1, 2, 1], "int32"),
                          options=("StridedSliceOptions", {"BeginMask": 9, "EndMask": 9})),
    "a part, axis gone": lambda: one("STRIDED_SLICE", IMAGE, (1, 7, 3), constant([0, 0, -1, 0], "int32"), constant([0, 0, 0, 0], "int32"), constant([1, 1, 1, 1], "int32"),
                                     options=("StridedSliceOptions", {"BeginMask": 11, "EndMask": 11, "ShrinkAxisMask": 4})),
    "softmax": lambda: one("SOFTMAX", (1, 9), (1, 9), options=("SoftmaxOptions", {"Beta": 1.5})),
    "log softmax": lambda: one("LOG_SOFTMAX", (1, 9), (1, 9), options=("LogSoftmaxOptions", {})),
    "leaky relu": lambda: one("LEAKY_RELU", IMAGE, IMAGE, options=("LeakyReluOptions", {"Alpha": 0.2})),
    "square": lambda: one("SQUARE", IMAGE, IMAGE, options=("SquareOptions", {})),
    "concatenation": lambda: build([T(IMAGE), constant(normal(1, 7, 6, 2)), T((1, 7, 6, 5))], [Op("CONCATENATION", [0, 1], [2], ("ConcatenationOptions", {"Axis": 3}))]),
    "exponential": lambda: one("EXP", IMAGE, IMAGE, options=("ExpOptions", {})),
    "absolute": lambda: one("ABS", IMAGE, IMAGE, options=("AbsOptions", {})),
    "root of a square": lambda: build([T(IMAGE), T(IMAGE), T(IMAGE)], [Op("SQUARE", [0], [1]), Op("SQRT", [1], [2])]),
    "logarithm": lambda: build([T(IMAGE), T(IMAGE), T(IMAGE)], [Op("EXP", [0], [1], ("ExpOptions", {})), Op("LOG", [1], [2])]),
    "reciprocal root": lambda: build([T(IMAGE), T(IMAGE), T(IMAGE)], [Op("EXP", [0], [1], ("ExpOptions", {})), Op("RSQRT", [1], [2])]),
    "reshape as it runs": lambda: build(
        [T(IMAGE), T((4,), "int32"), constant([0], "int32"), constant([1], "int32"), constant([1], "int32"), T((), "int32"), constant(126, "int32"), T((2,), "int32"), T((1, 126))],
        [Op("SHAPE", [0], [1], ("ShapeOptions", {"OutType": 2})), Op("STRIDED_SLICE", [1, 2, 3, 4], [5], ("StridedSliceOptions", {"ShrinkAxisMask": 1})),
         Op("PACK", [5, 6], [7], ("PackOptions", {"ValuesCount": 2, "Axis": 0})), Op("RESHAPE", [0, 7], [8], ("ReshapeOptions", {}))]),
    "float16 weights": lambda: build([T((1, 12)), constant(normal(5, 12), "float16"), T((5, 12)), T((1, 5))],
                                     [Op("DEQUANTIZE", [1], [2], ("DequantizeOptions", {})), Op("FULLY_CONNECTED", [0, 2, -1], [3], ("FullyConnectedOptions", {}))]),
}
CASES |= {name: (lambda name=name, options=options: one(name, IMAGE, IMAGE, options=options)) for name, options in (
    ("LOGISTIC", ()), ("RELU", ()), ("RELU6", ()), ("RELU_N1_TO_1", ()), ("TANH", ()), ("HARD_SWISH", ("HardSwishOptions", {})), ("NEG", ("NegOptions", {})))}


def both(content, features):
    """What LiteRT says and what the rebuilding says."""
    graph = read_tflite(content, "file")
    assert not graph.missing
    network, runtime = Network(graph), LiteRT(content, graph.input, graph.output, "file")
    network.one_by_one = runtime.one_by_one = True
    with torch.no_grad():
        return runtime(features).numpy(), network(features).numpy()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_an_operator(case):
    content = CASES[case]()
    shape = read_tflite(content, "file").input.shape[1:]
    expected, rebuilt = both(content, torch.from_numpy(2 * normal(2, *shape)))
    assert expected.shape == rebuilt.shape
    np.testing.assert_allclose(rebuilt, expected, atol=2e-5)


def test_every_operator_has_a_case():
    seen = {name for make in CASES.values() for name in read_tflite(make(), "file").operators}
    assert set(LOWER) - seen == {"QUANTIZE"}  # which is in the full-integer file below


def network_file(kind):
    """Convolution, depthwise, pool, dense, softmax: "float", "dynamic-range" or "full-integer" with a scale per channel."""
    weights = [normal(8, 3, 3, 1) * 0.4, normal(1, 3, 3, 8) * 0.4, normal(4, 8)]
    biases = [normal(8) * 0.2, normal(8) * 0.2, normal(4)]
    shapes = [(1, 12, 10, 1), (1, 6, 5, 8), (1, 6, 5, 8), (1, 1, 1, 8), (1, 8), (1, 4), (1, 4)]
    scales, zeros = [0.03, 0.02, 0.02, 0.02, 0.02, 0.04, 1 / 256], [5, -128, -128, -128, -128, 3, -128]
    full = kind == "full-integer"
    activations = [T(shape, "int8", None, scale, zero) if full else T(shape) for shape, scale, zero in zip(shapes, scales, zeros)]
    stored = [constant(w) if kind == "float" else quantised(w, axis) for w, axis in zip(weights, (0, 3, 0 if full else None))]
    if full:
        steps = [np.asarray(scales[i]) * np.asarray(w.scale) for i, w in zip((0, 1, 4), stored)]
        biases = [T(b.shape, "int32", np.rint(b / step).astype(np.int32), step.tolist(), [0] * step.size) for b, step in zip(biases, steps)]
    else:
        biases = [constant(b) for b in biases]
    w, b, shape = [7, 8, 9], [10, 11, 12], 13
    tensors = [*activations, *stored, *biases, constant([-1, 8], "int32")]
    operators = [Op("CONV_2D", [0, w[0], b[0]], [1], conv(0, (2, 2), activation=1)), Op("DEPTHWISE_CONV_2D", [1, w[1], b[1]], [2], depthwise(activation=1)),
                 Op("AVERAGE_POOL_2D", [2], [3], pool(1, (6, 5), (6, 5))), Op("RESHAPE", [3, shape], [4], ("ReshapeOptions", {})),
                 Op("FULLY_CONNECTED", [4, w[2], b[2]], [5], ("FullyConnectedOptions", {})), Op("SOFTMAX", [5], [6], ("SoftmaxOptions", {"Beta": 1.0}))]
    return build(tensors, operators, outputs=[6])


@pytest.mark.parametrize(("kind", "tolerance"), [("float", 1e-5), ("dynamic-range", 0.03), ("full-integer", 0.04)])
def test_a_network(kind, tolerance):
    expected, rebuilt = both(network_file(kind), torch.from_numpy(normal(16, 12, 10, 1)))
    assert np.abs(rebuilt - expected).max() < tolerance
    assert np.corrcoef(rebuilt.ravel(), expected.ravel())[0, 1] > 0.99


def test_quantised_tensors_saturate_in_the_rebuilding_as_in_the_runtime():
    """Features far beyond what int8 holds."""
    content = build([T((1, 4), "int8", None, 0.1, 0), T((1, 4), "int8", None, 0.05, 0)], [Op("QUANTIZE", [0], [1], ("QuantizeOptions", {}))])
    expected, rebuilt = both(content, torch.tensor([[0.5, 6.0, -20.0, 20.0]]))
    np.testing.assert_allclose(rebuilt, expected, atol=0.051)


def test_every_float_weight_is_a_parameter():
    network = Network(read_tflite(network_file("full-integer"), "file"))
    assert sum(p.numel() for p in network.parameters()) == 72 + 8 + 72 + 8 + 32 + 4
    network(torch.from_numpy(normal(2, 12, 10, 1))).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_logarithm_replaces_the_softmax():
    graph = read_tflite(network_file("full-integer"), "file")
    features = torch.from_numpy(normal(3, 12, 10, 1))
    np.testing.assert_allclose(Network(graph, logarithm=True)(features).exp().detach(), Network(graph, saturate=False)(features).detach(), rtol=1e-5)


@pytest.mark.parametrize(("name", "options", "message"), [
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", (), "its operator UNIDIRECTIONAL_SEQUENCE_LSTM has no rebuilding"),
    ("FULLY_CONNECTED", ("FullyConnectedOptions", {"WeightsFormat": 1}), "FULLY_CONNECTED has shuffled weights"),
    ("ADD", ("AddOptions", {"FusedActivationFunction": 5}), "ADD has the fused activation number 5"),
    ("TRANSPOSE", (), "TRANSPOSE has no constant input"), ("CONV_2D", (), "CONV_2D has weights that are no constant"),
])
def test_an_operator_that_is_missing_is_named(name, options, message):
    graph = read_tflite(build([T((1, 4)), T((1, 4))], [Op(name, [0, 0], [1], options)]), "file")
    assert message in graph.missing and not graph.nodes


def test_a_custom_operator_is_named():
    assert "custom MyOp" in read_tflite(build([T((1, 4)), T((1, 4))], [Op("CUSTOM", [0], [1], custom="MyOp")]), "file").missing


RELU = [T((1, 4)), T((1, 4))]
BROKEN = {
    "no flatbuffer": (lambda: b"dear reader", "its content is none"),
    "empty": (lambda: b"", "its content is none"),
    "cut": (lambda: network_file("float")[:200], "broken|expected"),
    "two subgraphs": (lambda: build(RELU, [Op("RELU", [0], [1])], subgraphs=2), "expected one subgraph, got 2"),
    "a buffer that is not there": (lambda: build(RELU, [Op("RELU", [0], [1])], buffer=77), "names buffer 77"),
    "a tensor that is not there": (lambda: build(RELU, [Op("RELU", [9], [1])]), "RELU names tensors that the file does not hold"),
    "a code that is not there": (lambda: build(RELU, [Op("RELU", [0], [1], fields={"code": 5})]), "names code 5"),
    "two inputs": (lambda: build(RELU, [Op("RELU", [0], [1])], inputs=(0, 1)), "expected one of inputs, got 2"),
    "a huge tensor": (lambda: build([T((1, 1 << 20, 1 << 20)), T((1, 4))], [Op("RELU", [0], [1])]), "expected at most 8 dimensions"),
    "a negative shape": (lambda: build([T((1, -4)), T((1, 4))], [Op("RELU", [0], [1])]), "expected at most"),
    "too few bytes": (lambda: build([T((1, 4)), T((4,), "float32", np.zeros(3, np.float32)), T((1, 4))], [Op("ADD", [0, 1], [2])]), "expected 16 bytes"),
    "scales that do not fit": (lambda: build([T((1, 4)), T((4, 4), "int8", np.zeros((4, 4), np.int8), [1, 1, 1], [0, 0, 0]), T((1, 4))],
                                             [Op("FULLY_CONNECTED", [0, 1, -1], [2])]), "expected a scale for each channel"),
    "a scale that is no number": (lambda: build([T((1, 4), "int8", None, np.nan, 0), T((1, 4))], [Op("RELU", [0], [1])]), "expected finite scales"),
    "integers for sound": (lambda: build([T((1, 4), "int32"), T((1, 4), "int32")], [Op("RELU", [0], [1])]), "expected inputs of float32"),
    "options of another operator": (lambda: build(RELU, [Op("SOFTMAX", [0], [1], ("Pool2DOptions", {}))]), "expected SoftmaxOptions"),
    "strides of zero": (lambda: one("AVERAGE_POOL_2D", IMAGE, IMAGE, options=pool(stride=(0, 0))), "expected sizes and strides of at least 1"),
    "negative padding": (lambda: one("PAD", (1, 4), (1, 4), constant([[0, 0], [-1, 0]], "int32")), "expected paddings of at least 0"),
}


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: fault.replace(" ", "-"))
def test_a_file_that_is_wrong(fault):
    make, message = BROKEN[fault]
    with pytest.raises(InputError, match=message) as problem:
        read_tflite(make(), "file")
    assert "\n" not in str(problem.value)


def test_flipped_bytes_never_raise_anything_else():
    """A quarter of a thousand damaged files: each is read, or refused in one line."""
    content, rng = network_file("full-integer"), np.random.default_rng(1)
    for _ in range(250):
        damaged = bytearray(content)
        for place in rng.integers(8, len(content), rng.integers(1, 6)):
            damaged[place] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        try:
            read_tflite(bytes(damaged), "file")
        except InputError as problem:
            assert "\n" not in str(problem)

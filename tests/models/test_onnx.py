"""Each operator of an ONNX file, rebuilt in torch, against onnxruntime; quantised files; what is refused."""
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from speechadv.errors import InputError
from speechadv.models.imported.network import Network
from speechadv.models.imported.onnx_file import LOWER, read_onnx
from speechadv.models.runtimes import OnnxRuntime

IMAGE = ("batch", 3, 7, 6)


def normal(*shape):
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def whole(*numbers):
    return np.array(numbers, np.int64)


def build(nodes, constants=(), shape=IMAGE, opset=17, dtype=TensorProto.FLOAT, **more):
    """A file of nodes from "x" to "y"; `constants` are name -> array."""
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", dtype, shape)], [helper.make_tensor_value_info("y", more.get("out", dtype), None)],
                              [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()])
    graph.output[0].type.tensor_type.shape.SetInParent()
    for name in more.get("axes", ("batch", "n")):
        graph.output[0].type.tensor_type.shape.dim.add().dim_param = name
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9).SerializeToString()


def one(name, *constants, shape=IMAGE, opset=17, rank=4, **attributes):
    """A file of one operator; constants are further inputs, None a missing one."""
    names = ["x", *("" if value is None else f"c{i}" for i, value in enumerate(constants))]
    return build([helper.make_node(name, names, ["y"], **attributes)], {f"c{i}": value for i, value in enumerate(constants) if value is not None}, shape, opset,
                 axes=[f"a{i}" for i in range(rank)])


def chain(*names, rank=4, shape=IMAGE):
    """Operators of one input each, one behind the other."""
    places = ["x", *(f"t{i}" for i in range(len(names) - 1)), "y"]
    return build([helper.make_node(name, [a], [b]) for name, a, b in zip(names, places, places[1:])], shape=shape, axes=[f"a{i}" for i in range(rank)])


CASES = {
    "conv": lambda: one("Conv", normal(4, 3, 3, 2), normal(4), pads=[1, 0, 1, 1], strides=[2, 1]),
    "conv, same": lambda: one("Conv", normal(4, 3, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv, same at the start": lambda: one("Conv", normal(4, 3, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv, groups, dilated": lambda: one("Conv", normal(6, 1, 2, 2), normal(6), group=3, dilations=[2, 2]),
    "conv over time": lambda: one("Conv", normal(4, 3, 5), pads=[2, 2], shape=("batch", 3, 20), rank=3),
    "max pool": lambda: one("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "average pool": lambda: one("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "average pool, zeros counted": lambda: one("AveragePool", kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1),
    "average over time": lambda: one("AveragePool", kernel_shape=[4], strides=[4], shape=("batch", 3, 20), rank=3),
    "gemm": lambda: one("Gemm", normal(5, 8), normal(5), transB=1, alpha=0.5, beta=2.0, shape=("batch", 8), rank=2),
    "matmul": lambda: one("MatMul", normal(6, 5)),
    "batch norm": lambda: one("BatchNormalization", normal(3), normal(3), normal(3), normal(3) ** 2 + 0.1, epsilon=1e-3),
    "clip": lambda: one("Clip", np.float32(-0.5), np.float32(0.7)),
    "clip from below": lambda: one("Clip", np.float32(-0.5), None),
    "clip, old": lambda: one("Clip", min=-0.5, max=0.7, opset=9),
    "softmax": lambda: one("Softmax", axis=-1), "log softmax": lambda: one("LogSoftmax", axis=1),
    "mean, old": lambda: one("ReduceMean", axes=[2, 3], keepdims=0, rank=2),
    "sum": lambda: one("ReduceSum", whole(-1)), "max": lambda: one("ReduceMax", axes=[1], keepdims=0, rank=3),
    "mean, new": lambda: one("ReduceMean", whole(2, 3), opset=18),
    "reshape": lambda: one("Reshape", whole(0, -1, 6), rank=3), "flatten": lambda: one("Flatten", axis=1, rank=2),
    "squeeze": lambda: one("Squeeze", whole(2), shape=("batch", 3, 1, 6), rank=3), "squeeze, old": lambda: one("Squeeze", axes=[2], shape=("batch", 3, 1, 6), rank=3, opset=11),
    "unsqueeze": lambda: one("Unsqueeze", whole(1, -1), rank=6), "transpose": lambda: one("Transpose", perm=[0, 3, 1, 2]),
    "pad": lambda: one("Pad", whole(0, 0, 1, 2, 0, 0, 3, 0), np.float32(1.5)), "mirrored": lambda: one("Pad", whole(0, 0, 1, 2, 0, 0, 3, 0), mode="reflect"),
    "slice": lambda: one("Slice", whole(1, 4), whole(9999, 0), whole(2, 3), whole(2, -1)),
    "gather": lambda: one("Gather", whole(2, -1), axis=2), "gather one": lambda: one("Gather", np.int64(1), axis=2, rank=3),
    "leaky": lambda: one("LeakyRelu", alpha=0.3), "hard sigmoid": lambda: one("HardSigmoid", alpha=0.3, beta=0.4),
    "add": lambda: one("Add", normal(6)), "sub": lambda: one("Sub", normal(6)), "mul": lambda: one("Mul", normal(6)), "div": lambda: one("Div", normal(6) ** 2 + 1),
    "min": lambda: one("Min", normal(6)), "larger": lambda: one("Max", normal(6)), "power": lambda: one("Pow", np.float32(2)),
    "cast": lambda: one("Cast", to=TensorProto.FLOAT), "dropout": lambda: one("Dropout"),
    "chosen": lambda: build([helper.make_node("Less", ["x", "c"], ["l"]), helper.make_node("Greater", ["x", "d"], ["g"]), helper.make_node("Where", ["l", "c", "x"], ["w"]),
                             helper.make_node("Where", ["g", "d", "w"], ["y"])], {"c": np.float32(-0.3), "d": np.float32(0.4)}, axes="abcd"),
    "equal": lambda: build([helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Equal", ["r", "x"], ["e"]), helper.make_node("Cast", ["e"], ["y"], to=1)], axes="abcd"),
    "sizes as it runs": lambda: build(
        [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Constant", [], ["i"], value_int=0), helper.make_node("Gather", ["s", "i"], ["b"], axis=0),
         helper.make_node("Unsqueeze", ["b", "zero"], ["u"]), helper.make_node("Concat", ["u", "rest"], ["r"], axis=0), helper.make_node("Reshape", ["x", "r"], ["y"])],
        {"zero": whole(0), "rest": whole(-1, 6)}, axes="abc"),
    "filled and expanded": lambda: build(
        [helper.make_node("ConstantOfShape", ["s"], ["f"], value=numpy_helper.from_array(np.array([2.5], np.float32))), helper.make_node("Expand", ["f", "e"], ["g"]),
         helper.make_node("Mul", ["x", "g"], ["y"])], {"s": whole(1, 6), "e": whole(7, 6)}, axes="abcd"),
    "part as it runs": lambda: build(
        [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "two"], ["n"], axis=0), helper.make_node("Div", ["n", "two"], ["h"]),
         helper.make_node("Slice", ["x", "zero", "h", "two"], ["y"])], {"two": whole(2), "zero": whole(0)}, axes="abcd"),
}
CASES |= {name: (lambda name=name: chain(name)) for name in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Neg", "Abs", "Exp", "Erf", "Sin", "Cos", "Identity",
                                                             "GlobalAveragePool", "GlobalMaxPool")}
CASES |= {"log": lambda: chain("Exp", "Log"), "root": lambda: chain("Abs", "Sqrt"), "reciprocal": lambda: chain("Exp", "Reciprocal")}


def both(content, features):
    """What onnxruntime says and what the rebuilding says."""
    graph = read_onnx(content, "file")
    assert not graph.missing
    with torch.no_grad():
        return OnnxRuntime(content, graph.input, graph.output, "file")(features).numpy(), Network(graph)(features).numpy()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_an_operator(case):
    content = CASES[case]()
    expected, rebuilt = both(content, torch.from_numpy(2 * normal(2, *read_onnx(content, "file").input.shape[1:])))
    assert expected.shape == rebuilt.shape
    np.testing.assert_allclose(rebuilt, expected, atol=2e-5)


def test_every_operator_has_a_case():
    seen = {name for make in CASES.values() for name in read_onnx(make(), "file").operators}
    assert set(LOWER) - seen == {"QuantizeLinear", "DequantizeLinear"}  # which are in the quantised file below


def quantised_file():
    """A dense layer as onnxruntime's static quantisation leaves it: int8 weights with a scale a channel, int8 around every operator."""
    weight = normal(8, 5)
    scale = np.abs(weight).max(0) / 63  # 7 bits: without VNNI two products of 8 bits overflow 16, in onnxruntime's kernels
    stored = np.rint(weight / scale).astype(np.int8)
    zero, zeros = np.int8(3), np.zeros(5, np.int8)
    nodes = [helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["qx"]), helper.make_node("DequantizeLinear", ["qx", "sx", "zx"], ["dx"]),
             helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"], axis=1), helper.make_node("MatMul", ["dx", "dw"], ["m"]),
             helper.make_node("QuantizeLinear", ["m", "sm", "zx"], ["qm"]), helper.make_node("DequantizeLinear", ["qm", "sm", "zx"], ["y"])]
    return build(nodes, {"sx": np.float32(0.03), "zx": zero, "w": stored, "sw": scale.astype(np.float32), "zw": zeros, "sm": np.float32(0.06)}, ("batch", 8))


def test_a_quantised_network():
    features = torch.from_numpy(normal(32, 8))
    expected, rebuilt = both(quantised_file(), features)
    assert np.abs(expected - rebuilt).max() < 0.2 and np.corrcoef(expected.ravel(), rebuilt.ravel())[0, 1] > 0.995
    expected, rebuilt = both(quantised_file(), 100 * features)  # far beyond what int8 holds
    assert np.abs(expected - rebuilt).max() < 0.2
    network = Network(read_onnx(quantised_file(), "file"))
    assert sum(p.numel() for p in network.parameters()) == 40


def test_an_integer_input_takes_its_scale_from_the_operator_beside_it():
    content = build([helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]), helper.make_node("Relu", ["d"], ["y"])], {"s": np.float32(0.5), "z": np.int8(2)},
                    ("batch", 4), dtype=TensorProto.INT8, out=TensorProto.FLOAT)
    graph = read_onnx(content, "file")
    assert (graph.input.scale, graph.input.zero_point) == (0.5, 2)
    expected, rebuilt = both(content, torch.tensor([[1.0, -2.0, 3.5, 0.0]]))
    np.testing.assert_array_equal(expected, rebuilt)


@pytest.mark.parametrize(("content", "message"), [
    (lambda: one("LSTM", normal(1, 8, 3), normal(1, 8, 2), shape=("batch", 2, 3), hidden_size=2), "its operator LSTM has no rebuilding"),
    (lambda: build([helper.make_node("Relu", ["x"], ["y"], domain="their.own")]), "its operator Relu has no rebuilding"),
    (lambda: build([helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2])]), "MaxPool has several outputs"),
    (lambda: one("MaxPool", kernel_shape=[2, 2], ceil_mode=1), "MaxPool is over more than two axes, or counts"),
    (lambda: one("Pad", whole(0, 0, 0, 0, 0, 0, 1, 1), mode="edge"), "Pad pads in another way"),
    (lambda: build([helper.make_node("Conv", ["x", "x"], ["y"])]), "Conv has no constant input"),
])
def test_an_operator_that_is_missing_is_named(content, message):
    graph = read_onnx(content(), "file")
    assert message in graph.missing and not graph.nodes


def outside():
    """Weights in another file, which must not be opened."""
    model = onnx.load_model_from_string(one("Add", normal(6)))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    return model.SerializeToString()


def claiming(*sizes):
    """A constant that claims a shape which its bytes do not fill."""
    model = onnx.load_model_from_string(one("Add", normal(6)))
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(sizes)
    return model.SerializeToString()


@pytest.mark.parametrize(("content", "message"), [
    (lambda: b"dear reader", "its content is broken"), (lambda: one("Conv", normal(4, 3, 3, 2))[:90], "its content is broken|expected"),
    (lambda: b"\x08\x09", "expected an ONNX model of 1 to"), (outside, "expected all weights inside the file"),
    (lambda: claiming(1 << 20, 1 << 20), "expected at most 8 dimensions"), (lambda: claiming(1 << 20), "claim more than the file holds"), (lambda: claiming(7), "its content is broken"),
    (lambda: one("Relu", shape=()), "with a batch"), (lambda: build([helper.make_node("Relu", ["x"], ["y"])], dtype=TensorProto.INT64), "expected 'x' as float32"),
    (lambda: build([helper.make_node("Add", ["x", "x"], ["y"])], {"x": normal(3)}), "expected one input and one output, got 0 and 1"),
    (lambda: one("Conv", normal(4, 3, 3, 2), strides=[0, 1]), "expected 2 strides of at least 1"),
    (lambda: one("Conv", normal(4, 3, 3, 2), pads=[1, 1]), "expected 4 pads"),
])
def test_a_file_that_is_wrong(content, message):
    with pytest.raises(InputError, match=message) as problem:
        read_onnx(content(), "file")
    assert "\n" not in str(problem.value)


def test_a_shape_bomb_is_not_allocated():
    content = build([helper.make_node("ConstantOfShape", ["s"], ["f"]), helper.make_node("Add", ["x", "f"], ["y"])], {"s": whole(1 << 20, 1 << 20)})
    with pytest.raises(InputError, match="broken"):
        read_onnx(content, "file")


def test_flipped_bytes_never_raise_anything_else():
    content, rng = quantised_file(), np.random.default_rng(1)
    for _ in range(250):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        try:
            read_onnx(bytes(damaged), "file")
        except InputError as problem:
            assert "\n" not in str(problem)

"""Files of others with their cards, for tests: an int8 spotter for LiteRT, an ONNX network on raw sound, and files with one fault each."""
import importlib.util
from pathlib import Path

import numpy as np
import tomli_w
from onnx import TensorProto, helper, numpy_helper

SPEC = importlib.util.spec_from_file_location("tflite_files", Path(__file__).with_name("tflite_files.py"))
files = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(files)
T, Op, build, constant, quantised = files.T, files.Op, files.build, files.constant, files.quantised
LABELS = ["yes", "no", "stop"]
FRONT_END = {"kind": "log-mel", "frame_length": 400, "hop_length": 400, "n_fft": 512, "n_mels": 10, "f_min": 60.0, "f_max": 4000.0, "mean": -4.0, "std": 4.0}
CARD = {"labels": LABELS, "sample_rate": 16000, "samples": 16000, "outputs": "probabilities", "front_end": FRONT_END}
SCALE, STEP = 0.05, 1 / 256


def spotter(batch_of_one=False):
    """An int8 file that hears 40 frames of 10 bands: convolution, mean, dense, softmax."""
    rng = np.random.default_rng(3)
    weight, dense = quantised(rng.normal(size=(6, 5, 10, 1)) * 0.3, 0), quantised(rng.normal(size=(3, 6)))
    biases = [T((n,), "int32", np.zeros(n, np.int32), (np.asarray(scale) * np.asarray(w.scale)).tolist(), [0] * len(w.scale))
              for n, scale, w in ((6, SCALE, weight), (3, 0.02, dense))]
    shapes = [(1, 40, 10, 1), (1, 36, 1, 6), (1, 1, 1, 6), (1, 6), (1, 3), (1, 3)]
    kept = [T(shape, "int8", None, scale, zero) for shape, scale, zero in zip(shapes, (SCALE, 0.02, 0.02, 0.02, 0.05, STEP), (0, -128, -128, -128, 0, -128))]
    conv = ("Conv2DOptions", {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1, "FusedActivationFunction": 1})
    operators = [Op("CONV_2D", [0, 6, 7], [1], conv), Op("MEAN", [1, 10], [2], ("ReducerOptions", {"KeepDims": True})), Op("RESHAPE", [2, 11], [3], ("ReshapeOptions", {})),
                 Op("FULLY_CONNECTED", [3, 8, 9], [4], ("FullyConnectedOptions", {})), Op("SOFTMAX", [4], [5], ("SoftmaxOptions", {"Beta": 1.0}))]
    return build([*kept, weight, biases[0], dense, biases[1], constant([1, 2], "int32"), constant([1 if batch_of_one else -1, 6], "int32")], operators, outputs=[5])


def put(folder, content, card=CARD, name="kws.tflite"):
    """A file and its card; the word that names it."""
    (folder / name).write_bytes(content)
    if card is not None:
        (folder / f"{name}.toml").write_text(card if isinstance(card, str) else tomli_w.dumps(card))
    return f"{name.rpartition('.')[2]}:{folder / name}"


def raw_onnx(*names, samples=800, labels=3):
    """Sound in, logits out: operators behind a dense layer."""
    weight = np.random.default_rng(0).normal(size=(samples, labels)).astype(np.float32)
    places = ["d", *(f"t{i}" for i in range(len(names)))]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["d"]), *(helper.make_node(name, [a], [b]) for name, a, b in zip(names, places, places[1:]))]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", samples))],
                              [helper.make_tensor_value_info(places[-1], TensorProto.FLOAT, ("batch", labels))], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


RAW_CARD = {"labels": LABELS, "sample_rate": 8000, "samples": 800, "outputs": "logits", "front_end": {"kind": "raw"}}


def write_faults(folder):
    """The files that docs/bad-input.md names."""
    put(folder, spotter()), put(folder, spotter(), None, "cardless.tflite"), put(folder, b"Dear reader,", CARD, "text.tflite"), put(folder, b"Dear reader,", RAW_CARD, "text.onnx")
    put(folder, spotter()[:2000], CARD, "cut.tflite"), put(folder, spotter(), CARD | {"labels": LABELS[:2]}, "two-labels.tflite")
    put(folder, spotter(), CARD | {"labels": ["yes", "?", "stop"]}, "unfilled.tflite"), put(folder, spotter(), CARD | {"front_end": FRONT_END | {"n_mels": 12}}, "bands.tflite")
    put(folder, spotter(), CARD | {"lables": LABELS}, "misspelt.tflite"), put(folder, spotter(), CARD | {"sha256": "00"}, "another.tflite")
    put(folder, raw_onnx("Softsign"), RAW_CARD, "softsign.onnx"), put(folder, raw_onnx("Mystery"), RAW_CARD, "mystery.onnx")

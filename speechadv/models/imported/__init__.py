"""Networks from TensorFlow Lite and ONNX files, rebuilt in torch: a reader a format, one graph, one set of operators."""

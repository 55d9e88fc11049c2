"""What is taken along of a trained point: code, weights, ONNX, the reading of the test set; and which images a run got right."""

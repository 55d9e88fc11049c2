"""Exports of trained runs (code, weights, ONNX and test accuracy), and sheets of images."""

"""Training of the detector: all that needs PyTorch. It meets the runtime only in an ONNX file."""

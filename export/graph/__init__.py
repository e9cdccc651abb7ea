"""Reading and changing ONNX graphs."""

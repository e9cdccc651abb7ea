"""How each layer and function of a folded network is written as ONNX."""

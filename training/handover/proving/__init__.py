"""The proof of an export: the file answers as the eager network does, in our session and in stock onnxruntime."""

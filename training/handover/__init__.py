"""The hand-over to export: a torch network becomes a graph, and the file that is made of it is proven.

Read in this order: :mod:`.reader` (what ``export_onnx`` calls), :mod:`.program` (any module, by ``torch.export``),
:mod:`.carried` (layers of ours as operators), :mod:`.pixels`, and :mod:`.proving` (the file beside the network).
"""

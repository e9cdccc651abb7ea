"""The hand-over to export: a torch network becomes a graph; a folded one is recorded as the reference.

Read in this order: :mod:`.reader` (what ``export_onnx`` calls, and which network takes which way), :mod:`.program` and
:mod:`.carried` (any module, by ``torch.export``), :mod:`.fold` (a trained network as :mod:`.folded` modules),
:mod:`.reference` (its recorded answers), :mod:`.emission` (the walk over a folded network), the lists of
emitters, and :mod:`.proving` (the file beside the network).
"""

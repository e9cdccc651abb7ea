"""The hand-over to export: fold a trained network, record it as the reference, write it node by node.

Read in this order: :mod:`.fold` (trained network to :mod:`.folded` modules), :mod:`.reference` (its recorded answers),
:mod:`.reader` (what ``export_onnx`` calls), :mod:`.emission` (the walk), the lists of emitters, and
:mod:`.proving` (the file beside the network).
"""

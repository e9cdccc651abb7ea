"""Models from elsewhere: a file that others wrote becomes one with packed binary layers, and a report of every layer.

Read in this order: :mod:`.conversion` (what ``convert`` does), :mod:`.plain` (any file as one plain model),
:mod:`.qonnx` (a dialect), :mod:`.tidying`, :mod:`.packing` (layer by layer), :mod:`.stairs`, :mod:`.stairs_reader`,
:mod:`.signs`, :mod:`.ranges` and :mod:`.activations` (what is a sign), :mod:`.layers`, :mod:`.tail` and :mod:`.ties`
(weights, what follows, where rounding decides).
"""

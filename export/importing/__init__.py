"""Models from elsewhere: a file that others wrote becomes one with packed binary layers, and a report of every layer.

Read in this order: :mod:`.conversion` (what ``convert`` does), :mod:`.qonnx` (a dialect), :mod:`.packing` (layer by
layer), :mod:`.stairs_reader`, :mod:`.signs` and :mod:`.activations` (what is a sign), :mod:`.layers` and :mod:`.tail`
(weights, what follows).
"""

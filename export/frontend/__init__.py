"""The front end: a network as torch exported it becomes the graph that is deployed, by passes over ONNX.

::

    torch module ─► torch.export, torch's ONNX exporter ─► Program ─► passes ─► onnx-ir model
                    (training/handover/program.py)                    (finishing)

Torch's exporter knows every operation of torch, so no list of them is kept here. Layers of ours arrive as operators of
``ai.latentbit``, packed; what users wrote as signs by themselves is found and packed by the passes that also read
files of others (:mod:`..importing.packing`). Each pass does one thing to the whole graph:

=================  ====================================================================================
:mod:`.sizes`      sizes of values named, and filled in where they follow from others
:mod:`.tidying`    constants computed, shapes of reshapes fixed, forms the runtime knows
:mod:`.norms`      batch norms into the layers before them, in float64; what is left as scale and shift
:mod:`.pixels`     uint8 images as input, or an exact first convolution
:mod:`.storage`    float weights that remain as int8
:mod:`.naming`     module paths as names
=================  ====================================================================================
"""

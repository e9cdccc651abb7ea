"""Write networks of larq as ONNX files through tf2onnx, with larq's own answers beside them: needs tensorflow.

    python -m bench.foreign.larq_files [--out runs/larq-files] [--size 224]

It runs where larq, tensorflow and tf2onnx are installed (``tox -e larq-files``), without latentbit: the exporter of
latentbit and tensorflow ask for different packages. ``bench.foreign.larq_networks`` converts what is written here.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["quicknet_small"]

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # larq is written for Keras 2
SAMPLES = 2


def quicknet_small(size: int) -> Any:
    """Return a network in the form of QuickNet Small (Bannink et al., 2021, MLSys): four sections of four residual
    blocks of 32, 64, 256 and 512 channels, each a 3×3 binary convolution that pads with ones; random weights.
    """
    import larq
    import tensorflow as tf

    layers = tf.keras.layers
    image = layers.Input((size, size, 3))
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(layers.Conv2D(32, 1, use_bias=False)(layers.BatchNormalization()(x)))
    for section, filters in enumerate((32, 64, 256, 512)):
        if section:
            x = layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False)(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x))
        for _ in range(4):
            y = larq.layers.QuantConv2D(
                filters,
                3,
                padding="same",
                pad_values=1.0,
                activation="relu",
                use_bias=False,
                input_quantizer="ste_sign",
                kernel_quantizer="ste_sign",
                kernel_constraint="weight_clip",
            )(x)
            x = layers.Add()([x, layers.BatchNormalization()(y)])
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(x))
    return tf.keras.Model(image, layers.Dense(1000)(x))  # class scores: a softmax of random ones hides differences


def main() -> None:
    """Write the network and two random images with its answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/larq-files"))
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    options = parser.parse_args()
    import tensorflow as tf
    import tf2onnx

    options.out.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(0)
    network, rng = quicknet_small(options.size), np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):  # as after training: gamma, beta, mean, variance
            ranges = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.5))
            shapes = [weight.shape for weight in layer.get_weights()]
            layer.set_weights([rng.uniform(*limits, shape) for limits, shape in zip(ranges, shapes, strict=True)])
    x = rng.standard_normal((SAMPLES, options.size, options.size, 3)).astype(np.float32)
    answers = network.predict(x, batch_size=1, verbose=0)
    np.savez(options.out / "quicknet_small.npz", x=x, answers=answers)
    signature = (tf.TensorSpec((None, *x.shape[1:]), tf.float32, name="image"),)
    tf2onnx.convert.from_keras(
        network, input_signature=signature, opset=17, output_path=str(options.out / "quicknet_small.onnx")
    )
    print(f"{options.out / 'quicknet_small.onnx'}")


if __name__ == "__main__":
    main()

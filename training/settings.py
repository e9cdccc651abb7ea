"""The options of training: the keywords of :func:`.loop.trainer.train` and the ``[train]`` section of a file.

Importing this module imports no torch: the command line reads and checks a configuration before it loads any stage.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, TypeVar

from ..runtime.errors import ConfigError
from ..runtime.imported import import_function, is_named, source_digests
from .rules import (
    BITS,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    SHARE_ABOVE_0,
    SHARE_BELOW_1,
    SIGN_OR_ZERO,
    at_least,
    one_of,
    ruled,
)

__all__ = ["FOLDER", "LATENT", "Settings", "table_of"]

FOLDER = "folder:"
"""Begins the name of a data set that is a folder of images."""
LATENT = ("none", "L1", "L2", "L3", "L4", "L5", "L6")

Value = TypeVar("Value")


@dataclass(frozen=True)
class Settings:
    """All options of a training run; every field is a keyword of ``train`` and a key of ``[train]``.

    ConfigError names a value that cannot be. Names of data sets, models and estimators are checked where they are
    looked up.
    """

    # What is trained on what
    data: str = "digits"
    """Name of the data set, or ``package.module:function`` that returns one (docs/pipeline.md, "Your own")."""
    root: str = ""
    """Folder of data sets on disk; empty: the environment variable LATENTBIT_DATA."""
    holdout: float = ruled(0.0, SHARE_BELOW_1)
    """Share of the training data held out to choose settings on; with it the test data are never touched."""
    model: str = "digits_resnet"
    """Name of the network, or ``package.module:function`` that returns one."""
    loss: str = ""
    """``package.module:function``, ``loss(outputs, targets)`` -> scalar; empty: cross-entropy of class scores."""
    metric: str = ""
    """``package.module:function``, ``metric(outputs, targets)`` -> number or numbers by name, of NumPy arrays of all
    test data; empty: none. Accuracy is measured besides where the outputs are class scores."""
    code: str = ""
    """Folder in which the modules of these functions are looked up, before the installed packages; empty: the current
    one. A configuration file that does not say otherwise means its own folder."""
    width: int = ruled(0, NOT_NEGATIVE)
    """Channels of the first stage; 0: the network's own default."""
    pad_value: int = ruled(0, SIGN_OR_ZERO)
    """What lies outside the image for binary convolutions: -1, 0 or 1."""
    stem: str = ""
    """Float layers before the first binary one: imagenet, cifar, strided or cheap; empty: the network's own default."""
    downsample: str = ""
    """1×1 convolution of strided shortcuts: float or binary; empty: the network's own default."""
    block: str = ""
    """What the residual networks consist of (docs/training.md, "Blocks"); empty: a shortcut around every binary
    convolution. attention, fractal, ghost, pair, plain."""
    norm: str = ""
    """Where a block has batch norms: after its convolution, before its sign, both or none; empty: after."""
    image_size: int = ruled(0, NOT_NEGATIVE)
    """Side in pixels to which folders of images are brought; 0: the data set's own."""

    # The schedule
    epochs: int = ruled(30, at_least(1))
    minutes: float = ruled(0.0, NOT_NEGATIVE)
    """Wall time of the whole training stage, from start to files; it takes the place of ``epochs``. 0: count epochs."""
    start: str = ""
    """Folder of a trained run of the same network, whose weights this one starts from; empty: fresh weights."""
    batch_size: int = ruled(64, at_least(2))
    optimizer: str = one_of("adam", ("adam", "adamw", "sgd"))
    learning_rate: float = ruled(0.02, POSITIVE)
    weight_decay: float = ruled(0.0, NOT_NEGATIVE)
    """On convolution and dense weights alone, never on batch norm, biases, thresholds or slopes."""
    schedule: str = one_of("onecycle", ("constant", "cosine", "linear", "onecycle", "step"))
    label_smoothing: float = ruled(0.0, SHARE_BELOW_1)
    augment: str = "shift1"
    """Augmentation of training images: none, shift1, crop2_flip, crop4_flip, resized_crop, or ``package.module:name``
    of a transform that takes and gives an image, such as those of torchvision v2."""
    clip: float = ruled(0.0, NOT_NEGATIVE)
    """Largest norm of the gradient; 0: no limit."""
    ema: float = ruled(0.0, SHARE_BELOW_1)
    """Decay of a moving average of all weights, which the run then leaves behind; 0: none."""
    activation_estimator: str = "approx_sign"
    """Surrogate derivative of activation signs: approx_sign, ede, identity, identity_clip or reste."""
    thresholds: str = one_of("learned", ("fixed", "learned"))
    """Thresholds of activation signs: learned with the weights, or fixed where they start, at 0."""
    weight_estimator: str = "identity_clip"
    """Surrogate derivative of weight signs."""
    weight_regulariser: str = "none"
    """What W becomes before it is binarised: none, standardise or recu."""
    silent_scale: float = ruled(0.0, NOT_NEGATIVE)
    """Shortest gradient of a weight channel, as a share of the weights' norm (OvSW's gradient scaling); 0: none."""
    silent_decay: float = ruled(0.0, NOT_NEGATIVE)
    """Decay of weights whose sign has stopped flipping (OvSW's silence awareness); 0: none."""
    float_until: float = ruled(0.0, SHARE_BELOW_1)
    """The network is float in this first part of the schedule: hardtanh in the place of signs, and real weights. Then
    activations become binary, and weights at ``real_weight_until`` or with them. 0: it never is."""
    real_weight_until: float = ruled(0.0, SHARE_BELOW_1)
    """Weights stay real up to this share of the schedule. 0: they are binary from the start, or where ``float_until``
    ends; ReActNet uses 0.5. Each stage has a whole schedule of the learning rate, the last one no weight decay."""
    bits: str = ruled("", BITS)
    """Bits of weights and activations, a digit a stage of equal length: 4321, or two cycles, 43214321 (CTMQ). 0 stands
    for no rounding; the last digit is 1. Empty: stages as the two options above say."""
    weight_limit: float = ruled(1.5, NOT_NEGATIVE)
    """Latent weights are clamped to ±limit after every step; 0: never."""
    seed: int = ruled(0, NOT_NEGATIVE)
    teacher: str = ""
    """Folder of a trained run whose network teaches this one; empty: none."""
    teacher_weight: float = ruled(1.0, SHARE)
    """Share of the teacher's distillation in the loss; the rest is cross-entropy with the labels."""
    teacher_temperature: float = ruled(1.0, POSITIVE)

    consistency: float = ruled(0.0, NOT_NEGATIVE)
    """Weight of the distance between a network's answers and those for the same images in other styles (MixStyle): for
    data that will look otherwise. Only without a latent branch. 0: none."""

    # The latent branch
    latent: str = one_of("L1", LATENT)
    """none, or the attempt of docs/training.md."""
    phi: str = one_of("identity", ("identity", "hardtanh", "sign"))
    """Activation of the latent stream: identity, hardtanh or sign."""
    label_weight: float = ruled(1.0, NOT_NEGATIVE)
    """Weight of the binary stream's cross-entropy in the steps in which a latent stream runs (L1, L2, L5, L6)."""
    mu: float = ruled(1.0, NOT_NEGATIVE)
    """Weight of the latent stream's own cross-entropy."""
    beta: float = ruled(1.0, NOT_NEGATIVE)
    """Weight of the distillation from the latent to the binary stream; L6: of both distillations."""
    temperature: float = ruled(1.0, POSITIVE)
    """Temperature T of that distillation."""
    gamma: float = ruled(0.1, NOT_NEGATIVE)
    """L2: weight of the supervision of features."""
    centre: float = ruled(0.0, NOT_NEGATIVE)
    """L2: weight of the centre loss on pooled features."""
    eta: float = ruled(0.3, NOT_NEGATIVE)
    """L4: size of the latent gradient relative to the binary one."""
    fade: float = ruled(0.8, SHARE_ABOVE_0)
    """L3 and L5: share of the schedule by which the latent part has faded to zero."""
    mu_ramp: float = ruled(0.0, SHARE_BELOW_1)
    """Share of the schedule over which mu rises from 0, from ``latent_from`` on; 0: at once. So for beta_ramp and
    gamma_ramp."""
    beta_ramp: float = ruled(0.0, SHARE_BELOW_1)
    gamma_ramp: float = ruled(0.0, SHARE_BELOW_1)
    latent_share: float = ruled(1.0, SHARE_ABOVE_0)
    """Share of each batch that the latent stream reads (L1, L2, L5, L6)."""
    latent_every: int = ruled(1, at_least(1))
    """The latent stream runs on every n-th step (L1, L2, L5, L6)."""
    latent_from: float = ruled(0.0, SHARE_BELOW_1)
    """The latent stream runs from this share of the schedule on (L1, L2, L5, L6) …"""
    latent_until: float = ruled(1.0, SHARE_ABOVE_0)
    """… and up to this one."""

    tensorboard: bool = False
    """Write curves for TensorBoard too (needs the package tensorboard)."""

    # The machine
    device: str = "cpu"
    """cpu, cuda, or auto: cuda where there is one."""
    precision: str = one_of("float32", ("bf16", "float32", "fp16"))
    """Arithmetic of activations: float32, or bf16 or fp16 by autocast; W, optimiser and evaluation stay float32."""
    compile: bool = False
    """Compile the training step with torch.compile. The images that fill no batch at the end of an epoch are then left
    out, for another batch size would be compiled anew; every epoch leaves out others."""
    channels_last: bool = True
    """Keep images and activations in NHWC order in memory: a fifth faster on the CPUs we measured."""
    threads: int = ruled(1, NOT_NEGATIVE)
    """CPU threads of torch; 0: torch's own choice. Results are equal bit for bit for equal numbers."""

    def __post_init__(self) -> None:
        """Check every value, and those that go with others."""
        for known in fields(self):
            _check(known.name, getattr(self, known.name), known.metadata)
        if self.latent == "L4" and self.turns:
            raise ConfigError(
                "train.real_weight_until, float_until and bits need another latent variant than L4: its value is binary"
            )
        if self.bits and (self.float_until or self.real_weight_until):
            raise ConfigError("train.bits says what every stage is: leave float_until and real_weight_until out")
        if 0 < self.real_weight_until <= self.float_until:
            raise ConfigError(
                f"train.real_weight_until = {self.real_weight_until:g} has passed when train.float_until ="
                f" {self.float_until:g} ends, and weights are real till then: leave it out, or make it larger"
            )
        end = min(self.latent_until, self.fade) if self.latent == "L5" else self.latent_until
        if self.latent_from >= end:
            raise ConfigError(
                f"train.latent_from = {self.latent_from:g} lets the latent stream begin where it has ended, at {end:g}"
                " of the schedule (latent_until; of L5, fade too)"
            )
        if self.consistency and self.latent != "none":
            raise ConfigError("train.consistency is for training without a latent branch: set train.latent to none")
        if self.loss and self.label_smoothing:
            raise ConfigError(
                "train.label_smoothing belongs to the cross-entropy, which train.loss replaces: set it to 0"
            )
        if self.precision == "fp16" and self.device == "cpu":
            raise ConfigError("train.precision = 'fp16' needs a GPU: use bf16 or float32 on the CPU")

    @property
    def turns(self) -> tuple[float, ...]:
        """The shares of the schedule at which a stage ends and the next begins, in order."""
        return tuple(end for end, _, _ in self.stages[:-1])

    @property
    def stages(self) -> tuple[tuple[float, int, int], ...]:
        """The stages in order: the share of the schedule at which each ends, bits of its weights and activations."""
        if self.bits:
            return tuple((end / len(self.bits), int(k), int(k)) for end, k in enumerate(self.bits, 1))
        stages = ((self.float_until, 0, 0), (self.real_weight_until, 0, 1), (1.0, 1, 1))
        return tuple(stage for stage in stages if stage[0])

    @classmethod
    def from_keywords(cls, **keywords: Any) -> "Settings":
        """Build settings; ConfigError with the nearest right name for an unknown keyword or a value of another type."""
        known = {field.name: field for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in keywords.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise ConfigError(
                    f"unknown option {name!r} of train" + (f": did you mean {near[0]!r}?" if near else "")
                )
            kind = type(known[name].default)
            if kind is float and type(value) is int:
                value = float(value)
            if type(value) is not kind:
                raise ConfigError(f"train.{name} takes {kind.__name__}, not {type(value).__name__} ({value!r})")
            values[name] = value
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON values."""
        return asdict(self)

    def named(self, *options: str) -> dict[str, str]:
        """Return those of these options that name functions of the user's, by option; all five without a choice."""
        every = ("model", "data", "loss", "metric", "augment")
        chosen = {option: getattr(self, option) for option in options or every}
        return {option: name for option, name in chosen.items() if is_named(name) and not name.startswith(FOLDER)}

    def source_digests(self, *options: str) -> dict[str, str]:
        """Return the sha256 of the sources of the user's functions by module, importing none; ConfigError without one.

        They tell whether a run is of the code that lies there now; ``code``, where it lies, may change.
        """
        found: dict[str, str] = {}
        for option, name in self.named(*options).items():
            found |= source_digests(f"train.{option}", name, self.code)
        return found

    def import_function(self, option: str) -> Callable[..., Any]:
        """Import the function that an option names; ConfigError where there is none."""
        return import_function(f"train.{option}", getattr(self, option), self.code)


def _check(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    """Raise ConfigError if the value of an option breaks its rule, or is none of its choices."""
    choices = metadata.get("choices", (value,))
    if value not in choices:
        spelled = {choice.lower(): choice for choice in choices}
        near = difflib.get_close_matches(str(value).lower(), spelled, 1)
        hint = f"did you mean {spelled[near[0]]!r}?" if near else f"choose one of {', '.join(choices)}"
        raise ConfigError(f"train.{name} = {value!r} is unknown: {hint}")
    if "rule" in metadata:
        holds, complaint = metadata["rule"]
        if not holds(value):
            raise ConfigError(f"train.{name} {complaint.format(value)}")


def table_of(option: str, table: Mapping[str, Value]) -> MappingProxyType[str, Value]:
    """Return what the choices of an option mean, by name and read-only.

    AssertionError at import if the table and the choices in :class:`Settings` differ: each is written once, and neither
    without the other.
    """
    (choices,) = (known.metadata["choices"] for known in fields(Settings) if known.name == option)
    assert set(table) == set(choices), f"Settings.{option} takes {choices}, its table holds {tuple(table)}"
    return MappingProxyType(dict(table))

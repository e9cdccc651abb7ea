"""The options of training: the keywords of :func:`.loop.trainer.train` and the ``[train]`` section of a file.

Importing this module imports no torch: the command line reads and checks a configuration before it loads any stage.
"""

import difflib
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..runtime.errors import ConfigError

__all__ = ["LATENT", "Settings"]

LATENT = ("none", "L1", "L2", "L3", "L4", "L5")
PHI = ("identity", "hardtanh", "sign")
PRECISIONS = ("bf16", "float32", "fp16")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "onecycle", "step")


@dataclass(frozen=True)
class Settings:
    """All options of a training run; every field is a keyword of ``train`` and a key of ``[train]``.

    ConfigError names a value that cannot be. Names of data sets, models and estimators are checked where they are
    looked up.
    """

    # What is trained on what
    data: str = "digits"
    """Name of the data set."""
    root: str = ""
    """Folder of data sets on disk; empty: the environment variable LATENTBIT_DATA."""
    holdout: float = 0.0
    """Share of the training data held out to choose settings on; with it the test data are never touched."""
    model: str = "digits_resnet"
    """Name of the network."""
    width: int = 0
    """Channels of the first stage; 0: the network's own default."""
    pad_value: int = 0
    """What lies outside the image for binary convolutions: -1, 0 or 1."""
    stem: str = ""
    """Float layers before the first binary one: imagenet, cifar, strided or cheap; empty: the network's own default."""
    downsample: str = ""
    """1×1 convolution of strided shortcuts: float or binary; empty: the network's own default."""
    image_size: int = 0
    """Side in pixels to which folders of images are brought; 0: the data set's own."""

    # The schedule
    epochs: int = 30
    minutes: float = 0.0
    """Wall time of the whole training stage, from start to files; it takes the place of ``epochs``. 0: count epochs."""
    start: str = ""
    """Folder of a trained run of the same network, whose weights this one starts from; empty: fresh weights."""
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 0.02
    weight_decay: float = 0.0
    """On convolution and dense weights alone, never on batch norm, biases, thresholds or slopes."""
    schedule: str = "onecycle"
    label_smoothing: float = 0.0
    augment: str = "shift1"
    """Augmentation of training images: none, shift1, crop2_flip, crop4_flip, resized_crop."""
    clip: float = 0.0
    """Largest norm of the gradient; 0: no limit."""
    ema: float = 0.0
    """Decay of a moving average of all weights, which the run then leaves behind; 0: none."""
    activation_estimator: str = "approx_sign"
    """Surrogate derivative of activation signs: approx_sign, ede, identity, identity_clip or reste."""
    weight_estimator: str = "identity_clip"
    """Surrogate derivative of weight signs."""
    weight_regulariser: str = "none"
    """What W becomes before it is binarised: none, standardise or recu."""
    silent_scale: float = 0.0
    """Shortest gradient of a weight channel, as a share of the weights' norm (OvSW's gradient scaling); 0: none."""
    silent_decay: float = 0.0
    """Decay of weights whose sign has stopped flipping (OvSW's silence awareness); 0: none."""
    real_weight_until: float = 0.0
    """Two-stage training: weights stay real in this first part of the schedule, then the schedule starts again without
    weight decay. 0: one stage; ReActNet uses 0.5."""
    weight_limit: float = 1.5
    """Latent weights are clamped to ±limit after every step; 0: never."""
    seed: int = 0
    teacher: str = ""
    """Folder of a trained run whose network teaches this one; empty: none."""
    teacher_weight: float = 1.0
    """Share of the teacher's distillation in the loss; the rest is cross-entropy with the labels."""
    teacher_temperature: float = 1.0

    # The latent branch
    latent: str = "L1"
    """none, or the attempt of docs/training.md."""
    phi: str = "identity"
    """Activation of the latent stream: identity, hardtanh or sign."""
    mu: float = 1.0
    """Weight of the latent stream's own cross-entropy."""
    beta: float = 1.0
    """Weight of the distillation from the latent to the binary stream."""
    temperature: float = 1.0
    """Temperature T of that distillation."""
    gamma: float = 0.1
    """L2: weight of the supervision of features."""
    centre: float = 0.0
    """L2: weight of the centre loss on pooled features."""
    eta: float = 0.3
    """L4: size of the latent gradient relative to the binary one."""
    fade: float = 0.8
    """L3 and L5: share of the schedule by which the latent part has faded to zero."""
    mu_ramp: float = 0.0
    """Share of the schedule over which mu rises from 0; 0: at once. So for beta_ramp and gamma_ramp."""
    beta_ramp: float = 0.0
    gamma_ramp: float = 0.0
    latent_share: float = 1.0
    """Share of each batch that the latent stream reads (L1, L2, L5)."""
    latent_every: int = 1
    """The latent stream runs on every n-th step (L1, L2, L5)."""
    latent_until: float = 1.0
    """The latent stream runs in this first part of the schedule (L1, L2, L5)."""

    tensorboard: bool = False
    """Write curves for TensorBoard too (needs the package tensorboard)."""

    # The machine
    device: str = "cpu"
    """cpu, cuda, or auto: cuda where there is one."""
    precision: str = "float32"
    """Arithmetic of activations: float32, or bf16 or fp16 by autocast; W, optimiser and evaluation stay float32."""
    compile: bool = False
    """Compile the training step with torch.compile. The images that fill no batch at the end of an epoch are then left
    out, for another batch size would be compiled anew; every epoch leaves out others."""
    channels_last: bool = True
    """Keep images and activations in NHWC order in memory: a fifth faster on the CPUs we measured."""
    threads: int = 1
    """CPU threads of torch; 0: torch's own choice. Results are equal bit for bit for equal numbers."""

    def __post_init__(self) -> None:
        """Check the values that need no table of names."""
        for name, choices in (
            ("latent", LATENT),
            ("phi", PHI),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            value = getattr(self, name)
            if value not in choices:
                spelled = {choice.lower(): choice for choice in choices}
                near = difflib.get_close_matches(str(value).lower(), spelled, 1)
                hint = f"did you mean {spelled[near[0]]!r}?" if near else f"choose one of {', '.join(choices)}"
                raise ConfigError(f"train.{name} = {value!r} is unknown: {hint}")
        for name, least in (("epochs", 1), ("batch_size", 2), ("latent_every", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"train.{name} must be at least {least}, not {getattr(self, name)}")
        for name in (
            "width",
            "image_size",
            "threads",
            "weight_decay",
            "weight_limit",
            "minutes",
            "mu",
            "beta",
            "gamma",
            "centre",
            "eta",
            "clip",
            "silent_scale",
            "silent_decay",
            "seed",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name} must not be negative, but is {getattr(self, name)}")
        for name in ("learning_rate", "temperature", "teacher_temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"train.{name} must be positive, not {getattr(self, name)}")
        for name in ("fade", "latent_share", "latent_until"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"train.{name} must lie in (0, 1], not {getattr(self, name)}")
        unit = ("holdout", "label_smoothing", "mu_ramp", "beta_ramp", "gamma_ramp", "ema", "real_weight_until")
        for name in unit:
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must lie in [0, 1), not {getattr(self, name)}")
        if self.latent == "L4" and self.real_weight_until:
            raise ConfigError("train.real_weight_until needs another latent variant than L4, whose value is binary")
        if not 0 <= self.teacher_weight <= 1:
            raise ConfigError(f"train.teacher_weight must lie in [0, 1], not {self.teacher_weight}")
        if self.precision == "fp16" and self.device == "cpu":
            raise ConfigError("train.precision = 'fp16' needs a GPU: use bf16 or float32 on the CPU")
        if self.pad_value not in (-1, 0, 1):
            raise ConfigError(f"train.pad_value must be -1, 0 or 1, not {self.pad_value}")

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

"""Where the files of a run lie, relative to its directory; the folders are numbered in the order of the stages.

TRAINING, FOLDING and RUNNING are the figures of their stages, each a ``metrics.json``.
"""

__all__ = [
    "ANSWERS",
    "FOLDED",
    "FOLDING",
    "HISTORY",
    "MODEL",
    "NETWORK",
    "PAGE",
    "PLAIN",
    "REFERENCE",
    "REPORT",
    "RUNNING",
    "STEPS",
    "STRUCTURE",
    "STUDY",
    "TRAINED",
    "TRAINING",
]

TRAINED = "1-train"
NETWORK = "1-train/network.pt"
STRUCTURE = "1-train/network.json"
TRAINING = "1-train/metrics.json"
HISTORY = "1-train/metrics.jsonl"
FOLDED = "2-fold/folded.onnx"
FOLDING = "2-fold/metrics.json"
REFERENCE = "2-fold/reference.npz"
MODEL = "3-export/model.onnx"
PLAIN = "3-export/plain.onnx"
ANSWERS = "4-run/answers.npz"
RUNNING = "4-run/metrics.json"
STEPS = "4-run/steps.json"
REPORT = "5-check/report.json"
PAGE = "report.html"
STUDY = "features.json"
"""The comparison of features in which the run took part (``separability``); most runs have none."""

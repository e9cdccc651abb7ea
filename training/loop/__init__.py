"""One training run: steps, schedule, checkpoints, evaluation."""

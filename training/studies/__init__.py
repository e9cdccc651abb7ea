"""Programs that compare runs: ablation, plots, separability, cost of a step."""

"""Where the time of a training step on a GPU goes: the host that starts kernels, the kernels, and their convolutions.

    python -m bench.gpu_step configs/cifar10_resnet18.toml [-s KEY=VALUE ...]

Prints for a recipe: the seconds until its first step is done, compilation included; the milliseconds of a step by the
host and by the clock on the wall; the milliseconds in which the GPU computes, and those of convolutions; the kernels
started in a step; images a second. It needs a CUDA device and the recipe's data.
"""

import argparse
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from latentbit.training.loop.run import TrainingRun
from latentbit.training.settings import Settings

CONVOLUTIONS = ("conv", "fprop", "dgrad", "wgrad")
"""Parts of the names of cuDNN's kernels for convolutions and their gradients."""
SETTLING = 5


def measure(run: TrainingRun, steps: int) -> dict[str, float]:
    """Take steps and return the figures by name."""
    run.objective.train()
    size, order = run.settings.batch_size, run.batches.order(0)
    taken = 0

    def take(count: int) -> None:
        nonlocal taken
        for _ in range(count):
            place = taken % run.batches.steps
            run.train_step(order[place * size : (place + 1) * size], taken)
            taken += 1

    started = time.perf_counter()
    take(1)
    run.synchronise()
    first = time.perf_counter() - started
    take(SETTLING)
    run.synchronise()
    started = time.perf_counter()
    take(steps)
    host = time.perf_counter() - started
    run.synchronise()
    whole = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        take(SETTLING)
        run.synchronise()
    kernels = [event for event in seen.events() if event.device_type == DeviceType.CUDA]
    busy = sum(event.device_time_total for event in kernels)
    convolutions = sum(
        event.device_time_total for event in kernels if any(word in event.name.lower() for word in CONVOLUTIONS)
    )
    return {
        "first step, s": first,
        "host, ms a step": 1e3 * host / steps,
        "whole, ms a step": 1e3 * whole / steps,
        "GPU computes, ms a step": 1e-3 * busy / SETTLING,
        "convolutions, ms a step": 1e-3 * convolutions / SETTLING,
        "kernels a step": len(kernels) / SETTLING,
        "images a second": size * steps / whole,
    }


def main() -> None:
    """Measure one recipe and print its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="-s batch_size=1024")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    section: dict[str, Any] = tomllib.loads(options.config.read_text(encoding="utf-8"))["train"]
    for text in options.set:
        section |= tomllib.loads(text.replace("=", " = ", 1))
    run = TrainingRun(Settings.from_keywords(**section))
    if run.device.type != "cuda":
        parser.exit(2, "this program measures a GPU, and torch sees no CUDA device\n")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.config} {' '.join(options.set)}")
    for name, value in measure(run, options.steps).items():
        print(f"{name:24} {value:10,.1f}")


if __name__ == "__main__":
    main()

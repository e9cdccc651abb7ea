"""Two processes against one: the same loss curve at the same global batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from latentbit.training.__main__ import main
from latentbit.training.loop.distributed import Group, join
from latentbit.training.loop.loading import load_network
from latentbit.training.loop.trainer import train

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "width": 8,
    "batch_size": 128,
    "threads": 1,
    "augment": "none",
    "latent": "L1",
    "learning_rate": 0.005,
}

# Batch norm sees half of each batch in each process, so the curves agree in substance and not in digits. Observed
# differences of the epochs' mean losses were below 4%.
TOLERANCE = 0.1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_gloo_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[train]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in SETTINGS.items()))
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "latentbit.training", str(config), "-o", str(tmp_path / "run")],
            env=os.environ
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    said = [tuple(text.decode() for text in process.communicate(timeout=300)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0].count("epoch ") == 3
    assert "epoch " not in said[1][0]  # one process reports
    train(out=tmp_path / "one", **SETTINGS)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "run" / "1-train")
    assert len(two) == 3
    assert two[-1] < two[0]
    for single, double in zip(one, two, strict=True):
        assert abs(single - double) < TOLERANCE * single
    metrics = json.loads((tmp_path / "run" / "1-train" / "metrics.json").read_text())
    assert 0 < metrics["training"] <= 1
    assert load_network(tmp_path / "run" / "1-train")(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


def test_a_batch_is_parted_without_overlap() -> None:
    rows = torch.arange(11)
    parts = [Group(rank, 3).part(rows).tolist() for rank in range(3)]
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_one_process_is_a_group_of_its_own() -> None:
    group, device = join("cpu")
    assert (group, device) == (Group(), "cpu")
    assert group.leads
    module, values = torch.nn.Linear(1, 1), torch.ones(2)
    assert group.wrap(module, torch.device("cpu"), unused=False) is module
    assert group.total(values) is values


def test_the_train_stage_alone_reports_errors_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[train]\nepoch = 3\n")
    assert main([str(config), "-o", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "error: unknown option 'epoch' of train: did you mean 'epochs'?\n"
    assert main([str(tmp_path / "none.toml"), "-o", str(tmp_path / "run")]) == 2

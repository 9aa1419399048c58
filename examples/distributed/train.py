"""XGBoost over the pods of a step: each holds a part of the rows, and every round they agree on the next tree.

It goes on from its last checkpoint, so the loss of a pod costs some rounds. With a GPU it uses CUDA.
"""

import os
import socket
import time
from pathlib import Path

import pandas as pd
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

from modelyard import sdk

RANK, NODES = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
MASTER, PORT = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500"))
PATIENCE_SECONDS = 120
SAVE_EVERY = 5
PAUSE_SECONDS = float(os.environ.get("PAUSE_SECONDS", "0"))
"""Slows it down, so that there is something to see."""


class Progress(xgb.callback.TrainingCallback):
    """Rank 0 says how far it is, and keeps what all ranks go on from."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.model: xgb.Booster | None = None

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: dict[str, object]) -> bool:
        self.model, done = model, model.num_boosted_rounds()
        sdk.log_progress(done / self.rounds)
        if done % SAVE_EVERY == 0:
            self.save()
        time.sleep(PAUSE_SECONDS)
        return False

    def save(self) -> None:
        """Keep the trees of all rounds so far."""
        if self.model:
            with sdk.save_checkpoint() as folder:
                self.model.save_model(folder / "model.ubj")


def main() -> None:
    """Train, and let rank 0 write the model."""
    parameters = sdk.parameters()
    rounds, label = int(parameters.get("rounds", "100")), parameters.get("label", "label")
    device = "cuda" if xgb.build_info().get("USE_CUDA") and has_gpu() else "cpu"
    print(f"rank {RANK} of {NODES}; device: {device}", flush=True)
    last = sdk.last_checkpoint()
    before = xgb.Booster(model_file=last / "model.ubj") if last else None
    left = rounds - (before.num_boosted_rounds() if before else 0)
    print(f"starts at round {rounds - left}", flush=True)
    progress = Progress(rounds)
    sdk.on_preemption(progress.save if RANK == 0 else lambda: None)
    tracker = start_tracker() if RANK == 0 else None
    with collective.CommunicatorContext(**worker_arguments()):
        features, truth = rows(sdk.input("rows"), label)
        part = slice(RANK, None, NODES)
        matrix = xgb.DMatrix(features[part], truth[part])
        booster = xgb.train(
            {"objective": "binary:logistic", "eval_metric": "logloss", "seed": sdk.seed(), "device": device},
            matrix,
            num_boost_round=left,
            xgb_model=before,
            callbacks=[progress] if RANK == 0 else [],
        )
        loss = float(booster.eval(matrix, "all").rpartition(":")[2])
    if RANK == 0:
        sdk.log_metric("logLoss", loss)
        booster.save_model(sdk.output("booster") / "model.ubj")
    if tracker:
        tracker.wait_for()


def rows(folder: Path, label: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return all rows in one order, which every rank takes its part of."""
    table = pd.concat([pd.read_csv(path) for path in sorted(folder.iterdir())], ignore_index=True)
    features = table.drop(columns=label).select_dtypes("number")
    return features, table[label]


def start_tracker() -> RabitTracker:
    """Start what tells the ranks of each other."""
    address = socket.gethostbyname(socket.gethostname()) if NODES > 1 else MASTER
    tracker = RabitTracker(n_workers=NODES, host_ip=address, port=PORT, sortby="task")
    tracker.start()
    return tracker


def worker_arguments() -> dict[str, str | int]:
    """Return how this rank finds the others. A host name is known only once its pod has an address."""
    return {
        "dmlc_communicator": "rabit",
        "dmlc_tracker_uri": address_of(MASTER),
        "dmlc_tracker_port": PORT,
        "dmlc_task_id": f"{RANK:04d}",
        "dmlc_retry": 30,
        "dmlc_timeout_sec": PATIENCE_SECONDS,
    }


def address_of(host: str) -> str:
    """Return the address of a host, as soon as it has one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return socket.gethostbyname(host)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def has_gpu() -> bool:
    """Say whether the pod has a GPU, that is, whether its step has a limit of `nvidia.com/gpu`."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


if __name__ == "__main__":
    main()

"""MO-ASHA of another package, for `benchmarks/search.py`, which starts this script in an environment of the package.

A line of input starts a search: its random seed and the epochs of the rungs. Each line of output is a run to do, the
number of its network and its epochs; the answer is a line with its objectives, which are minimised, or `null` to end
the search. Networks have numbers only, because both packages draw them at random.
"""

import json
import logging
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np


def neps(epochs: list[int]) -> Iterator[tuple[int, int]]:
    """Yield runs of NePS' `moasha`, and take their objectives."""
    import neps
    from neps.optimizers.algorithms import moasha

    space = neps.SearchSpace(
        {"network": neps.HPOFloat(0.0, 1.0), "epochs": neps.HPOInteger(epochs[0], epochs[-1], is_fidelity=True)}
    )
    optimizer = neps.AskAndTell(moasha(space, eta=epochs[1] // epochs[0]))
    while True:
        trial = optimizer.ask()
        number = int(trial.id.split("_")[0]) - 1
        found = yield number, int(trial.config["epochs"])
        optimizer.tell(trial, {"objective_to_minimize": found})


def syne_tune(epochs: list[int]) -> Iterator[tuple[int, int]]:
    """Yield runs of syne-tune's `MOASHA`, and take their objectives."""
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import uniform
    from syne_tune.optimizer.scheduler import SchedulerDecision
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    metrics = ["error", "params", "macs"]
    scheduler = MOASHA(
        {"network": uniform(0, 1)},
        metrics,
        time_attr="epochs",
        max_t=epochs[-1],
        grace_period=epochs[0],
        reduction_factor=epochs[1] / epochs[0],
    )
    number = 0
    while True:
        trial = Trial(number, scheduler.suggest().config, datetime.now(UTC))
        scheduler.on_trial_add(trial)
        for reached in epochs:
            found = yield number, reached
            result = dict(zip(metrics, found, strict=True)) | {"epochs": reached}
            if scheduler.on_trial_result(trial, result) != SchedulerDecision.CONTINUE:
                break
        number += 1


def main(package: str) -> None:
    """Search again and again, as long as there is input."""
    logging.disable(logging.WARNING)
    output, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        seed, epochs = json.loads(line)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (both packages draw from it)
        if package == "neps":
            import torch

            torch.manual_seed(seed)
        runs = {"neps": neps, "syne_tune": syne_tune}[package](epochs)
        run = next(runs)
        while True:
            print(json.dumps(run), file=output, flush=True)
            found = json.loads(sys.stdin.readline())
            if found is None:
                break
            run = runs.send(found)


if __name__ == "__main__":
    main(sys.argv[1])

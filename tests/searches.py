"""Stored searches with made-up accuracies: the real policy and the real ledger, without training."""

from datetime import UTC, datetime, timedelta

import numpy as np
from records import World

from explorer.searching.asking import search_study
from explorer.searching.designs import SpaceDesigns
from explorer.searching.policy import Policy
from explorer.searching.samplers import Sampler
from explorer.storage.ledger import Ledger
from explorer.storage.searches import RungRun
from explorer.storage.studies import Provenance
from explorer.study.rungs import rung_budgets, rung_images
from explorer.training.bits import pack
from explorer.training.run import Numerics, Run

RANGES = {"base_e": "8..64", "incr_e": "0..32", "squeeze_ratio": "0.1..1.0", "bypass": ["none", "simple"]}
START = datetime(2026, 1, 2, 3, tzinfo=UTC)
FINGERPRINT = "f" * 64
IMAGES = 1_000
NUMERICS = Numerics(1, "2.13.0", "cpu", "float32")


def store_search(path, runs=60, *, seeds=3, sampler="random", budget="5000x8", stop=None, broken=(), **options):
    """Search with made-up accuracies, store everything as a search does, and return the study.

    Args:
        path: The database.
        runs: Number of runs.
        stop: If given, only points below this rung are trained.
        broken: Numbers of the runs that fail.
    """
    study = search_study(
        "squeezenet",
        settings=options.pop("settings", RANGES),
        sampler=sampler,
        budget=budget,
        seeds=seeds,
        data="cifar10",
        **options,
    )
    table, random, world = study.form.search, np.random.default_rng(0), World()
    difficulties, rungs, images = world.images(random, IMAGES), rung_budgets(study), rung_images(study)
    policy = Policy(
        table,
        SpaceDesigns(study, 10),
        Sampler(sampler, study.form.search_axes, len(table.costs), table.seed),
        images,
        guess=0.1,
        seeds=seeds,
        validation_images=IMAGES,
    )
    ledger = Ledger(path, create=True)
    machine = {"processor": "a processor", "cores": "2", "memory": "8 GiB", "system": "Linux"}
    versions = {"explorer": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "training": "1"}
    with ledger.writing():
        command = f"explorer search {study.space}"
        ledger.searches.open(study, FINGERPRINT, Provenance(command, versions, machine, classes=10, image_size=32))
        now, known = START, 0
        for number in range(runs):
            step = policy.next(number / runs)
            for at in policy.points[known:]:
                ledger.searches.propose(study, at.point, 32)
            known = len(policy.points)
            if step is None:
                break
            if stop is not None and step.rung >= stop:
                continue
            network, budget = step.point.network, rungs[step.rung]
            run = Run(network, FINGERPRINT, study.recipe, budget, step.seed, NUMERICS)
            ledger.searches.enlist(study, RungRun(step.point.number, step.seed, run.budget.epochs, run.key))
            now += timedelta(seconds=images[step.rung] / 2_000)
            cost = step.point.cost
            ability = 0.35 * np.log2(cost.params / 1e4) - 0.1 * np.log2(cost.macs / 1e6) + 0.3 * step.rung - 1.0
            ability += 0.3 * step.point.metaparameters["squeeze_ratio"]
            correct = world.draw(np.random.default_rng([number, 1]), ability, 1, difficulties)[0]
            row = _row(run, correct, now)
            if number in broken:
                unknown = ("accuracy", "accuracies", "train_losses", "correct", "top_probability", "validation_images")
                row |= dict.fromkeys(unknown) | {"state": "failed", "reason": "the loss is not finite"}
            ledger.runs.record(row)
            policy.record(step, row["accuracy"])
        ledger.searches.decline(study, policy.declined)
    return study


def _row(run, correct, finished):
    accuracy, epochs = float(correct.mean()), run.budget.epochs
    return {
        "key": run.key,
        "network": run.network.digest,
        "data_fingerprint": run.data_fingerprint,
        "settings": {},
        "seed": run.seed,
        "state": "done",
        "reason": "",
        "accuracy": accuracy,
        "accuracies": [*(accuracy * np.linspace(0.7, 0.95, epochs - 1)).tolist(), accuracy],
        "train_losses": np.linspace(2, 1, epochs).tolist(),
        "seconds": run.budget.seen / 2_000,
        "images_per_second": 2_000.0,
        "peak_memory_bytes": 300 << 20,
        "finished": finished.isoformat(timespec="milliseconds"),
        "host": {"name": "here"},
    } | pack(correct, np.full(len(correct), 0.5, dtype=np.float32))


def points_of(path, study):
    """The points that a stored search has proposed."""
    designs = SpaceDesigns(study, 10)
    proposed = Ledger(path).searches.proposed(study)
    return [designs.point(number, values) for number, values in enumerate(proposed)]

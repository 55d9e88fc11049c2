"""Synthetic study records: real points and costs, with runs drawn from a model of images and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

import numpy as np
import pandas as pd

from explorer.analysis.accuracies import Accuracies, SeedVariance
from explorer.storage.record import StudyRecord
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.study.plan import plan, points_frame


@dataclass(frozen=True)
class World:
    """A seed is correct on an image if ability of the point + luck of the seed + luck of the pair > difficulty."""

    difficulty: float = 1.5
    seed: float = 0.04
    pair: float = 1.0

    def draw(self, random, ability, seeds, images):
        """The bits of one point, (seeds, images); `images` is the difficulties, or their number."""
        difficulties = self.images(random, images) if isinstance(images, int) else images
        luck = random.normal(0, self.seed, (seeds, 1)) + random.normal(0, self.pair, (seeds, len(difficulties)))
        return ability + luck > difficulties

    def images(self, random, count):
        return random.normal(0, self.difficulty, count)

    def accuracy(self, ability):
        """The true accuracy over all seeds and images that could be drawn."""
        from scipy.stats import norm

        return norm.cdf(ability / np.sqrt(self.difficulty**2 + self.seed**2 + self.pair**2))


def make_record(
    study: Study | str = "squeeze_ratio",
    *,
    seeds: int = 3,
    images: int = 1000,
    world: World | None = None,
    random: int = 0,
) -> StudyRecord:
    """A study with all runs done; accuracy rises with the logarithm of the cost on the axis."""
    study = (load_study(study) if isinstance(study, str) else study).model_copy(update={"seeds": seeds})
    generator = np.random.default_rng(random)
    world = world or World()
    points = points_frame(study, plan(study, classes=10))
    difficulties = world.images(generator, images)
    trained = points[points["state"] == "planned"]
    costs = trained["macs" if study.plot.against == "macs" else "params"].astype(float)
    abilities = 0.3 + 0.5 * np.log(costs / costs.max())
    runs = [
        _run(study, point, seed, bits, generator)
        for point, ability in zip(trained["point"], abilities, strict=True)
        for seed, bits in enumerate(world.draw(generator, ability, seeds, difficulties))
    ]
    return StudyRecord(
        study=study,
        data_fingerprint="f" * 64,
        command=f"explorer sweep {study.name}",
        versions={"explorer": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "training": "1"},
        machine={"processor": "a processor", "cores": "2", "memory": "8 GiB", "system": "Linux"},
        classes=10,
        points=points,
        runs=pd.DataFrame(runs),
    )


def changed(study: Study | str, **values) -> Study:
    """Change tables or settings of a study."""
    study = load_study(study) if isinstance(study, str) else study
    return Study.model_validate(study.model_dump() | values)


@cache
def _template():
    return make_record(images=2, seeds=1)


def record_of_bits(bits: dict[int, np.ndarray]) -> StudyRecord:
    """A record with only what the statistics need: the bits of each point, (seeds, images)."""
    record = _template()
    runs = [
        {"point": point, "seed": seed, "state": "done", "reason": "", "accuracy": row.mean(), "correct": row}
        for point, rows in bits.items()
        for seed, row in enumerate(rows)
    ]
    points = record.points[record.points["point"].isin(list(bits))]
    return replace(record, points=points, runs=pd.DataFrame(runs))


def accuracies_of(bits: Sequence[np.ndarray]) -> Accuracies:
    """The accuracies of points with these bits, (seeds, images) each, without a record."""
    means = [rows.mean(axis=1) for rows in bits]
    seeds = np.array([len(rows) for rows in bits])
    spreads = np.array([one.std(ddof=1) if len(one) > 1 else np.nan for one in means])
    return Accuracies(
        points=np.arange(len(bits)),
        seeds=seeds,
        means=np.array([one.mean() for one in means]),
        spreads=spreads,
        counts=np.stack([rows.sum(axis=0) for rows in bits]).astype(np.uint16),
        groups=np.full(len(bits), -1),
        known=np.ones(len(bits), dtype=bool),
        pooled=SeedVariance.of(seeds, spreads),
    )


def broken(
    record: StudyRecord,
    point: int,
    seeds: tuple[int, ...],
    state: str = "failed",
    reason: str = "the loss is not finite",
):
    """The record with some runs of a point failed, crashed or missing."""
    runs = record.runs.copy()
    rows = (runs["point"] == point) & runs["seed"].isin(seeds)
    unknown = [
        *("accuracy", "accuracies", "train_losses", "correct"),
        *("seconds", "images_per_second"),
    ]
    for column in (*unknown, "peak_memory_bytes", "file_bytes", "finished", "host"):
        runs[column] = runs[column].astype(object).where(~rows, None)
    runs.loc[rows, "state"] = state
    runs.loc[rows, "reason"] = reason
    return replace(record, runs=runs)


def _run(study, point, seed, bits, generator):
    epochs = study.budget.epochs
    generator.uniform(size=len(bits))  # not used; without it, all tests would see other random records
    final = float(bits.mean())
    rise = 1 - 0.5 * 0.4 ** np.arange(epochs) if epochs > 1 else np.ones(1)
    return {
        "point": point,
        "seed": seed,
        "key": sha256(f"{study.name} {point} {seed}".encode()).hexdigest(),
        "state": "done",
        "reason": "",
        "accuracy": final,
        "accuracies": [*(final * rise[:-1]).tolist(), final],
        "train_losses": (2.3 * 0.8 ** np.arange(1, epochs + 1)).tolist(),
        "correct": bits,
        "seconds": float(generator.uniform(8, 12)),
        "images_per_second": float(generator.uniform(3000, 4000)),
        "peak_memory_bytes": int(generator.integers(300, 400)) * 2**20,
        "file_bytes": None,
        "finished": f"2026-01-02T03:{point:02d}:{seed:02d}+00:00",
        "host": "a-host",
    }

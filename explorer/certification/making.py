"""Make a certificate by training a population of a space at growing budgets, with one study per budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explorer.analysis import validation_images
from explorer.certification.model import COSTS, DEFAULT_POINTS, FACTORS, Certificate, CertifiedPoint, CertifiedRun
from explorer.certification.statistics import separated_pairs
from explorer.errors import ExplorerError
from explorer.pricing.population import population
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.study.forms import Listed
from explorer.study.model import Study
from explorer.sweeping.resources import HERE, Resources
from explorer.sweeping.sweeping import Watcher, run_studies
from explorer.training.recipe import Budget

QUICK_POINTS = 8
QUICK_BUDGET = Budget(images=256, epochs=1, validation=200)
"""Budget for a quick trial run, which does not certify anything."""


def certificate_study(
    space: str,
    preset: str,
    data: str,
    budget: Budget | None = None,
    points: int = DEFAULT_POINTS,
    seeds: int = 2,
    vary: Mapping[str, Any] | None = None,
) -> Study:
    """Return a certificate's study at the certified budget. `vary` adds to the ranges that `population` varies.

    Raises:
        ExplorerError: The space or preset is unknown, there are fewer than two seeds, or the points cannot be drawn.
    """
    if seeds < 2:  # noqa: PLR2004 (one to rank by and one to compare with)
        raise ExplorerError(
            f"seeds = {seeds}: short runs are compared with long runs of different seeds; give 2 or more"
        )
    study = Study(
        name=f"certify_{space}" if preset == "cifar" else f"certify_{space}_{preset}",
        title=f"How far short runs of {space} can be trusted",
        space=space,
        preset=preset,
        form=Listed(points=population(space, preset, points, vary)),
        seeds=seeds,
    )
    budget = budget or study.budget
    named = study.override(data=data, images=budget.images, epochs=budget.epochs).renamed(sorted(vary or {}))
    return named.model_copy(update={"budget": budget})


def make_certificate(
    study: Study,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    resources: Resources = HERE,
    command: str = "",
    watcher: Watcher | None = None,
) -> Certificate:
    """Train the missing runs at each of `FACTORS` times the study's budget, and store the certificate.

    A point's budgets share their trunk, so all four cost 9.75 budgets instead of 15.
    Raises `ExplorerError` like `run_studies`.
    """
    longer = [
        study.model_copy(update={"budget": study.budget.times(factor)}).renamed([f"x{factor}"])
        for factor in FACTORS[1:]
    ]
    records = run_studies(
        [study, *longer],
        storage=storage,
        data_dir=data_dir,
        resources=resources,
        command=command,
        watcher=watcher,
    )
    certificate = certificate_of(records)
    ledger = Ledger(storage)
    with ledger.writing(certificate.name):
        ledger.certificates.save(certificate.name, certificate.model_dump_json())
    return certificate


def certificate_of(records: Sequence[StudyRecord]) -> Certificate:
    """Return the certificate for a population, given the record of its study at each of `FACTORS`."""
    first = records[0]
    study = first.study
    planned = first.points[first.points["state"] == "planned"]
    places = {number: place for place, number in enumerate(planned["point"])}
    asked = list(study.design_points())
    points = [
        CertifiedPoint(
            label=row["label"],
            metaparameters=asked[row["point"]].metaparameters,
            synflow=_synflow(first, asked[row["point"]].metaparameters),
            **{cost: int(row[cost]) for cost in COSTS},
        )
        for row in planned.to_dict(orient="records")
    ]
    runs = [
        CertifiedRun(
            point=places[run["point"]],
            seed=run["seed"],
            factor=factor,
            accuracies=tuple(run["accuracies"]),
            train_losses=tuple(run["train_losses"]),
        )
        for factor, record in zip(FACTORS, records, strict=True)
        for run in record.runs.to_dict(orient="records")
        if run["state"] == "done"
    ]
    return Certificate(
        name=study.name,
        space=study.space,
        preset=study.preset,
        data=study.data,
        data_fingerprint=first.data_fingerprint,
        recipe=study.recipe,
        budget=study.budget,
        validation_images=validation_images(first),
        seeds=study.seeds,
        command=first.command,
        versions=first.versions,
        machine=first.machine,
        points=tuple(points),
        runs=tuple(runs),
        pairs=separated_pairs(records),
        unfinished=sum(int((record.runs["state"] != "done").sum()) for record in records),
    )


def _synflow(record: StudyRecord, metaparameters: Mapping[str, Any]) -> float:
    from explorer.training.zero_cost import synflow

    study = record.study
    settings = {**study.fixed, "classes": record.classes, **metaparameters}
    return synflow(study.design_space.point(study.preset, **settings).expand())

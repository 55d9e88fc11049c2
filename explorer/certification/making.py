"""Making a certificate: a population of a space, trained at growing budgets; each budget is a study of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explorer.analysis import validation_images
from explorer.certification.model import COSTS, ENOUGH_POINTS, FACTORS, Certificate, CertifiedPoint, CertifiedRun
from explorer.certification.statistics import separated_pairs
from explorer.errors import ExplorerError
from explorer.pricing.population import population
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.record import StudyRecord
from explorer.study.forms import Listed
from explorer.study.model import Study
from explorer.sweeping.sweeping import Watcher, run_studies
from explorer.training.recipe import Budget

QUICK_POINTS = 8
QUICK_BUDGET = Budget(images=256, epochs=1, validation=200)
"""Enough to show in a minute or two that everything works; it certifies nothing."""


def certificate_study(
    space: str, preset: str, data: str, budget: Budget | None = None, points: int = ENOUGH_POINTS, seeds: int = 2
) -> Study:
    """Return the study of a certificate at the budget to certify.

    Raises `ExplorerError` if the space or preset is unknown, there are fewer than two seeds, or the points cannot be
    drawn.
    """
    if seeds < 2:  # noqa: PLR2004 (one to rank by, one to compare with)
        raise ExplorerError(f"seeds = {seeds}: a short run is compared with long runs of another seed; give 2 or more")
    study = Study(
        name=f"certify_{space}" if preset == "cifar" else f"certify_{space}_{preset}",
        title=f"How far short runs of {space} can be trusted",
        space=space,
        preset=preset,
        form=Listed(points=population(space, preset, points)),
        seeds=seeds,
    )
    budget = budget or study.budget
    named = study.override(data=data, images=budget.images, epochs=budget.epochs)
    return named.model_copy(update={"budget": budget})


def make_certificate(
    study: Study,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> Certificate:
    """Train the missing runs of a study at each of `FACTORS` times its budget, and store the certificate.

    The budgets of a point share their trunk, so all four cost 9.75 budgets, not 15. Raises `ExplorerError` as
    `run_studies` does.
    """
    records = run_studies(
        _rungs(study), storage=storage, data_dir=data_dir, workers=workers, command=command, watcher=watcher
    )
    certificate = certificate_of(records)
    ledger = Ledger(storage)
    with ledger.writing():
        ledger.certificates.save(certificate.name, certificate.model_dump_json())
    return certificate


def certificate_of(records: Sequence[StudyRecord]) -> Certificate:
    """The certificate that studies of one population at `FACTORS` times a budget make together."""
    first = records[0]
    study = first.study
    places = {
        number: place for place, number in enumerate(first.points.loc[first.points["state"] == "planned", "point"])
    }
    certified = [
        CertifiedPoint(label=row["label"], **{cost: int(row[cost]) for cost in COSTS})
        for row in first.points.to_dict(orient="records")
        if row["point"] in places
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
        points=tuple(certified),
        runs=tuple(runs),
        pairs=separated_pairs(records),
        unfinished=sum(int((record.runs["state"] != "done").sum()) for record in records),
    )


def _rungs(study: Study) -> list[Study]:
    """The study at each budget, the first under its own name."""
    rungs = [study]
    for factor in FACTORS[1:]:
        budget = study.budget.times(factor)
        rungs.append(study.model_copy(update={"budget": budget}).renamed([f"x{factor}"]))
    return rungs

"""Makes a certificate: a population of a space, trained at growing budgets, each a study of its own in the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from explorer.analysis import validation_images
from explorer.certification.model import ENOUGH_POINTS, FACTORS, Certificate, CertifiedPoint, CertifiedRun
from explorer.certification.statistics import separated_pairs
from explorer.errors import ExplorerError
from explorer.pricing.population import population
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.storage.optuna_view import View
from explorer.storage.record import StudyRecord
from explorer.study.model import Study
from explorer.study.plan import Point
from explorer.sweeping.sweeping import Standing, Watcher, default_workers, enlist, prepare
from explorer.training.engine import Job, execute
from explorer.training.recipe import Budget
from explorer.training.run import Run

QUICK_POINTS = 8
QUICK_BUDGET = Budget(images=256, epochs=1, validation=200)
"""What shows in a minute or two that all works; it certifies nothing."""


def certificate_study(
    space: str, preset: str, data: str, budget: Budget | None = None, points: int = ENOUGH_POINTS, seeds: int = 2
) -> Study:
    """The study of a certificate at the budget that it is about.

    Raises `ExplorerError` for an unknown space or preset, for fewer than two seeds and for points that cannot be drawn so.
    """
    if seeds < 2:  # noqa: PLR2004 (one to rank by, one to compare with)
        raise ExplorerError(f"seeds = {seeds}: a short run is compared with long runs of another seed; give 2 or more")
    study = Study(
        name=f"certify_{space}" if preset == "cifar" else f"certify_{space}_{preset}",
        title=f"How far short runs of {space} can be trusted",
        space=space,
        preset=preset,
        points=population(space, preset, points),
        seeds=seeds,
    )
    budget = budget or study.budget
    named = study.override(data=data, images=budget.images, epochs=budget.epochs)
    return named.model_copy(update={"budget": budget})


def certify(
    study: Study,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> Certificate:
    """Trains what is missing of a certificate's study at each of `FACTORS` times its budget, and stores the certificate.

    The budgets of a point share their trunk, so all four cost 9.75 budgets, not 15. Raises `ExplorerError` for what the user can
    mend. An interruption loses the runs in flight only.
    """
    points, ledger, dataset = prepare(study, storage, data_dir)
    with ledger.writing():
        rungs, planned = zip(*(enlist(rung, points, ledger, dataset, command) for rung in _rungs(study)), strict=True)
        results = ledger.results([run.key for runs in planned for run in runs.values()])
        final = {key: result for key, result in results.items() if result.final}
        jobs = _jobs(planned, final.keys())
        if watcher is not None:
            watcher.begin(study, [run for job in jobs for run in job], list(final.values()))
        for outcome in execute(jobs, dataset.folder, workers or default_workers()):
            ledger.record(outcome.row)
            if watcher is not None:
                watcher.ended(outcome)
        for rung, runs in zip(rungs, planned, strict=True):
            _publish(ledger, rung, points, runs)
        certificate = certificate_of([ledger.load(rung.name) for rung in rungs])
        ledger.save_certificate(certificate.name, certificate.model_dump_json())
    return certificate


def certificate_of(records: Sequence[StudyRecord]) -> Certificate:
    """The certificate that studies of one population at `FACTORS` times a budget make together."""
    first = records[0]
    study = first.study
    places = {
        number: place for place, number in enumerate(first.points.loc[first.points["state"] == "planned", "point"])
    }
    certified = [
        CertifiedPoint(label=row["label"], params=int(row["params"]), macs=int(row["macs"]))
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


def _jobs(planned: Sequence[Mapping[tuple[int, int], Run]], final: Collection[str]) -> list[Job]:
    """The runs that are not final, those of a point and seed together; seed by seed, the dearest first."""
    jobs = [tuple(run for run in (runs[place] for runs in planned) if run.key not in final) for place in planned[0]]
    return sorted(filter(None, jobs), key=lambda job: (job[0].seed, -job[-1].effort))


def _publish(ledger: Ledger, study: Study, points: list[Point], runs: Mapping[tuple[int, int], Run]) -> None:
    results = ledger.results([run.key for run in runs.values()])
    with closing(View(ledger.url, study)) as view:
        view.sync(Standing(points, runs, results).settled())

"""How far short runs can be trusted, in sentences."""

from __future__ import annotations

import shlex

from explorer.analysis import Interval
from explorer.certification.model import COSTS, ENOUGH_POINTS, FACTORS, Certificate
from explorer.certification.statistics import BEST, above_macs, complete, rankers
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.words import column_interval, listed, with_interval
from explorer.storage.record import StudyRecord
from explorer.training.recipe import Budget, Recipe


def trust(certificate: Certificate, factor: int = 1) -> list[str]:
    """Say how well runs with `factor` times the certificate's budget rank networks."""
    found = rankers(certificate)
    rows = found.drop_duplicates("ranker").set_index("ranker").to_dict(orient="index")
    ceiling, flops = rows["ceiling"], QUANTITIES["macs"].noun
    alone = listed([f"{QUANTITIES[cost].noun} alone {rows[cost]['kendall']:.2f}" for cost in COSTS])
    short = found[(found["ranker"] == "accuracy") & (found["factor"] == factor)].iloc[0].to_dict()
    above = [
        f"{other}x: {with_interval(difference, '+.2f')}, {_verdict(difference)}"
        for other, difference in ((other, above_macs(certificate, other)) for other in FACTORS[:-1])
    ]
    budget, seeds = certificate.budget.times(factor), certificate.seeds
    passes = f"{budget.epochs} epochs" if budget.epochs > 1 else "1 epoch"
    longest = certificate.budget.times(FACTORS[-1]).epochs
    agreement = (
        f"Over {len(complete(certificate))} points of {certificate.space} on {certificate.data}, single runs of "
        f"{passes} of {budget.images:,} images agree with runs of {longest} epochs at a Kendall's tau of "
        f"{column_interval(short, 'kendall')}. Another seed of the long runs reaches "
        f"{column_interval(ceiling, 'kendall')}, {alone}. Of the {BEST} best points, the short runs keep "
        f"{short['kept']:.1f} and another seed of the long runs {ceiling['kept']:.1f}."
    )
    start = f"Kendall's tau of short runs minus that of {flops} alone, on the same points"
    said = [agreement, f"{start}, at multiples of {certificate.budget.short}: {'; '.join(above)}."]
    pairs = next((one for one in certificate.pairs if one.factor == factor), None)
    if pairs and pairs.total:
        rest = pairs.total - pairs.same - pairs.opposite
        said.append(
            f"The long runs ({seeds} seeds) separate {pairs.total} pairs of points. Runs of this budget separate "
            f"{pairs.same} of them the same way and {pairs.opposite} the other way, and do not separate {rest}. "
            f"{flops} alone order {pairs.by_macs} of them the same way."
        )
    return said


def missing_points(certificate: Certificate) -> list[str]:
    """Say what a certificate lacks."""
    said = []
    if certificate.unfinished:
        said.append(f"{certificate.unfinished} runs are not done; their points are left out.")
    if not certificate.is_enough:
        said.append(
            f"{len(certificate.complete)} points only show that everything works; studies use certificates of "
            f"{ENOUGH_POINTS} points or more."
        )
    return said


def no_certificate(record: StudyRecord) -> str:
    """Say that no certificate covers a study, and which command makes one."""
    study = record.study
    said = (
        "No certificate covers this space, data, recipe and budget, so it is unknown whether runs this short rank "
        "networks as longer runs do."
    )
    # The command always uses the default recipe and number of validation images.
    if study.recipe != Recipe() or study.budget.validation != Budget().validation:
        return said
    command = ["certify", study.space, "--preset", study.preset, "--data", study.data, "--budget", study.budget.short]
    return (
        f"{said} `python -m explorer {shlex.join(command)}` makes one; a certificate of half or a quarter of the "
        "epochs covers this budget too."
    )


def _verdict(above: Interval) -> str:
    if not above.separated:
        return "not separated"
    return f"{'runs' if above.estimate > 0 else QUANTITIES['macs'].noun} rank better"

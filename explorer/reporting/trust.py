"""How far short runs can be trusted, in sentences."""

from __future__ import annotations

import shlex

from explorer.analysis import Interval
from explorer.certification.model import COSTS, ENOUGH_POINTS, FACTORS, Certificate
from explorer.certification.statistics import BEST, above_macs, complete, rankers
from explorer.networks.quantities import QUANTITIES
from explorer.reporting.words import listed, with_interval
from explorer.storage.record import StudyRecord
from explorer.training.recipe import Budget, Recipe


def trust(certificate: Certificate, factor: int = 1) -> list[str]:
    """How far runs of so many times the certificate's budget can be trusted."""
    found = rankers(certificate)
    rows = found.drop_duplicates("ranker").set_index("ranker").to_dict(orient="index")
    ceiling, flops = rows["ceiling"], QUANTITIES["macs"].noun
    alone = listed([f"{QUANTITIES[cost].noun} alone with {rows[cost]['kendall']:.2f}" for cost in COSTS])
    short = found[(found["ranker"] == "accuracy") & (found["factor"] == factor)].iloc[0].to_dict()
    above = [
        f"{found.estimate:+.2f} ({found.low:+.2f} to {found.high:+.2f}) at {other}x, {_verdict(found)}"
        for other, found in ((other, above_macs(certificate, other)) for other in FACTORS[:-1])
    ]
    budget, seeds = certificate.budget.times(factor), certificate.seeds
    passes = f"{budget.epochs} epochs" if budget.epochs > 1 else "1 epoch"
    longest = certificate.budget.times(FACTORS[-1]).epochs
    said = [
        (
            f"One run of {passes} of {budget.images:,} images ranks {len(complete(certificate))} points of {certificate.space} on "
            f"{certificate.data} as runs of {longest} epochs do with Kendall's tau {with_interval(short, 'kendall')}; another seed of "
            f"the long runs does with {with_interval(ceiling, 'kendall')}, {alone}. Of the {BEST} best points it keeps {short['kept']:.1f}, another seed of the long runs {ceiling['kept']:.1f}."
        ),
        f"Kendall's tau of short runs less that of {flops} alone, on the same points, by multiples of {certificate.budget.short}: {'; '.join(above)}.",
    ]
    pairs = next((one for one in certificate.pairs if one.factor == factor), None)
    if pairs and pairs.total:
        rest = pairs.total - pairs.same - pairs.opposite
        said.append(
            f"Of {pairs.total} pairs of points that {seeds} long runs each separate, {pairs.same} are separated the same way by {seeds} runs "
            f"of this budget each; not separated: {rest}; separated the other way: {pairs.opposite}. {flops} alone order {pairs.by_macs} of them the same way."
        )
    return said


def missing_points(certificate: Certificate) -> list[str]:
    """What a certificate is short of."""
    said = []
    if certificate.unfinished:
        said.append(f"{certificate.unfinished} runs are not done; their points are left out.")
    if not certificate.is_enough:
        said.append(
            f"{len(certificate.complete)} points show that all works, and no more: studies go by certificates of {ENOUGH_POINTS} points or more."
        )
    return said


def no_certificate(record: StudyRecord) -> str:
    """That nothing says how far the runs of a study can be trusted, and what would."""
    study = record.study
    said = (
        "There is no certificate for this space, data, recipe and budget: whether runs this short rank networks as longer ones do has not "
        "been measured."
    )
    # The command takes the usual recipe, and as many validation images as there usually are.
    if study.recipe != Recipe() or study.budget.validation != Budget().validation:
        return said
    command = ["certify", study.space, "--preset", study.preset, "--data", study.data, "--budget", study.budget.short]
    return f"{said} `python -m explorer {shlex.join(command)}` does; one of a half or a quarter of the epochs covers this budget too."


def _verdict(above: Interval) -> str:
    if not above.separated:
        return "not separated"
    return f"{'runs' if above.estimate > 0 else QUANTITIES['macs'].noun} rank better"

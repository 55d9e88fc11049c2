"""What a certificate says: how well short runs rank networks, beside what the noise allows and what cost alone reaches.

The truth is a network's accuracy at the largest budget. It has noise of its own, which a short run with
the same seed shares, as both share a trunk. So every short run is compared with the largest budget's runs of the other seeds, and
what is shown is the mean over all such pairs of seeds. Two runs of the largest budget with different seeds are the noise ceiling.

Agreement is Kendall's tau-b and Spearman's rank correlation, with 95 % intervals that rest on the number of points
(`explorer.analysis.ranks`). Means over pairs of seeds are a little surer than that. Two rankers are compared on the same points,
which are drawn again together (the percentile bootstrap). tests/test_certification.py holds the simulated coverage of both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis import CONFIDENCE, Accuracies, Interval
from explorer.analysis.ranks import FEWEST, Pairing, agreement
from explorer.certification.model import COSTS, FACTORS, Certificate, CertifiedRun, Pairs
from explorer.errors import ExplorerError
from explorer.storage.record import StudyRecord

BEST = 5
"""Of so many best points it is said how many a ranker keeps."""

RESAMPLES = 1000

Scores = dict[int, NDArray[np.float64]]
"""By seed: a number for each point, the higher the better."""


def rankers(certificate: Certificate) -> pd.DataFrame:
    """How well each ranker agrees with the accuracies at the largest budget, one row each.

    Columns: `ranker` (`accuracy` after an annealed run, `training loss` as its mean over the run's epochs, `params`, `macs`, and
    `ceiling`, the largest budget with another seed), `factor` (of the budget; NA for costs), `images` (seen in training; 0 for
    costs), `kendall`, `kendall_low`, `kendall_high`, `spearman`, `spearman_low`, `spearman_high`, and `kept` (how many of the
    best five are among the ranker's best five, a mean).
    """
    truth = _accuracies(certificate, FACTORS[-1])
    rows = []
    for factor in FACTORS:
        name = "ceiling" if factor == FACTORS[-1] else "accuracy"
        images = certificate.budget.images * certificate.budget.epochs * factor
        rows.append({"ranker": name, "factor": factor, "images": images})
        rows[-1] |= _agreement(crossed_pairs(_accuracies(certificate, factor), truth))
        rows.append({"ranker": "training loss", "factor": factor, "images": images})
        losses = _scores(certificate, factor, lambda run: -float(np.mean(run.train_losses)))
        rows[-1] |= _agreement(crossed_pairs(losses, truth))
    for cost in COSTS:
        rows.append({"ranker": cost, "factor": pd.NA, "images": 0})
        rows[-1] |= _agreement(_cost_pairs(certificate, cost, truth))
    return pd.DataFrame(rows).astype({"factor": "Int64"})


def epochs(certificate: Certificate) -> pd.DataFrame:
    """How well the accuracy after each epoch of the largest budget, before its rate falls, agrees with that at its end.

    Columns: `epoch` (from 1), `images` (seen) and those of `rankers` for agreement. These accuracies are of fewer
    validation images, as every run takes only a glance before its last epoch.
    """
    truth = _accuracies(certificate, FACTORS[-1])
    count = certificate.budget.epochs * FACTORS[-1]
    rows = []
    for epoch in range(1, math.floor(count * (1 - certificate.recipe.decay_share)) + 1):
        scores = _scores(certificate, FACTORS[-1], lambda run, last=epoch - 1: run.accuracies[last])  # type: ignore[misc]
        found = _agreement(crossed_pairs(scores, truth))
        rows.append({"epoch": epoch, "images": certificate.budget.images * epoch} | found)
    return pd.DataFrame(rows)


def accuracies(certificate: Certificate) -> pd.DataFrame:
    """One row for each point whose runs are all done: `point`, `label`, `params`, `macs`, and its mean accuracy by factor (`x1` ...)."""
    points = complete(certificate)
    frame = pd.DataFrame([certificate.points[point].model_dump() for point in points])
    frame.insert(0, "point", points)
    for factor in FACTORS:
        scores = _accuracies(certificate, factor)
        frame[f"x{factor}"] = np.mean(list(scores.values()), axis=0)
    return frame


def complete(certificate: Certificate) -> list[int]:
    """The points that are done at every budget. Too few raise `ExplorerError`."""
    points = certificate.complete
    if len(points) < FEWEST:
        raise ExplorerError(
            f"{certificate.name}: {len(points)} of {len(certificate.points)} points are done at every budget; ranks need {FEWEST}"
        )
    return points


def separated_pairs(records: Sequence[StudyRecord]) -> tuple[Pairs, ...]:
    """What each smaller budget says of the pairs of points that are separated at the largest; a record for each of `FACTORS`.

    Points with a run that is not done are left out. Both budgets are means over the same seeds.
    """
    points = sorted(set.intersection(*(_done(record) for record in records)))
    macs = records[0].points.set_index("point")["macs"]
    *smaller, long = map(Accuracies.of, records)
    largest = {pair: long.difference(*pair) for pair in itertools.combinations(points, 2)}
    separated = {pair: found.estimate > 0 for pair, found in largest.items() if found.separated}
    by_macs = sum(
        macs[one] != macs[other] and (macs[one] > macs[other]) == better for (one, other), better in separated.items()
    )
    pairs = []
    for factor, accuracies in zip(FACTORS[:-1], smaller, strict=True):
        same = opposite = 0
        for pair, first_is_better in separated.items():
            found = accuracies.difference(*pair)
            same += found.separated and (found.estimate > 0) == first_is_better
            opposite += found.separated and (found.estimate > 0) != first_is_better
        pairs.append(Pairs(factor=factor, total=len(separated), same=same, opposite=opposite, by_macs=by_macs))
    return tuple(pairs)


def _done(record: StudyRecord) -> set[int]:
    """The points all of whose runs are done."""
    runs = record.runs
    return set(runs["point"]) - set(runs.loc[runs["state"] != "done", "point"])


def _scores(certificate: Certificate, factor: int, score: Callable[[CertifiedRun], float]) -> Scores:
    points = {point: place for place, point in enumerate(complete(certificate))}
    scores = {seed: np.full(len(points), np.nan) for seed in range(certificate.seeds)}
    for run in certificate.runs:
        if run.factor == factor and run.point in points:
            scores[run.seed][points[run.point]] = score(run)
    return scores


def _accuracies(certificate: Certificate, factor: int) -> Scores:
    return _scores(certificate, factor, lambda run: run.accuracies[-1])


def _cost_pairs(certificate: Certificate, cost: str, truth: Scores) -> Pairing:
    amounts = np.array([getattr(certificate.points[point], cost) for point in complete(certificate)], float)
    return [(amounts, other) for other in truth.values()]


def _agreement(pairs: Pairing) -> dict[str, float]:
    """Means over the pairs."""
    return agreement(pairs) | {"kept": float(np.mean([len(_best(one) & _best(other)) for one, other in pairs]))}


def above_macs(certificate: Certificate, factor: int) -> Interval:
    """By how much runs of so many times the budget agree better with the largest budget than multiply-adds alone do."""
    truth = _accuracies(certificate, FACTORS[-1])
    runs = crossed_pairs(_accuracies(certificate, factor), truth)
    return tau_difference(runs, _cost_pairs(certificate, "macs", truth))


def tau_difference(first: Pairing, second: Pairing) -> Interval:
    """How much higher the mean Kendall's tau of the first pairs is than that of the second, on the same points."""
    count = len(first[0][1])
    taus = [_resampled_taus(pairs, count) for pairs in (first, second)]
    differences = taus[0] - taus[1]
    low, high = np.nanquantile(differences[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(differences[0]), float(low), float(high))


def _resampled_taus(pairs: Pairing, count: int) -> NDArray[np.float64]:
    """The mean tau-b of all points, and then of points drawn again and again, the same ones for the same count.

    Tau-b is a correlation of the signs of all differences, which are taken once.
    """
    random = np.random.default_rng(0)
    signs = [[np.sign(np.subtract.outer(scores, scores)) for scores in pair] for pair in pairs]
    taus = []
    # The same point drawn over and over has no order; it counts as not known.
    with np.errstate(invalid="ignore"):
        for resample in range(1 + RESAMPLES):
            chosen = random.integers(count, size=count) if resample else np.arange(count)
            drawn = [[sign[np.ix_(chosen, chosen)] for sign in pair] for pair in signs]
            taus.append(
                np.mean([np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2)) for one, other in drawn])
            )
    return np.array(taus)


def crossed_pairs(scores: Scores, truth: Scores) -> Pairing:
    """Each seed's scores with the truth of each other seed."""
    return [(scores[seed], truth[other]) for seed in scores for other in truth if seed != other]


def _best(scores: NDArray[np.float64]) -> set[int]:
    return set(np.argsort(-scores, kind="stable")[:BEST].tolist())

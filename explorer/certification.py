"""What a certificate says: how well short runs rank networks, beside what the noise allows and what cost alone reaches.

Frames in, frames out. The truth is a network's accuracy at the largest budget. It has noise of its own, which a short run with
the same seed shares, as both share a trunk. So every short run is compared with the largest budget's runs of the other seeds, and
what is shown is the mean over all such pairs of seeds. Two runs of the largest budget with different seeds are the noise ceiling.

Agreement is Kendall's tau-b and Spearman's rank correlation r. Their 95 % intervals rest on the number of points n: Fisher's
transform has the variance 0.437 / (n - 4) for tau (Fieller, Hartley and Pearson, Biometrika 44, 1957, p. 470) and
(1 + r^2 / 2) / (n - 3) for Spearman (Bonett and Wright, Psychometrika 65, 2000, p. 23). Means over pairs of seeds are a little
surer than that. tests/test_certification.py holds the simulated coverage.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from explorer.analysis import CONFIDENCE, difference
from explorer.certificate import FACTORS, Certificate, CertifiedRun, Pairs
from explorer.errors import ExplorerError
from explorer.record import StudyRecord

BEST = 5
"""Of so many best points it is said how many a ranker keeps."""

FEWEST = 5
"""Points below which ranks say nothing."""

Scores = dict[int, NDArray[np.float64]]
"""By seed: a number for each point, the higher the better."""


def rankers(certificate: Certificate) -> pd.DataFrame:
    """How well each ranker agrees with the accuracies at the largest budget, one row each.

    Columns: `ranker` (`accuracy` after an annealed run, `training loss` as its mean over the run's epochs, `params`, `macs`, and
    `ceiling`, the largest budget with another seed), `factor` (of the budget; NA for costs), `images` (seen in training; 0 for
    costs), `kendall`, `kendall_low`, `kendall_high`, `spearman`, `spearman_low`, `spearman_high`, and `kept` (how many of the
    best five are among the ranker's best five, a mean).
    """
    truth = _scores(certificate, FACTORS[-1], lambda run: run.accuracies[-1])
    rows = []
    for factor in FACTORS:
        name = "ceiling" if factor == FACTORS[-1] else "accuracy"
        images = certificate.budget.images * certificate.budget.epochs * factor
        rows.append({"ranker": name, "factor": factor, "images": images})
        rows[-1] |= _agreement(_scores(certificate, factor, lambda run: run.accuracies[-1]), truth)
        rows.append({"ranker": "training loss", "factor": factor, "images": images})
        rows[-1] |= _agreement(_scores(certificate, factor, lambda run: -float(np.mean(run.train_losses))), truth)
    for cost in ("params", "macs"):
        amounts = np.array([getattr(certificate.points[point], cost) for point in complete(certificate)], float)
        rows.append({"ranker": cost, "factor": pd.NA, "images": 0})
        rows[-1] |= _agreement(dict.fromkeys(truth, amounts), truth, crossed=False)
    return pd.DataFrame(rows).astype({"factor": "Int64"})


def epochs(certificate: Certificate) -> pd.DataFrame:
    """How well the accuracy after each epoch of the largest budget, before its rate falls, agrees with that at its end.

    Columns: `epoch` (from 1), `images` (seen) and those of `rankers` for agreement. These accuracies are of fewer
    validation images, as every run takes only a glance before its last epoch.
    """
    truth = _scores(certificate, FACTORS[-1], lambda run: run.accuracies[-1])
    count = certificate.budget.epochs * FACTORS[-1]
    rows = []
    for epoch in range(1, math.floor(count * (1 - certificate.recipe.decay_share)) + 1):
        scores = _scores(certificate, FACTORS[-1], lambda run, last=epoch - 1: run.accuracies[last])  # type: ignore[misc]
        rows.append({"epoch": epoch, "images": certificate.budget.images * epoch} | _agreement(scores, truth))
    return pd.DataFrame(rows)


def accuracies(certificate: Certificate) -> pd.DataFrame:
    """One row for each point whose runs are all done: `point`, `label`, `params`, `macs`, and its mean accuracy by factor (`x1` ...)."""
    points = complete(certificate)
    frame = pd.DataFrame([certificate.points[point].model_dump() for point in points])
    frame.insert(0, "point", points)
    for factor in FACTORS:
        scores = _scores(certificate, factor, lambda run: run.accuracies[-1])
        frame[f"x{factor}"] = np.mean(list(scores.values()), axis=0)
    return frame


def complete(certificate: Certificate) -> list[int]:
    """The points all of whose runs are done; the others say nothing here. Too few raise `ExplorerError`."""
    done = pd.Series([run.point for run in certificate.runs]).value_counts()
    points = sorted(int(point) for point in done.index[done == certificate.seeds * len(FACTORS)])
    if len(points) < FEWEST:
        raise ExplorerError(
            f"{certificate.name}: {len(points)} of {len(certificate.points)} points are done at every budget; ranks need {FEWEST}"
        )
    return points


def separated_pairs(records: Sequence[StudyRecord]) -> tuple[Pairs, ...]:
    """What each smaller budget says of the pairs of points that are separated at the largest; a record for each of `FACTORS`."""
    points = records[0].points["point"].tolist()
    largest = {pair: difference(records[-1], *pair) for pair in itertools.combinations(points, 2)}
    separated = {pair: interval.estimate > 0 for pair, interval in largest.items() if interval.separated}
    found = []
    for factor, record in zip(FACTORS[:-1], records[:-1], strict=True):
        same = opposite = 0
        for pair, first_is_better in separated.items():
            interval = difference(record, *pair)
            same += interval.separated and (interval.estimate > 0) == first_is_better
            opposite += interval.separated and (interval.estimate > 0) != first_is_better
        found.append(Pairs(factor=factor, total=len(separated), same=same, opposite=opposite))
    return tuple(found)


def _scores(certificate: Certificate, factor: int, score: Callable[[CertifiedRun], float]) -> Scores:
    points = {point: place for place, point in enumerate(complete(certificate))}
    scores = {seed: np.full(len(points), np.nan) for seed in range(certificate.seeds)}
    for run in certificate.runs:
        if run.factor == factor and run.point in points:
            scores[run.seed][points[run.point]] = score(run)
    return scores


def _agreement(scores: Scores, truth: Scores, *, crossed: bool = True) -> dict[str, float]:
    """Means over pairs of seeds: of different ones where `crossed`, else of the same."""
    pairs = crossed_pairs(scores, truth) if crossed else list(zip(scores.values(), truth.values(), strict=True))
    count = len(next(iter(truth.values())))
    kendall = float(np.mean([stats.kendalltau(one, other).statistic for one, other in pairs]))
    spearman = float(np.mean([stats.spearmanr(one, other).statistic for one, other in pairs]))
    low, high = interval(kendall, 0.437, count - 4)
    spearman_low, spearman_high = interval(spearman, 1 + spearman**2 / 2, count - 3)
    return {
        "kendall": kendall,
        "kendall_low": low,
        "kendall_high": high,
        "spearman": spearman,
        "spearman_low": spearman_low,
        "spearman_high": spearman_high,
        "kept": float(np.mean([len(_best(one) & _best(other)) for one, other in pairs])),
    }


def crossed_pairs(scores: Scores, truth: Scores) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Each seed's scores with the truth of each other seed."""
    return [(scores[seed], truth[other]) for seed in scores for other in truth if seed != other]


def interval(correlation: float, variance: float, freedom: int) -> tuple[float, float]:
    """The 95 % interval of a rank correlation by Fisher's transform; NaN where there are too few points to tell."""
    if freedom < 1 or not abs(correlation) < 1:
        return math.nan, math.nan
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance / freedom)
    middle = math.atanh(correlation)
    return math.tanh(middle - half), math.tanh(middle + half)


def _best(scores: NDArray[np.float64]) -> set[int]:
    return set(np.argsort(-scores, kind="stable")[:BEST].tolist())

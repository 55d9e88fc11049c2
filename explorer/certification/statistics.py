"""Statistics of a certificate: how well short runs rank networks, compared with the noise ceiling and with cost.

Long runs, at the largest budget, serve as the ground truth. They are noisy too, and a short run with the same seed
shares this noise because it shares the trunk. Short runs are therefore compared with long runs of other seeds, and the
result is averaged over all such pairs of seeds. For the ceiling, both runs are long. Intervals come from
`explorer.analysis.ranks` for each ranker, and from bootstraps over the points for differences between rankers.
tests/test_certification.py simulates their coverage.
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
from explorer.certification.model import COSTS, FACTORS, ZERO_COST, Certificate, CertifiedRun, Pairs
from explorer.errors import ExplorerError
from explorer.storage.record import StudyRecord

BEST = 5
RESAMPLES = 1000

Scores = dict[int, NDArray[np.float64]]
"""For each seed, a score per point; higher is better."""


def rankers(certificate: Certificate) -> pd.DataFrame:
    """Return how well each ranker agrees with long runs, one row per ranker and factor.

    Columns: `ranker` (`accuracy` after an annealed run, `training loss` as a mean over epochs, `ceiling`, `params`,
    `macs`, `synflow`), `factor` (of the budget; NA without training), `images` (seen in training; 0 without training),
    `kendall`, `kendall_low`, `kendall_high`, `spearman`, `spearman_low`, `spearman_high`, and `kept` (how many of the
    five best points are among the ranker's five best, on average).
    """
    truth = _accuracies(certificate, FACTORS[-1])
    rows: list[dict[str, object]] = []
    for factor in FACTORS:
        losses = _scores(certificate, factor, lambda run: -float(np.mean(run.train_losses)))
        name = "ceiling" if factor == FACTORS[-1] else "accuracy"
        images = certificate.budget.seen * factor
        for ranker, scores in ((name, _accuracies(certificate, factor)), ("training loss", losses)):
            found = _agreement(crossed_pairs(scores, truth))
            rows.append({"ranker": ranker, "factor": factor, "images": images} | found)
    for cost in untrained_rankers(certificate):
        found = _agreement(_cost_pairs(certificate, cost, truth))
        rows.append({"ranker": cost, "factor": pd.NA, "images": 0} | found)
    return pd.DataFrame(rows).astype({"factor": "Int64"})


def untrained_rankers(certificate: Certificate) -> list[str]:
    """Return the rankers that need no training: the costs, and the zero-cost score if the certificate has it."""
    known = all(point.synflow is not None for point in certificate.points)
    return [*COSTS, *([ZERO_COST] if known else [])]


def epochs(certificate: Certificate) -> pd.DataFrame:
    """Return how well the accuracies of long runs after each epoch before the decay agree with their final accuracy.

    Columns: `epoch` (from 1), `images` (seen), and the same columns for agreement as in `rankers`. Before its last
    epoch, a run is evaluated on fewer validation images.
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
    """Return the complete points: `point`, `label`, `params`, `macs`, `synflow`, and mean accuracies (`x1`, ...)."""
    points = complete(certificate)
    frame = pd.DataFrame([certificate.points[point].model_dump() for point in points])
    frame.insert(0, "point", points)
    for factor in FACTORS:
        frame[f"x{factor}"] = np.mean(list(_accuracies(certificate, factor).values()), axis=0)
    return frame


def complete(certificate: Certificate) -> list[int]:
    """Return the points that are done at every budget; raise `ExplorerError` if there are too few."""
    points = certificate.complete
    if len(points) < FEWEST:
        done = f"{len(points)} of {len(certificate.points)} points are done at every budget"
        raise ExplorerError(f"{certificate.name}: {done}; rank correlations need {FEWEST}")
    return points


def separated_pairs(records: Sequence[StudyRecord]) -> tuple[Pairs, ...]:
    """Return how each smaller budget separates the pairs of points that the largest budget separates.

    Takes a record for each of `FACTORS`. Skips points with unfinished runs to keep all means over the same seeds.
    """
    runs = pd.concat([record.runs[["point", "state"]] for record in records])
    done = runs["state"].eq("done").groupby(runs["point"]).all()
    macs = records[0].points.set_index("point")["macs"]
    *smaller, long = map(Accuracies.of, records)
    largest = {pair: long.difference(*pair) for pair in itertools.combinations(done.index[done], 2)}
    separated = {pair: found.estimate > 0 for pair, found in largest.items() if found.separated}
    by_macs = sum(
        macs[one] != macs[other] and (macs[one] > macs[other]) == better for (one, other), better in separated.items()
    )
    pairs = []
    for factor, accuracies in zip(FACTORS[:-1], smaller, strict=True):
        found = [(accuracies.difference(*pair), better) for pair, better in separated.items()]
        agrees = [(difference.estimate > 0) == better for difference, better in found if difference.separated]
        same = sum(agrees)
        opposite = len(agrees) - same
        pairs.append(Pairs(factor=factor, total=len(separated), same=same, opposite=opposite, by_macs=by_macs))
    return tuple(pairs)


def above_macs(certificate: Certificate, factor: int) -> Interval:
    """Return how much better runs at a budget factor agree with long runs than multiply-adds alone do."""
    truth = _accuracies(certificate, FACTORS[-1])
    runs = crossed_pairs(_accuracies(certificate, factor), truth)
    return tau_difference(runs, _cost_pairs(certificate, "macs", truth))


def tau_difference(first: Pairing, second: Pairing) -> Interval:
    """Return the difference in mean Kendall's tau between the first and the second pairs on the same points."""
    count = len(first[0][1])
    differences = _resampled_taus(first, count) - _resampled_taus(second, count)
    low, high = np.nanquantile(differences[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(differences[0]), float(low), float(high))


def crossed_pairs(scores: Scores, truth: Scores) -> Pairing:
    """Pair the scores of each seed with the ground truth of every other seed."""
    return [(scores[seed], truth[other]) for seed in scores for other in truth if seed != other]


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
    return agreement(pairs) | {"kept": float(np.mean([len(_best(one) & _best(other)) for one, other in pairs]))}


def _best(scores: NDArray[np.float64]) -> set[int]:
    return set(np.argsort(-scores, kind="stable")[:BEST].tolist())


def _resampled_taus(pairs: Pairing, count: int) -> NDArray[np.float64]:
    """Return the mean tau-b for all points, followed by bootstraps over the points, which depend only on `count`.

    Tau-b correlates the signs of all pairwise differences, which are computed only once.
    """
    random = np.random.default_rng(0)
    signs = [[np.sign(np.subtract.outer(scores, scores)) for scores in pair] for pair in pairs]
    taus = []
    # A bootstrap may consist of a single point, for which tau is NaN.
    with np.errstate(invalid="ignore"):
        for resample in range(1 + RESAMPLES):
            chosen = random.integers(count, size=count) if resample else np.arange(count)
            drawn = [[sign[np.ix_(chosen, chosen)] for sign in pair] for pair in signs]
            correlations = [np.sum(one * other) / np.sqrt(np.sum(one**2) * np.sum(other**2)) for one, other in drawn]
            taus.append(np.mean(correlations))
    return np.array(taus)

"""What the stored rows of a study say: accuracies with their uncertainty, Pareto fronts, the published curve.

Frames in, frames out; nothing is drawn here and torch is not imported.

How sure an accuracy is. A point is measured with n seeds on m validation images. The validation images are a sample, and so
are the seeds, so whether seed s gets image i right is taken as

    y[s, i] = accuracy + image[i] + seed[s] + noise[s, i]       with variances A, B and G,

the two-way random-effects layout with one value in a cell. The point's accuracy, the mean of them all, then has the variance
A/m + B/n + G/(n m). It is put together from two estimates:

- S^2, the variance of a run's accuracy between seeds. It estimates B + G/m, and is pooled over the points of the study,
  because n - 1 = 2 degrees of freedom say next to nothing about one point alone: S^2 = sum((n_p - 1) s_p^2) / sum(n_p - 1).
- V, the variance between images of the mean over seeds. It estimates A + G/n. As S^2/n already holds G/(n m), that share is taken
  off, with G estimated by the mean square of the interaction (what is left of y without the means of its rows and columns).

So variance = (V - G/n)/m + S^2/n. (V/m + S^2/n would count the noise twice and be too wide by a tenth or more.)
The interval is mean +- t sqrt(variance) at 95 %, with Student's t at the degrees of freedom of Welch and Satterthwaite: the
image term rests on thousands of images and the seed term on few seeds, so the pooled degrees of freedom alone would be too
few where the images dominate. What it takes for granted: seeds scatter alike at all points of a study.
tests/test_analysis.py holds the simulated coverage. Sources: Searle, Casella and McCulloch, Variance Components, 1992
(two-way crossed classification, random model); Satterthwaite, Biometrics Bulletin 2, 1946, p. 110.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeGuard

import moocore
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from explorer.layers import QUANTITIES
from explorer.pricing import price
from explorer.record import StudyRecord
from explorer.space import label
from explorer.spaces import all_spaces
from explorer.study import Value
from explorer.study_files import published_curve_file

CONFIDENCE = 0.95
FRONTS = {"params": "on_params_front", "macs": "on_macs_front"}
SHARE = "share_"  # what the columns of `triangle` begin with
_FINE = 12  # steps between two values of a plane, for its lines of equal params
_NEAR = 1.15  # costs up to so many times the least of a group are near to it

Shape = Literal["triangle", "series", "plane", "points"]

# The columns of `summarise` that are no metaparameters; see StudyRecord.
_COLUMNS = {
    *("point", "label", "series", "state", "reason", "network", "same_as"),
    *("input_pixels", "image_pixels"),
    *QUANTITIES,
    *("runs", "accuracy", "spread", "low", "high", "standing"),
    *FRONTS.values(),
    *(name for space in all_spaces().values() for name in space.derived),
}


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval; NaN where the stored rows do not say."""

    estimate: float
    low: float
    high: float

    @property
    def separated(self) -> bool:
        """Whether a difference is told from 0: its interval is known and does not hold it."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class SeedVariance:
    """The variance of a run's accuracy between seeds, pooled over the points of a study, and its degrees of freedom."""

    variance: float
    freedom: int

    @property
    def deviation(self) -> float:
        """The standard deviation between seeds, as a fraction; NaN where no point has two."""
        return math.sqrt(self.variance) if self.freedom else math.nan


def seed_variance(record: StudyRecord) -> SeedVariance:
    """Pools the variance between seeds; without a second seed anywhere it is not known and counts as 0."""
    accuracies = _done(record.runs).groupby("point")["accuracy"]
    freedom = int((accuracies.count() - 1).sum())
    squares = float(((accuracies.count() - 1) * accuracies.var(ddof=1).fillna(0)).sum())
    return SeedVariance(squares / freedom if freedom else 0.0, freedom)


def summarise(record: StudyRecord) -> pd.DataFrame:
    """One row a point: the columns of `record.points`, and what its runs measured.

    Added are `runs` (how many are done), `accuracy` (mean over them, a fraction), `spread` (standard deviation between seeds, a
    fraction; NaN for fewer than two), `low` and `high` (95 % interval of the accuracy; NaN where nothing is known).
    `state` becomes `done` (all seeds), `partly done`, `failed` (none done, and at least one failed or crashed) or stays `planned`
    (none tried), with the runs' reasons. A merged point shows the measurements of the point that it is merged into.
    """
    pooled = seed_variance(record)
    runs = dict(iter(record.runs.groupby("point")))
    measured = {point: _measure(rows, pooled) for point, rows in runs.items()}
    summary = record.points.reset_index(drop=True)
    planned = [
        _state(runs[point]) if state == "planned" and point in runs else (state, reason)
        for point, state, reason in zip(summary["point"], summary["state"], summary["reason"], strict=True)
    ]
    summary["state"], summary["reason"] = [state for state, _ in planned], [reason for _, reason in planned]
    nothing = _Measured(0, math.nan, math.nan, math.nan, math.nan)
    sources = summary["same_as"].fillna(summary["point"])
    found = pd.DataFrame([measured.get(source, nothing) for source in sources], columns=_Measured._fields)
    return pd.concat(
        [summary, found.astype({"runs": int} | dict.fromkeys(_Measured._fields[1:], float))], axis="columns"
    )


def difference(record: StudyRecord, point: int, other: int) -> Interval:
    """How much more accurate a point is than another, as a fraction, with its 95 % interval.

    Both saw the same validation images, so the images are paired: their term is the variance of the difference an image. The same
    seed on two networks is no pair; the seeds' terms add up. NaN where a point has no done run, and where no point has two
    seeds: a difference between two single trainings may be the seeds' alone.
    """
    pooled = seed_variance(record)
    done = _done(record.runs)
    first, second = (done[done["point"] == number] for number in (point, other))
    bits, others = _bits(first), _bits(second)
    if bits is None or others is None or bits.shape[1] != others.shape[1] or not pooled.freedom:
        return Interval(math.nan, math.nan, math.nan)
    noise = _noise(bits) / len(bits) + _noise(others) / len(others)
    images = _image_term(bits.mean(axis=0) - others.mean(axis=0), noise)
    seeds = pooled.variance * (1 / len(bits) + 1 / len(others))
    return _interval(float(first["accuracy"].mean() - second["accuracy"].mean()), images, seeds, pooled.freedom)


def shape(record: StudyRecord) -> Shape:
    """What the points of a study form, which decides how they are drawn first.

    A triangle: three factors share a product, and nothing else varies. Series: listed points that belong to lines. A plane: a grid
    over two metaparameters that are numbers. Points: all else.
    """
    study = record.study
    if study.simplex:
        whole = len(study.product_held.exponents) == 3 and not study.vary and study.simplex.ratio != 1  # noqa: PLR2004
        return "triangle" if whole else "points"
    if (record.points["series"] != "").any():
        return "series"
    sides = list(study.vary.values())
    numeric = all(len(side) > 1 and is_ordered(side) for side in sides)
    return "plane" if len(sides) == 2 and numeric and not study.points else "points"  # noqa: PLR2004


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The points of `summarise` that have an accuracy; those merged into one network are one row with all their labels."""
    known = frame[frame["accuracy"].notna()].copy()
    twins = known[known["same_as"].notna()]
    names = {
        point: [label, *twins.loc[twins["same_as"] == point, "label"]]
        for point, label in zip(known["point"], known["label"], strict=True)
    }
    known["label"] = [
        " = ".join(names[point]) if len(names[point]) <= 2 else f"{names[point][0]} and {len(names[point]) - 1} more"  # noqa: PLR2004
        for point in known["point"]
    ]
    return known[known["same_as"].isna()]


def ranked(record: StudyRecord) -> pd.DataFrame:
    """`summarise` with the column `standing`: `best`, and `separated` or `not separated` from the best point.

    Empty where a point is not measured, and for all but the best where no point has two seeds, which alone tell points apart.
    """
    summary = summarise(record)
    known = measured(summary)
    standing = dict.fromkeys(known["point"], "")
    if len(known):
        best = int(known["point"].iloc[known["accuracy"].argmax()])
        if seed_variance(record).freedom:
            for point in known["point"]:
                apart = difference(record, best, int(point)).separated
                standing[point] = "separated" if apart else "not separated"
        standing[best] = "best"
    sources = summary["same_as"].fillna(summary["point"])
    return summary.assign(standing=[standing.get(source, "") for source in sources])


def triangle(record: StudyRecord) -> pd.DataFrame:
    """`ranked` with a column for each factor of the study's simplex: its share in the product, such as `share_depth`, in [0, 1]."""
    frame, simplex = ranked(record), record.study.product_held
    # The factors may be arrays, with an entry for each point.
    factors: dict[str, Any] = {key: frame[key].to_numpy(dtype=float) for key in simplex.exponents}
    for key, shares in zip(factors, simplex.shares(factors), strict=True):
        frame[SHARE + simplex.meanings[key]] = shares
    return frame


def share_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame of `triangle` that are shares, in the order of the factors."""
    return [column for column in frame.columns if column.startswith(SHARE)]


def plane_params(record: StudyRecord) -> pd.DataFrame:
    """Exact params all over the plane of a study, to draw lines of equal params: its two metaparameters and `params` (Int64).

    The rows are a grid: all values of the study, and several between each two of them.
    """
    study = record.study
    (across, up), axes = study.vary, [_between(values) for values in study.vary.values()]
    grid = [axis.ravel() for axis in np.meshgrid(*axes)]
    frame = price(study.space, study.preset, **study.fixed | {"classes": classes(record), across: grid[0], up: grid[1]})
    return frame[[across, up, "params"]]


def _between(values: Sequence[Any]) -> NDArray[Any]:
    """Numbers with others between each two of them, rising; whole ones between whole ones."""
    lines = [np.linspace(low, high, _FINE + 1) for low, high in pairwise(sorted(values))]
    numbers = np.concatenate(lines)
    return np.unique(np.round(numbers).astype(np.int64) if all(isinstance(v, int) for v in values) else numbers)


def classes(record: StudyRecord) -> int:
    """The number of classes of the study's data, which is not stored: params tell it, as each class adds equally many."""
    study = record.study
    planned = record.points[record.points["state"] == "planned"].iloc[0]
    settings = study.fixed | list(study.grid())[planned["point"]]
    if "classes" in settings:
        return int(str(settings["classes"]))
    two, three = price(study.space, study.preset, **settings, classes=[2, 3])["params"]
    more: int = round((planned["params"] - two) / (three - two))
    return max(2, 2 + more)


def near_in_cost(frame: pd.DataFrame, cost: str) -> list[pd.DataFrame]:
    """The rows in groups of near-equal cost, from the least: none costs over 15 % more than the first of its group."""
    groups: list[list[int]] = []
    start = math.nan
    ordered = frame.sort_values(cost, kind="stable")
    for place, amount in enumerate(ordered[cost].astype(float)):
        if amount <= _NEAR * start:
            groups[-1].append(place)
        else:
            groups.append([place])
            start = amount
    return [ordered.iloc[places] for places in groups]


def pareto_front(frame: pd.DataFrame, cost: str, value: str = "accuracy") -> pd.Series[bool]:
    """Whether each row is on the Pareto front of little `cost` and much `value`: none is better in one and as good in the other.

    Rows where either is not known are not on the front. Of rows that are equal in both, all are.
    """
    numbers = frame[[cost, value]].to_numpy(dtype=float, na_value=math.nan)
    known = np.isfinite(numbers).all(axis=1)
    front = np.zeros(len(frame), dtype=bool)
    # moocore takes NaN for non-dominated, and by itself keeps only the first of equal rows.
    if known.any():
        front[known] = moocore.is_nondominated(numbers[known], maximise=[False, True], keep_weakly=True)
    return pd.Series(front, index=frame.index, dtype=bool)


def published(name: str, metaparameter: str) -> pd.DataFrame | None:
    """The published curve over a metaparameter, from `studies/published/NAME.csv`, or None where it has none.

    Columns: `value` (numbers where all are), `label`, `model_mib` (MiB), `accuracy` (a fraction), `metric` (text), `printed` (False
    where it is read off a figure). An unknown name is an error that says the nearest.
    """
    frame = pd.read_csv(published_curve_file(name), comment="#", dtype={"value": str, "metric": str})
    frame = frame[frame["metaparameter"] == metaparameter].drop(columns="metaparameter").reset_index(drop=True)
    if frame.empty:
        return None
    frame.insert(1, "label", frame["value"])
    numbers = pd.to_numeric(frame["value"], errors="coerce")
    if numbers.notna().all():
        frame["value"] = numbers
    return frame.astype({"printed": bool})


def published_source(name: str) -> str:
    """What the published curve's file says of itself: the comment that it opens with."""
    lines = published_curve_file(name).read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ").rstrip() for line in lines if line.startswith("#"))


def points_table(record: StudyRecord) -> pd.DataFrame:
    """`summarise` for files: with the Pareto fronts, and metaparameters that are not plain numbers as text."""
    table = summarise(record)
    for cost, column in FRONTS.items():
        table[column] = pareto_front(table, cost)
    for key, values in record.study.varied.items():
        table[key] = _plain(table[key], [value for value in values if value is not None])
    return table


def runs_table(record: StudyRecord) -> pd.DataFrame:
    """The runs for files: without the bits of the images, and with the label and the series of their point."""
    table = record.runs.drop(columns=["correct", "top_probability"]).reset_index(drop=True)
    labels = dict(zip(record.points["point"], record.points["label"], strict=True))
    series = dict(zip(record.points["point"], record.points["series"], strict=True))
    table.insert(1, "label", table["point"].map(labels))
    table.insert(2, "series", table["point"].map(series))
    for column in ("accuracies", "train_losses"):
        table[column] = table[column].map(_floats)
    for column in ("accuracy", "seconds", "images_per_second"):
        table[column] = pd.to_numeric(table[column]).astype(float)
    table["peak_memory_bytes"] = pd.to_numeric(table["peak_memory_bytes"]).astype("Int64")
    return table


def validation_images(record: StudyRecord) -> int:
    """How many validation images the runs were measured on; 0 where no run says."""
    return next((len(bits) for bits in record.runs["correct"] if _known(bits)), 0)


def metaparameters(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame of points that are metaparameters."""
    return [column for column in frame.columns if column not in _COLUMNS]


def is_ordered(values: Sequence[Any] | pd.Series[Any]) -> bool:
    """Whether a metaparameter's values are numbers, which a line may join; a truth value is not."""
    return all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_) for value in values
    )


def _plain(column: pd.Series[Any], values: Sequence[Value]) -> pd.Series[Any]:
    """A metaparameter's column for files: numbers as such, all else as text, and empty where a point has no value of its own."""
    empty = column.isna()
    if is_ordered(values):
        numbers = pd.to_numeric(column)
        return numbers.astype("Int64") if empty.any() and all(isinstance(value, int) for value in values) else numbers
    if not empty.any() and all(isinstance(value, int | float) for value in values):
        return column
    texts = ["" if nothing else label(value) for value, nothing in zip(column, empty, strict=True)]
    return pd.Series(texts, index=column.index)


class _Measured(NamedTuple):
    """What the runs of a point measured, as `summarise` describes it."""

    runs: int
    accuracy: float
    spread: float
    low: float
    high: float


def _done(runs: pd.DataFrame) -> pd.DataFrame:
    done = runs[runs["state"] == "done"]
    return done.assign(accuracy=done["accuracy"].astype(float))


def _measure(runs: pd.DataFrame, pooled: SeedVariance) -> _Measured:
    done = _done(runs)
    accuracy, interval = done["accuracy"], _accuracy_interval(done, pooled)
    low, high = np.clip([interval.low, interval.high], 0, 1)
    return _Measured(len(done), float(accuracy.mean()), float(accuracy.std(ddof=1)), float(low), float(high))


def _accuracy_interval(done: pd.DataFrame, pooled: SeedVariance) -> Interval:
    bits = _bits(done)
    if bits is None:
        return Interval(math.nan, math.nan, math.nan)
    # A single seed does not tell its noise from the images; its share is then left in, and the interval is wider.
    images = _image_term(bits.mean(axis=0), _noise(bits) / len(bits))
    return _interval(float(done["accuracy"].mean()), images, pooled.variance / len(bits), pooled.freedom)


def _bits(done: pd.DataFrame) -> NDArray[np.float64] | None:
    """Which images each seed got right, (seeds, images), or None where that is not stored or no run is done."""
    stored = [entry for entry in done["correct"] if _known(entry)]
    if not stored or len(stored) < len(done) or len({len(entry) for entry in stored}) > 1 or len(stored[0]) < 2:  # noqa: PLR2004
        return None
    return np.stack(stored).astype(float)


def _known(entries: object) -> TypeGuard[Sequence[float]]:
    """Whether a row holds entries; what is not known is None or NaN."""
    return np.ndim(entries) == 1  # type: ignore[arg-type]


def _noise(bits: NDArray[np.float64]) -> float:
    """G: the mean square of the interaction of seeds and images; 0 where one seed does not tell."""
    seeds, images = bits.shape
    if seeds == 1:
        return 0.0
    rest = bits - bits.mean(axis=0) - bits.mean(axis=1, keepdims=True) + bits.mean()
    return float((rest**2).sum() / ((seeds - 1) * (images - 1)))


def _image_term(means: NDArray[np.float64], noise: float) -> tuple[float, int]:
    """The variance that the sample of images gives to a mean, with its degrees of freedom; `noise` is the seeds' share."""
    return max(0.0, float(means.var(ddof=1)) - noise) / len(means), len(means) - 1


def _interval(estimate: float, images: tuple[float, int], seed_variance: float, seed_freedom: int) -> Interval:
    image_variance, image_freedom = images
    variance = image_variance + seed_variance
    if variance == 0:
        return Interval(estimate, estimate, estimate)
    seeds = seed_variance**2 / seed_freedom if seed_freedom else 0.0
    freedom = variance**2 / (image_variance**2 / image_freedom + seeds)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return Interval(estimate, estimate - half, estimate + half)


def _state(runs: pd.DataFrame) -> tuple[str, str]:
    """The state of a point that was to be trained, and the reason where it is not wholly done."""
    states = list(runs["state"])
    done, broken = states.count("done"), states.count("failed") + states.count("crashed")
    reasons = dict.fromkeys(str(reason) for reason in runs.loc[runs["state"].isin(["failed", "crashed"]), "reason"])
    reason = f"{broken} of {len(runs)} runs failed: {'; '.join(reasons)}" if broken else ""
    if done == len(runs):
        return "done", ""
    if done:
        return "partly done", reason or f"{len(runs) - done} of {len(runs)} runs are missing"
    return ("failed", reason) if broken else ("planned", "")


def _floats(entries: Sequence[float] | None) -> list[float] | None:
    return [float(entry) for entry in entries] if _known(entries) else None

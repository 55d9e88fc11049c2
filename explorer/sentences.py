"""What a report says in sentences: the answer, how sure it is, and what there is to know about the points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from explorer import analysis
from explorer.certificate import ENOUGH_POINTS, FACTORS, Certificate
from explorer.certification import BEST, above_macs, complete, rankers
from explorer.labels import prefixed
from explorer.recipe import Budget, Recipe
from explorer.record import StudyRecord
from explorer.space import label

MOST_NAMES = 8  # in a sentence
MOST_GROUPS = 4  # of near-equal cost, the costliest
SPACE = "\N{NO-BREAK SPACE}"
COSTS = {
    "params": "params",
    "macs": "FLOPs",
    "activations": "activations",
    "model_bytes": "model size",
    "memory_access_bytes": "memory access",
    "peak_activation_bytes": "peak activations",
}


def answer(record: StudyRecord) -> str:
    """What the numbers say, in a few sentences: the best point, what it is not separated from, and the worst.

    Series are compared at equal costs instead, and of a triangle its corners are named.
    """
    shape = analysis.shape(record)
    frame = analysis.triangle(record) if shape == "triangle" else analysis.ranked(record)
    measured = frame[frame["accuracy"].notna() & frame["same_as"].isna()]
    if measured.empty:
        return "No run is done yet, so there is no answer."
    best, worst = (measured.loc[getattr(measured["accuracy"], extreme)()] for extreme in ("idxmax", "idxmin"))
    text = f"{_named(record, best)} has the best accuracy of the {len(measured)} measured points: {percent(best['accuracy'])}"
    if len(measured) == 1:
        text = f"{_named(record, best)} is the only measured point: {percent(best['accuracy'])}"
    if math.isfinite(best["low"]):
        text += f" (95 % interval {100 * best['low']:.1f} to {percent(best['high'])})"
    text += f", with {_amount('params', best['params'])} and {_amount('macs', best['macs'])}."
    if len(measured) == 1:
        return text
    if not analysis.seed_variance(record).freedom:
        return f"{text} One seed: spread between seeds unknown, so the points are not told apart."
    if shape == "series":
        return " ".join([text[0].upper() + text[1:], *_at_equal_cost(record, measured)])
    return (
        f"{text} {_rivals(measured)}{_corners(frame)} The least accurate is {_named(record, worst)}: "
        f"{percent(worst['accuracy'])}, with {_amount('params', worst['params'])} and {_amount('macs', worst['macs'])}."
    )


def _rivals(measured: pd.DataFrame) -> str:
    """Which points are not separated from the best one."""
    rivals = measured[measured["standing"] == "not separated"].sort_values("accuracy", ascending=False, kind="stable")
    if rivals.empty:
        return "It is separated from every other point."
    if len(rivals) > MOST_NAMES:
        return f"Not separated from it: {len(rivals)} of the {len(measured) - 1} other points."
    return f"Not separated from it: {'; '.join(rivals['label'])}."


def _corners(frame: pd.DataFrame) -> str:
    """Of a triangle, whether its corners, which give all to one factor, are separated from the best point."""
    groups: dict[str, list[str]] = {"separated": [], "not separated": []}
    for column in analysis.share_columns(frame):
        corner = frame[(frame[column] > 1 - 1e-9) & frame["standing"].isin(groups)]
        for standing in corner["standing"]:
            groups[standing].append(f"{column.removeprefix(analysis.SHARE)} only")
    parts = [
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {standing}"
        for standing, names in groups.items()
        if names
    ]
    return f" Of the corners, {' and '.join(parts)} from it." if parts else ""


def _at_equal_cost(record: StudyRecord, measured: pd.DataFrame) -> list[str]:
    """For each group of points of near-equal cost, a sentence: which is best, and which are separated from it."""
    against = record.study.plot.against
    groups = [group for group in analysis.near_in_cost(measured, against) if len(set(group["series"])) > 1]
    return [_best_of(record, group, against) for group in groups[-MOST_GROUPS:]]


def _best_of(record: StudyRecord, group: pd.DataFrame, against: str) -> str:
    twice = group["series"].duplicated(keep=False)
    group = group.assign(name=group["series"].where(~twice, group["series"] + " at " + group["label"]))
    best, *others = (row for _, row in group.sort_values("accuracy", ascending=False, kind="stable").iterrows())
    names: dict[bool, list[str]] = {True: [], False: []}
    for other in others:
        names[analysis.difference(record, best["point"], other["point"]).separated].append(other["name"])
    parts = [
        f"{word} from {_listed(names[key])}"
        for key, word in ((True, "separated"), (False, "not separated"))
        if names[key]
    ]
    costs = _amount(against, group[against].min(), group[against].max())
    return f"At {costs}, {best['name']} is best ({percent(best['accuracy'])}), {' and '.join(parts)}."


def progress(record: StudyRecord) -> tuple[bool, str]:
    """Whether all runs are done, and a sentence that counts them."""
    counts = record.runs["state"].value_counts()
    done, total = int(counts.get("done", 0)), len(record.runs)
    if done == total:
        return True, f"All {total} runs are done."
    others = ", ".join(f"{counts[state]} {state}" for state in ("failed", "crashed", "missing") if counts.get(state))
    return False, f"This is a partial result: {done} of {total} runs are done ({others})."


def interval_note(record: StudyRecord) -> str:
    """How the intervals come about, with the numbers behind them."""
    seeds = analysis.seed_variance(record)
    images = analysis.validation_images(record)
    if not images:
        return ""
    start = f"The intervals are 95 % intervals. The {images:,} validation images are a sample"
    if not seeds.freedom:
        return f"{start}, and that is all that the intervals account for. One seed: spread between seeds unknown."
    return (
        f"{start}, and so are the seeds: the accuracy of one network has a standard deviation of {100 * seeds.deviation:.2f} points "
        f"between seeds, pooled over the points ({seeds.freedom} degrees of freedom). The interval combines both, with Student's t. "
        "All points were measured on the same images, so two points are compared image by image; where the interval of their "
        "difference holds 0 they are not separated. Whether their own intervals overlap does not tell. The comparisons "
        "are not adjusted for their number, and the best of several points looks a little better than it is."
    )


def ratio_note(record: StudyRecord) -> str:
    """How far the realised networks are from the costs that the scaling asks for; empty where nothing is scaled."""
    if not {"nominal_ratio", "actual_ratio"} <= set(record.derived):
        return ""
    trained = record.points[record.points["state"] == "planned"]
    ratios = trained[["nominal_ratio", "actual_ratio"]].astype(float).dropna()
    if ratios.empty:
        return ""
    actual, apart = ratios["actual_ratio"], ratios["actual_ratio"] / ratios["nominal_ratio"]
    return (
        f"The realised networks cost {actual.min():.2f} to {actual.max():.2f} times the multiply-adds of the base network (actual ratio): "
        f"filters and repeats are rounded, so that is {apart.min():.2f} to {apart.max():.2f} times what the scaling asks for "
        f"(nominal ratio; median {apart.median():.2f})."
    )


def enlarged_note(record: StudyRecord) -> str:
    """Which points see images that are only enlarged, as their input is larger than the images of the data."""
    points = record.points[record.points["state"].isin(["planned", "merged"])]
    larger = points[(points["input_pixels"] > points["image_pixels"]).fillna(value=False)]
    if larger.empty:
        return ""
    names = [f"{row['label']} ({row['input_pixels']} pixels)" for _, row in larger.iterrows()]
    listed = "; ".join(names[:MOST_NAMES]) + (f"; and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
    size = larger["image_pixels"].iloc[0]
    return f"The images have {size} pixels. They are only enlarged, and show no more, at: {listed}."


def trust(certificate: Certificate) -> list[str]:
    """How far runs of the certificate's budget can be trusted."""
    rows = rankers(certificate).drop_duplicates("ranker").set_index("ranker").to_dict(orient="index")
    short, ceiling, macs, params = (rows[name] for name in ("accuracy", "ceiling", "macs", "params"))
    above = [
        f"{found.estimate:+.2f} ({found.low:+.2f} to {found.high:+.2f}) at {factor}x, {_verdict(found)}"
        for factor, found in ((factor, above_macs(certificate, factor)) for factor in FACTORS[:-1])
    ]
    budget, seeds = certificate.budget, certificate.seeds
    passes = f"{budget.epochs} epochs" if budget.epochs > 1 else "1 epoch"
    said = [
        (
            f"One run of {passes} of {budget.images:,} images ranks {len(complete(certificate))} points of {certificate.space} on "
            f"{certificate.data} as runs of {FACTORS[-1]} times the budget do with Kendall's tau {with_interval(short, 'kendall')}; another seed of "
            f"the long runs does with {with_interval(ceiling, 'kendall')}, FLOPs alone with {macs['kendall']:.2f} and params alone with "
            f"{params['kendall']:.2f}. Of the {BEST} best points it keeps {short['kept']:.1f}, another seed of the long runs {ceiling['kept']:.1f}."
        ),
        f"Kendall's tau of short runs less that of FLOPs alone, on the same points: {'; '.join(above)}.",
    ]
    pairs = next((found for found in certificate.pairs if found.factor == 1), None)
    if pairs and pairs.total:
        rest = pairs.total - pairs.same - pairs.opposite
        said.append(
            f"Of {pairs.total} pairs of points that {seeds} long runs each separate, {pairs.same} are separated the same way by {seeds} runs "
            f"of this budget each; not separated: {rest}; separated the other way: {pairs.opposite}. FLOPs alone order {pairs.by_macs} of them the same way."
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
    command = f"certify {study.space} --preset {study.preset} --data {study.data} --budget {study.budget.short}"
    return f"{said} `python -m explorer {command}` does."


def _verdict(above: analysis.Interval) -> str:
    if not above.separated:
        return "not separated"
    return "runs rank better" if above.estimate > 0 else "FLOPs rank better"


def with_interval(row: Mapping[Any, Any], statistic: str) -> str:
    """A correlation of a row of `certification.rankers` with its interval."""
    return f"{row[statistic]:.2f} ({row[f'{statistic}_low']:.2f} to {row[f'{statistic}_high']:.2f})"


def percent(share: float) -> str:
    """A fraction as percent with one decimal."""
    return f"{100 * share:.1f}{SPACE}%"


def _named(record: StudyRecord, row: pd.Series[Any]) -> str:
    """A point in a sentence: by its series, its shares, or else the values of its metaparameters."""
    own = {key: row[key] for key in record.metaparameters if not missing(row[key])}
    values = ", ".join(f"{key} = {label(value)}" for key, value in own.items())
    if row["series"]:
        return _named_in_series(record, row)
    return f"{_shares(record, row)} ({values})" if analysis.shape(record) == "triangle" else values


def _named_in_series(record: StudyRecord, row: pd.Series[Any]) -> str:
    points = record.points
    sharing = points.loc[(points["point"] == row["point"]) | (points["same_as"] == row["point"]), "series"].nunique()
    if sharing > 1:
        return f"the network that {sharing} series share ({row['label']})"
    return str(row["series"] if row["series"] == row["label"] else f"{row['series']} at {row['label']}")


def _shares(record: StudyRecord, row: pd.Series[Any]) -> str:
    """Who gets how much of the ratio: `40 % of the doubling to depth, 60 % to width, 0 % to resolution`."""
    assert record.study.simplex is not None
    # What the scaling asks for: the ratio of the simplex, to the power phi.
    ratio = float(row.get("nominal_ratio", record.study.simplex.ratio))
    whole = "the doubling" if math.isclose(ratio, 2, rel_tol=1e-6) else f"the factor of {ratio:.3g}"
    columns = analysis.share_columns(row.to_frame().T)
    # A corner is its own name.
    columns = [column for column in columns if row[column] > 1 - 1e-9] or columns
    parts = [f"{100 * row[column]:.3g}{SPACE}% to {column.removeprefix(analysis.SHARE)}" for column in columns]
    return ", ".join(parts).replace(" to ", f" of {whole} to ", 1)


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _scaled(cost: str, value: float) -> tuple[float, str]:
    """What to divide an amount of a cost by in a sentence, and the words behind it."""
    if cost.endswith("bytes"):
        return 2.0**20, f"MiB of {COSTS[cost]}"
    scale, prefix = prefixed(value)
    return scale, f"{prefix} {COSTS[cost]}".strip()


def _amount(cost: str, low: float, high: float | None = None) -> str:
    """An amount of a cost in a sentence, or a range: `364 k params`, `6.40 to 6.52 M FLOPs`."""
    scale, words = _scaled(cost, low if high is None else high)
    numbers = dict.fromkeys(f"{value / scale:#.3g}".rstrip(".") for value in (low, high) if value is not None)
    return f"{' to '.join(numbers)}{SPACE}{words}"


def missing(value: object) -> bool:
    """Whether a cell of a frame holds nothing."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))

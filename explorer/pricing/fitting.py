"""Find the design points that use a budget best: close to all limits without exceeding any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.errors import ExplorerError, unknown
from explorer.networks.quantities import computed, quantity_key, read_size, units
from explorer.pricing.enumeration import (
    BLOCK,
    Axis,
    Coded,
    Column,
    Continuum,
    Enumeration,
    Steps,
    Values,
    enumeration,
    values_at,
)
from explorer.pricing.prices import COUNTS, Priced, join, price_chunks
from explorer.spaces import all_spaces, find_space
from explorer.spaces.space import Space, label

ALL = "all"
EVERYWHERE = "cifar"  # the preset of most spaces
CENTRES = 64  # number of points that the second round searches around
MOST_DECIMALS = 9  # for rounded values
WIDEST = 0.1  # fraction of a range that the second round searches around each centre


def fit(
    space: str,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    limits: Mapping[str, float | str] | None = None,
    count: int = 10,
    sample: int = 1_000_000,
    seed: int = 0,
    **metaparameters: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Return the `count` points that use the limits best.

    For each point, compute the share of each limit that it uses. Points are ranked by their smallest share, then by
    their mean share. Accuracy plays no part.

    Settings work as in `price_space`. If none varies, all metaparameters that have a range in the space vary. If there
    are at most `sample` points, all are enumerated. Otherwise, `sample` points are drawn, and the same number again
    around the best. Of points with equal costs, one is kept. Real numbers that were drawn are rounded to the fewest
    decimals that give the same network.

    Limits are numbers or text, such as `{"params": "500k", "FLOPs": 2e7}`, or keywords: `params="500k"`. Columns: the
    metaparameters that vary, `params`, `macs`, `activations`, and the share of each limit that is used, `KEY_share`.
    `attrs` has the `units`, the `limits` as numbers, and the metaparameters of the `best` point. Raises `ExplorerError`
    with the closest point if nothing fits.

    The space `all` stands for every space with the preset, by default `cifar`. Its frame has one row per space, the
    best point: `space`, `point` (its metaparameters as settings, or the reason why none fits), costs and shares.
    """
    if space == ALL:
        return _of_all_spaces(preset, {**(settings or {}), **metaparameters}, dict(limits or {}), sample, seed)
    family = find_space(space)
    named = [key for key in metaparameters if key not in family.model_fields and _limits(family, key)]
    limits = {**(limits or {}), **{key: metaparameters.pop(key) for key in named}}
    if not limits:
        raise ExplorerError(f"{space}: at least one limit is needed, such as --params 500k or --macs 20M")
    most = {key if key in family.derived else quantity_key(key): read_size(limit) for key, limit in limits.items()}
    search = _search(family, preset, {**(settings or {}), **metaparameters}, sample, seed)
    reasons: Counter[str] = Counter()
    best = _best(_priced(search, search.blocks(), most), most, max(count, CENTRES), reasons)
    if best is not None and search.sample is not None:
        second = _priced(search, _around(search, best), most)
        best = _best(chain([best], second), most, max(count, CENTRES), reasons)
    if best is None:
        raise ExplorerError(f"{space}: none of the {search.size:,} points is feasible: {reasons.most_common(1)[0][0]}")
    fits = _shares(best, most).max(axis=0) <= 1
    if not fits.any():
        raise ExplorerError(_nothing(search, best[:1], most))
    chosen = _rounded(search, best[np.flatnonzero(fits)[:count]])
    frame = _frame(chosen, most)
    frame.attrs = {"units": units(map(str, frame.columns)), "limits": most, "best": values_at(chosen.columns, 0)}
    return frame


def _of_all_spaces(
    preset: str | None, settings: Mapping[str, Any], limits: Mapping[str, float | str], sample: int, seed: int
) -> pd.DataFrame:
    named = {key: value for key, value in settings.items() if quantity_key(key) in computed()}
    if unnamed := settings.keys() - named:
        raise ExplorerError(f"{ALL}: {min(unnamed)} belongs to one space; give only a preset and limits")
    if not (limits := {**limits, **named}):
        raise ExplorerError(f"{ALL}: at least one limit is needed, such as --flash 1MB or --macs 20M")
    most = {quantity_key(key): read_size(limit) for key, limit in limits.items()}
    if strange := most.keys() - computed():
        raise unknown("limit", min(strange), computed())
    preset = preset or EVERYWHERE
    spaces = [name for name, space in all_spaces().items() if preset in space.presets and space.point(preset).ranges()]
    if not spaces:
        raise ExplorerError(f"{ALL}: no space has a preset {preset!r}; use {EVERYWHERE!r}, which most have")
    rows: list[dict[str, Any]] = []
    for name in spaces:
        try:
            found = fit(name, preset, limits=most, count=1, sample=sample, seed=seed)
        except ExplorerError as error:
            reason = str(error).partition(": ")[2]
            closest = reason.partition("; the closest one ")[2].partition(" (")[0]
            rows.append({"space": name, "point": f"none; the closest {closest}" if closest else reason})
            continue
        point = " ".join(f"{key}={label(value)}" for key, value in found.attrs["best"].items())
        costs = found.drop(columns=list(found.attrs["best"])).iloc[0]
        rows.append({"space": name, "point": point} | {str(key): value for key, value in costs.items()})
    if not any("params" in row for row in rows):
        raise ExplorerError(f"{ALL}: no space has a point within the limits; {rows[0]['space']}: {rows[0]['point']}")
    frame = pd.DataFrame(rows)
    whole = list(dict.fromkeys([*COUNTS, *most]))
    frame[whole] = frame.reindex(columns=whole).astype("Int64")
    frame.attrs = {"units": units(map(str, frame.columns)), "limits": most}
    return frame


def _limits(family: type[Space], key: str) -> bool:
    return key in family.derived or quantity_key(key) in computed()


def _rounded(search: Enumeration, best: Priced) -> Priced:
    """Round the real numbers that were drawn to the fewest decimals that give the same networks."""
    columns = dict(best.columns)
    costs = list(computed())
    (exact,) = price_chunks(search.space, search.preset, [columns], costs, search.fixed)
    for axis in (axis for axis in search.axes if isinstance(axis, Continuum)):
        (key,) = axis.keys
        waiting = np.ones(len(best), dtype=bool)
        for decimals in range(MOST_DECIMALS):
            numbers = columns[key]
            assert not isinstance(numbers, Coded)
            near = np.round(numbers, decimals)
            near = np.where(waiting & (near >= axis.low) & (near <= axis.high), near, numbers)
            (priced,) = price_chunks(search.space, search.preset, [columns | {key: near}], costs, search.fixed)
            same = np.all([priced.amounts[cost] == exact.amounts[cost] for cost in costs], axis=0) & priced.feasible
            same &= waiting & (near == np.round(numbers, decimals))
            columns[key] = np.where(same, near, numbers)
            waiting &= ~same
    rounded = replace(best, columns=columns)
    # Equal costs do not guarantee equal networks.
    differ = [_digest(search, rounded, row) != _digest(search, best, row) for row in range(len(best))]
    return replace(rounded, columns={key: _restored(columns[key], best.columns[key], differ) for key in columns})


def _restored(column: Column, before: Column, differ: list[bool]) -> Column:
    if isinstance(column, Coded) or isinstance(before, Coded):
        return column
    return np.where(differ, before, column)


def _digest(search: Enumeration, priced: Priced, row: int) -> str:
    return search.space.point(search.preset, **{**search.fixed, **values_at(priced.columns, row)}).expand().digest


def _search(
    family: type[Space], preset: str | None, settings: Mapping[str, Any], sample: int, seed: int
) -> Enumeration:
    search = enumeration(family, preset, settings, sample=sample, seed=seed)
    if not search.axes:
        ranges = family.point(preset, **settings).ranges()
        free = {key: str(ends) for key, ends in ranges.items() if key not in settings}
        if not free:
            raise ExplorerError(f"{family.name}: nothing varies; give a range, such as key=8..512")
        search = enumeration(family, preset, {**settings, **free}, sample=sample, seed=seed)
    if any(isinstance(axis, Continuum) for axis in search.axes):
        return search
    whole = replace(search, sample=None)
    return whole if whole.size <= sample else search


def _priced(search: Enumeration, blocks: Iterator[dict[str, Column]], limits: Mapping[str, float]) -> Iterator[Priced]:
    return price_chunks(search.space, search.preset, blocks, list(dict.fromkeys([*COUNTS, *limits])), search.fixed)


def _shares(priced: Priced, limits: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array([priced.amounts[key] / limit for key, limit in limits.items()])


def _best(stream: Iterable[Priced], limits: Mapping[str, float], count: int, reasons: Counter[str]) -> Priced | None:
    best: Priced | None = None
    for priced in stream:
        reasons += priced.infeasible()
        found = priced[priced.feasible]
        if len(found):
            together = found if best is None else join([best, found])
            best = together[_ranked(together, limits, count)]
    return best


def _ranked(priced: Priced, limits: Mapping[str, float], count: int) -> NDArray[np.int64]:
    """Rank the best points with different costs. Points above a limit come last, the smallest excess first."""
    shares = _shares(priced, limits)
    least, most = shares.min(axis=0), shares.max(axis=0)
    score = np.where(most <= 1, least, -most)
    # Sort and compare only the best points: several times as many as needed, and more if too many of them are equal.
    wanted = 8 * count
    while True:
        places = np.arange(len(score))
        if wanted < len(score):
            bar = np.partition(score, -wanted)[-wanted]
            places = np.flatnonzero(score >= bar)
        order = places[np.lexsort((places, -shares.mean(axis=0)[places], -score[places]))]
        # Points with the same counts and the same choices are treated as one network.
        identity = [priced.amounts[key] for key in COUNTS]
        identity += [column.codes for column in priced.columns.values() if isinstance(column, Coded)]
        _, first = np.unique(np.stack([each[order] for each in identity]), axis=1, return_index=True)
        if len(first) >= count or len(places) == len(score):
            return order[np.sort(first)[:count]]
        wanted *= 8


def _around(search: Enumeration, best: Priced) -> Iterator[dict[str, Column]]:
    """Draw another sample of the same size at distances up to `WIDEST` from the best points."""
    rng = np.random.default_rng([search.seed, len(search.axes)])
    for start in range(0, search.size, BLOCK):
        count = min(search.size - start, BLOCK)
        centres = best[rng.integers(len(best), size=count)].columns
        reach = WIDEST * 10 ** rng.uniform(-3, 0, count)
        yield {
            key: _near(axis, column, centres[key], reach, rng)
            for axis in search.axes
            for key, column in axis.draw(count, rng).items()
        }


def _near(axis: Axis, drawn: Column, centre: Column, reach: NDArray[np.float64], rng: np.random.Generator) -> Column:
    """Move numbers by up to `reach` times their range, and replace a few listed values with random ones."""
    if isinstance(drawn, Coded) or isinstance(centre, Coded):
        assert isinstance(drawn, Coded)
        assert isinstance(centre, Coded)
        return Coded(np.where(rng.random(len(reach)) < WIDEST, drawn.codes, centre.codes), drawn.choices)
    shift = reach * rng.uniform(-1, 1, len(reach))
    if isinstance(axis, Continuum):
        return np.clip(centre + shift * (axis.high - axis.low), axis.low, axis.high)
    if isinstance(axis, Steps):
        place = np.rint((centre * axis.scale if axis.real else centre) - axis.low) / axis.step
        moved = np.clip(np.rint(place + shift * axis.size), 0, axis.size - 1)
        return axis.at(moved.astype(np.int64))[axis.keys[0]]
    assert isinstance(axis, Values)
    return np.where(rng.random(len(reach)) < WIDEST, drawn, centre)


def _frame(priced: Priced, limits: Mapping[str, float]) -> pd.DataFrame:
    frame = priced.frame(priced.amounts).drop(columns="infeasible")
    for key, share in zip(limits, _shares(priced, limits), strict=True):
        frame[f"{key}_share"] = share
    return frame


def _nothing(search: Enumeration, nearest: Priced, limits: Mapping[str, float]) -> str:
    row = {str(key): column.iloc[0] for key, column in _frame(nearest, limits).items()}
    asked = " and ".join(f"{key} <= {limit:,.0f}" for key, limit in limits.items())
    found = " and ".join(f"{key} {row[key]:,}" for key in limits)
    where = ", ".join(f"{key} = {label(row[key])}" for key in search.keys)
    return f"{search.space.name}: no point fits {asked}; the closest one has {found} ({where})"

"""The design points that use a budget best: none above a limit, and the largest smallest share of the limits used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.errors import ExplorerError
from explorer.pricing.enumeration import (
    BLOCK,
    Block,
    Coded,
    Column,
    Continuum,
    Enumeration,
    Steps,
    Values,
    enumeration,
)
from explorer.pricing.prices import COUNTS, Priced, join, price_chunks
from explorer.spaces import find_space
from explorer.spaces.space import Space, label

CENTRES = 64  # best points that the second round searches around
WIDEST = 0.1  # of a range: how far from a centre the second round looks at most


def fit(
    space: str,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    limits: Mapping[str, float],
    count: int = 10,
    sample: int = 1_000_000,
    seed: int = 0,
    **metaparameters: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """The `count` points that use the limits best, best first: the largest smallest share, then the largest mean share.

    Metaparameters are given as for `explorer.pricing.enumeration.enumeration`; where none varies, all vary that the space gives ranges
    for. Points are enumerated where there are at most `sample`, else so many are drawn, and as many again around the best of
    them. Returns the metaparameters that vary, `params`, `macs`, `activations` and for each limit `KEY_share` (of
    it that is used). Of points with equal costs one stays. Raises `ExplorerError` where nothing fits, with what came nearest.
    """
    family = find_space(space)
    if not limits:
        raise ExplorerError(f"{space}: at least one limit is needed, such as --params 500k or --macs 20M")
    search = search_of(family, preset, {**(settings or {}), **metaparameters}, sample, seed)
    reasons: Counter[str] = Counter()
    best = _best(_priced(search, search.blocks(), limits), limits, max(count, CENTRES), reasons)
    if best is not None and search.sample is not None:
        around = _priced(search, _around(search, best), limits)
        best = _best(_after(best, around), limits, max(count, CENTRES), reasons)
    if best is None:
        raise ExplorerError(f"{space}: none of {search.size:,} points is feasible: {reasons.most_common(1)[0][0]}")
    shares = _shares(best, limits)
    fits = shares.max(axis=0) <= 1
    if not fits.any():
        raise ExplorerError(_nothing(search, best[:1], limits))
    kept = best[np.flatnonzero(fits)[:count]]
    return _frame(search, kept, limits)


def search_of(
    family: type[Space], preset: str | None, settings: Mapping[str, Any], sample: int, seed: int
) -> Enumeration:
    """Where to look: what `settings` leave open, or else the space's own ranges around the point that they give."""
    search = enumeration(family, preset, settings, sample=sample, seed=seed)
    if not search.axes:
        ranges = family.point(preset, **settings).ranges()
        free = {key: _spelt(ends) for key, ends in ranges.items() if key not in settings}
        if not free:
            raise ExplorerError(f"{family.name}: nothing varies; give a range, such as key=8..512")
        search = enumeration(family, preset, {**settings, **free}, sample=sample, seed=seed)
    if any(isinstance(axis, Continuum) for axis in search.axes):
        return search
    few = replace(search, sample=None)
    return few if few.size <= sample else search


def _spelt(ends: tuple[Any, ...]) -> Any:  # noqa: ANN401 (a range or choices)
    """A range as text, or choices as a list."""
    if len(ends) == 2 and all(isinstance(end, int | float) for end in ends):  # noqa: PLR2004 (low and high)
        return f"{ends[0]}..{ends[1]}"
    return list(ends)


def _quantities(limits: Mapping[str, float]) -> list[str]:
    return list(dict.fromkeys([*COUNTS, *limits]))


def _priced(search: Enumeration, blocks: Iterator[dict[str, Column]], limits: Mapping[str, float]) -> Iterator[Priced]:
    return price_chunks(search.space, search.preset, blocks, _quantities(limits), search.fixed)


def _after(best: Priced, priced: Iterator[Priced]) -> Iterator[Priced]:
    yield best
    for part in priced:
        yield replace(part[part.feasible], reasons=best.reasons)


def _shares(priced: Priced, limits: Mapping[str, float]) -> NDArray[np.float64]:
    """The share of each limit that the points use, (limits, points)."""
    return np.array([priced.amounts[key] / limit for key, limit in limits.items()])


def _best(stream: Iterator[Priced], limits: Mapping[str, float], count: int, reasons: Counter[str]) -> Priced | None:
    """The best points of a stream, best first, no two with the same costs; None where all are infeasible, for `reasons`."""
    best: Priced | None = None
    for priced in stream:
        reasons += priced.infeasible()
        found = priced[priced.feasible]
        if len(found):
            together = found if best is None else join([best, found])
            best = together[_ranked(together, limits, count)]
    return best


def _ranked(priced: Priced, limits: Mapping[str, float], count: int) -> NDArray[np.int64]:
    """Places of the best points that differ in cost. Those above a limit come after all that fit, the least above it first."""
    shares = _shares(priced, limits)
    least, most = shares.min(axis=0), shares.max(axis=0)
    score = np.where(most <= 1, least, -most)
    # Only the best need to be told apart; a generous share of them is sorted in full, and more where that was too few.
    wanted = 8 * count
    while True:
        places = np.arange(len(score))
        if wanted < len(score):
            bar = np.partition(score, -wanted)[-wanted]
            places = np.flatnonzero(score >= bar)
        order = places[np.lexsort((places, -shares.mean(axis=0)[places], -score[places]))]
        # Points with the same counts and the same choices are taken for one network.
        told = [priced.amounts[key] for key in COUNTS]
        told += [column.codes for column in priced.columns.values() if isinstance(column, Coded)]
        _, first = np.unique(np.stack([each[order] for each in told]), axis=1, return_index=True)
        if len(first) >= count or len(places) == len(score):
            return order[np.sort(first)[:count]]
        wanted *= 8


def _around(search: Enumeration, best: Priced) -> Iterator[dict[str, Column]]:
    """As many points again as were drawn, each near one of the best, at all distances up to `WIDEST` of each range."""
    rng = np.random.default_rng([search.seed, len(search.axes)])
    left = search.size
    while left:
        count = min(left, BLOCK)
        centres: Block = best[rng.integers(len(best), size=count)].columns
        reach = WIDEST * 10 ** rng.uniform(-3, 0, count)
        block: dict[str, Column] = {}
        for axis in search.axes:
            drawn = axis.draw(count, rng)
            for key, column in drawn.items():
                block[key] = _near(axis, column, centres[key], reach, rng)
        yield block
        left -= count


def _near(axis: object, drawn: Column, centre: Column, reach: NDArray[np.float64], rng: np.random.Generator) -> Column:
    """Values near the centres: moved by a share `reach` of the range, or, of a list, those of the centre mostly."""
    if isinstance(drawn, Coded) or isinstance(centre, Coded):
        assert isinstance(drawn, Coded)
        assert isinstance(centre, Coded)
        return Coded(np.where(rng.random(len(reach)) < WIDEST, drawn.codes, centre.codes), drawn.choices)
    shift = reach * rng.uniform(-1, 1, len(reach))
    if isinstance(axis, Continuum):
        return np.clip(centre + shift * (axis.high - axis.low), axis.low, axis.high)
    if isinstance(axis, Steps):
        place = np.rint((centre * axis.scale if axis.real else centre) - axis.low) / axis.step
        moved = np.clip(np.rint(place + shift * axis.count), 0, axis.count - 1)
        return axis.at(moved.astype(np.int64))[axis.key]
    assert isinstance(axis, Values)
    return np.where(rng.random(len(reach)) < WIDEST, drawn, centre)


def _frame(search: Enumeration, priced: Priced, limits: Mapping[str, float]) -> pd.DataFrame:
    shown = {key: priced.columns[key] for key in search.keys}
    frame = priced.frame(shown, _quantities(limits)).drop(columns="infeasible")
    for key, share in zip(limits, _shares(priced, limits), strict=True):
        frame[f"{key}_share"] = share
    return frame


def _nothing(search: Enumeration, nearest: Priced, limits: Mapping[str, float]) -> str:
    row = {str(key): column.iloc[0] for key, column in _frame(search, nearest, limits).items()}
    asked = " and ".join(f"{key} <= {limit:,.0f}" for key, limit in limits.items())
    found = " and ".join(f"{key} {row[key]:,}" for key in limits)
    where = ", ".join(f"{key} = {label(row[key])}" for key in search.keys)
    return f"{search.space.name}: nothing fits {asked}; the smallest found has {found} ({where})"

"""Where the choices of published networks stand in a study: among its designs of equal params, by predicted accuracy.

A published network makes a **choice** for the metaparameters that the study varies. The choice is moved into the study:
its preset, its fixed metaparameters, its data. A million designs are drawn from the study's ranges (uniformly, and evenly
from a simplex) and priced exactly. Those that are feasible, within the study's limits, and within 2 % of the choice's
params are its peers. The choice's standing is the share of peers with lower accuracy in joint draws of the surrogate: a
mean, and a 95 % interval from the quantiles. It describes the smooth surrogate at the study's budget, not the published
network as it was trained.

The population before the winner: Radosavovic and others, 2020, arXiv:2003.13678.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.accuracies import CONFIDENCE
from explorer.analysis.surrogate import Surrogate
from explorer.errors import ExplorerError
from explorer.pricing.enumeration import Block
from explorer.pricing.prices import PRICED, Priced, price_chunks
from explorer.spaces.space import Anchor, label
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import Coordinates, is_ordered
from explorer.study.model import Study

DESIGNS = 1_000_000
"""Designs that are drawn and priced."""
EQUAL = 0.02
"""Params are equal where they differ by at most this share of the choice's."""
PEERS = (100, 2_000)
"""Designs of equal params below which nothing is said, and those that are compared at most, evenly thinned."""
DRAWS = 500
_BLOCK = 1 << 17  # designs that stand in memory together


def published_choices(record: StudyRecord) -> pd.DataFrame:
    """What the published networks of the study's space chose for the metaparameters that it varies, one row for each distinct choice.

    Columns: `name` (the networks that make it, by preset), one for each varied metaparameter (`share_...` for the factors of a simplex),
    `params`, `macs`, `activations` and `model_bytes` (Int64; of the choice in the study's preset with its fixed metaparameters and
    data), `point` (Int64; the number of the study's point with these values, or NA), `note` (text; where a simplex holds another
    product than the published factors have, their shares in it are kept) and `reason` (text; why the choice is left out, such
    as a value outside the study's range, else empty).

    The factors of a simplex are taken from all networks of its space: those that give, say, a depth in their place are scaled by the same ones.
    """
    names: dict[tuple[str, ...], list[str]] = {}
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for anchor in record.study.design_space.anchors:
        row = _choice(record.study, anchor)
        key = tuple(map(label, row.values()))
        found = names.setdefault(key, [])
        found += [name for name in [_name(record.study, anchor)] if name not in found]
        rows.setdefault(key, row)
    priced = [{"name": ", ".join(names[key]), **row, **_costs(record, row)} for key, row in rows.items()]
    columns = ["name", *(axis.name for axis in record.study.form.axes), *PRICED, "point", "note", "reason"]
    return pd.DataFrame(priced, columns=columns).astype(dict.fromkeys([*PRICED, "point"], "Int64"))


def standings(record: StudyRecord, surrogate: Surrogate, choices: pd.DataFrame | None = None) -> pd.DataFrame | None:
    """`published_choices`, or other rows with its columns, with their standing; None where fewer than two numbers vary.

    Added are `equal` (Int64; how many of the million designs are of equal params), and `below`, `below_low` and `below_high`: the share of them,
    in [0, 1], whose predicted accuracy is lower than the choice's, with its 95 % interval. NA and NaN where a choice is left out, NaN
    where fewer than 100 designs are of equal params.
    """
    coordinates = surrogate.coordinates
    if coordinates.numbers < 2:  # noqa: PLR2004 (with one, a design of equal params is the same design)
        return None
    choices = (published_choices(record) if choices is None else choices).reset_index(drop=True)
    settings = {row: float(choices["params"][row]) for row in choices.index if not choices["reason"][row]}
    peers: dict[int, list[NDArray[np.float64]]] = {row: [] for row in settings}
    for priced in _designs(record, coordinates) if settings else ():
        for row, params in settings.items():
            equal = priced[priced.feasible & (np.abs(priced.amounts["params"] - params) <= EQUAL * params)]
            within = equal[_within(record.study, equal.amounts)]
            peers[row].append(coordinates.encode(within.columns))
    found = pd.DataFrame(index=choices.index, columns=["equal", "below", "below_low", "below_high"], dtype=float)
    for row, parts in peers.items():
        places = np.vstack(parts)
        found.loc[row, "equal"] = len(places)
        if len(places) >= PEERS[0]:
            own = coordinates.encode({name: [choices[name][row]] for name in coordinates.names})
            found.loc[row, ["below", "below_low", "below_high"]] = _below(surrogate, own, places)
    return choices.join(found.astype({"equal": "Int64"}))


def _below(surrogate: Surrogate, own: NDArray[np.float64], peers: NDArray[np.float64]) -> list[float]:
    """The share of the peers whose predicted accuracy is lower, with its interval."""
    thinned = peers[np.linspace(0, len(peers) - 1, min(len(peers), PEERS[1])).round().astype(int)]
    drawn = surrogate.process.draws(np.vstack([own, thinned]), DRAWS)
    shares = (drawn[1:] < drawn[0]).mean(axis=0)
    return [float(shares.mean()), *np.quantile(shares, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()]


def _designs(record: StudyRecord, coordinates: Coordinates) -> Iterator[Priced]:
    """The designs, priced, block by block."""
    study, random = record.study, np.random.default_rng(0)

    def blocks() -> Iterator[Block]:
        for start in range(0, DESIGNS, _BLOCK):
            yield coordinates.draw(min(_BLOCK, DESIGNS - start), random)

    quantities = list(dict.fromkeys(["params", *study.constraints]))
    return price_chunks(study.design_space, study.preset, blocks(), quantities, _settings(record))


def _settings(record: StudyRecord) -> dict[str, Any]:
    """What is the same at all points of the study: its fixed metaparameters, those with a single value, and the classes of its data."""
    single = {key: values[0] for key, values in record.study.varied.items() if len(set(map(label, values))) == 1}
    return {**record.study.fixed, **single, "classes": record.classes}


def _within(study: Study, amounts: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which designs keep the study's limits, (designs,)."""
    kept = np.ones(len(amounts["params"]), dtype=bool)
    for key, limits in study.constraints.items():
        kept &= amounts[key] >= (-math.inf if limits.min is None else limits.min)
        kept &= amounts[key] <= (math.inf if limits.max is None else limits.max)
    return kept


def _name(study: Study, anchor: Anchor) -> str:
    """How a published network is called: its preset, and what it gives beside it of what the study varies."""
    given = [f"{key} {label(value)}" for key, value in anchor.metaparameters.items() if key in study.varied]
    return ", ".join([anchor.preset, *given]) if not given else f"{anchor.preset} ({', '.join(given)})"


def _choice(study: Study, anchor: Anchor) -> dict[str, Any]:
    """What a published network chose, by column, with a note and the reason why it is left out."""
    space, form = study.design_space, study.form
    network = space.point(anchor.preset, **anchor.metaparameters)
    chosen = {key: getattr(network, key) for key in study.varied}
    row = form.columns(chosen)
    reasons = []
    try:
        # Given by name, a value that does not act on the network is an error.
        given = {key: value for key, value in chosen.items() if key in row}
        space.point(anchor.preset, **{**anchor.metaparameters, **given})
    except ExplorerError as error:
        reasons.append(str(error))
    reasons += [axis.outside(row[axis.name]) for axis in form.axes]
    return row | {"note": form.note(network), "reason": next(filter(None, reasons), "")}


def _costs(record: StudyRecord, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a choice costs in the study's setting, the number of the point that is the same, and the reason why it is left out."""
    study = record.study
    if row["reason"]:
        return {}
    values = study.form.metaparameters(row)
    quantities = list(dict.fromkeys([*PRICED, *study.constraints]))
    block: Block = {"": np.zeros(1)}
    (priced,) = price_chunks(study.design_space, study.preset, [block], quantities, _settings(record) | values)
    if not priced.feasible[0]:
        return {"reason": priced.reasons[priced.codes[0]]}
    within = _within(study, priced.amounts)[0]
    reason = "" if within else f"outside the study's limits of {', '.join(study.constraints)}"
    costs = {quantity: int(priced.amounts[quantity][0]) for quantity in PRICED}
    return {**costs, "point": _point(record, values), "reason": reason}


def _point(record: StudyRecord, values: Mapping[str, Any]) -> int | None:
    """The number of the study's first point with those values, if it has one."""
    for number, point in enumerate(record.study.design_points()):
        if all(_same(point.metaparameters.get(key), value) for key, value in values.items()):
            return number
    return None


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 (of any metaparameter)
    if is_ordered([one, other]):
        return math.isclose(one, other, rel_tol=1e-9)
    return label(one) == label(other)

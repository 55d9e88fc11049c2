"""Rank the choices of published networks in a study, by predicted accuracy among designs with equal params.

A choice is the values of a published network for the metaparameters that the study varies, combined with the study's
preset, fixed metaparameters and data. A million designs are drawn from the study's ranges and priced. The peers of a
choice are the designs among them that have equal params and meet the study's limits. The percentile of a choice is the
share of peers with a lower accuracy. It refers to the study's surrogate and budget, not to the network as published.
Sources are in docs/methodology.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explorer.analysis.looks import CONFIDENCE
from explorer.analysis.surrogate import Surrogate
from explorer.errors import ExplorerError
from explorer.pricing.enumeration import Block
from explorer.pricing.prices import PRICED, price_chunks
from explorer.spaces.space import Anchor, label
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import is_ordered
from explorer.study.model import Study

DESIGNS = 1_000_000
EQUAL = 0.02
"""Params count as equal if they differ by at most this share of the choice's params."""
FEWEST_PEERS = 100
MOST_PEERS = 2_000  # if there are more, evenly spaced ones are compared
DRAWS = 500
_BLOCK = 1 << 17  # designs in memory at a time


def published_choices(record: StudyRecord, anchors: Sequence[Anchor] | None = None) -> pd.DataFrame:
    """Return one row for each distinct choice of published networks, by default of all networks in the study's space.

    Columns: `name` (of the networks), one for each varied metaparameter (`share_...` for the factors of a simplex),
    `params`, `macs`, `activations` and `model_bytes` (Int64; in the study's setting), `point` (Int64; the number of the
    study's point with these values, or NA), `note` (any change, such as to the product of a simplex) and `reason` (why
    the choice is left out, or empty). On a simplex, networks that set a depth directly get the factors of the others.
    """
    names: dict[tuple[str, ...], list[str]] = {}
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    if record.study.form.training:  # published networks have no values for how they are trained here
        anchors = ()
    for anchor in record.study.design_space.anchors if anchors is None else anchors:
        row = _choice(record.study, anchor)
        key = tuple(map(label, row.values()))
        names.setdefault(key, []).append(_name(record.study, anchor))
        rows.setdefault(key, row)
    priced = [{"name": ", ".join(dict.fromkeys(names[key])), **row, **_costs(record, row)} for key, row in rows.items()]
    columns = ["name", *(axis.name for axis in record.study.form.axes), *PRICED, "point", "note", "reason"]
    return pd.DataFrame(priced, columns=columns).astype(dict.fromkeys([*PRICED, "point"], "Int64"))


def percentiles(record: StudyRecord, surrogate: Surrogate, choices: pd.DataFrame | None = None) -> pd.DataFrame | None:
    """Add percentiles to choices, by default to `published_choices`. Returns None if fewer than two numbers vary.

    Added columns: `equal` (Int64; number of designs with equal params, or NA if the choice is left out), and `below`,
    `below_low` and `below_high`: the share of those designs with a lower predicted accuracy, in [0, 1], with its 95 %
    interval. They are NaN if there are fewer than 100 such designs.
    """
    coordinates = surrogate.coordinates
    if coordinates.numbers < 2:  # noqa: PLR2004 (with only one, equal params would mean equal designs)
        return None
    choices = (published_choices(record) if choices is None else choices).reset_index(drop=True)
    settings = {row: float(choices["params"][row]) for row in choices.index if not choices["reason"][row]}
    peers: dict[int, list[NDArray[np.float64]]] = {row: [] for row in settings}
    study, random = record.study, np.random.default_rng(0)
    starts = range(0, DESIGNS, _BLOCK) if settings else ()
    blocks = (coordinates.draw(min(_BLOCK, DESIGNS - start), random) for start in starts)
    quantities = list(dict.fromkeys(["params", *study.constraints]))
    for priced in price_chunks(study.design_space, study.preset, blocks, quantities, _settings(record)):
        for row, params in settings.items():
            equal = priced[priced.feasible & (np.abs(priced.amounts["params"] - params) <= EQUAL * params)]
            peers[row].append(coordinates.encode(equal[_within(study, equal.amounts)].columns))
    columns = ["equal", "below", "below_low", "below_high"]
    found = pd.DataFrame(index=choices.index, columns=columns, dtype=float)
    for row, parts in peers.items():
        places = np.vstack(parts)
        found.loc[row, "equal"] = len(places)
        if len(places) >= FEWEST_PEERS:
            own = coordinates.encode({name: [choices[name][row]] for name in coordinates.names})
            found.loc[row, columns[1:]] = _below(surrogate, own, places)
    return choices.join(found.astype({"equal": "Int64"}))


def _below(surrogate: Surrogate, own: NDArray[np.float64], peers: NDArray[np.float64]) -> list[float]:
    thinned = peers[np.linspace(0, len(peers) - 1, min(len(peers), MOST_PEERS)).round().astype(int)]
    drawn = surrogate.process.draws(np.vstack([own, thinned]), DRAWS)
    shares = (drawn[1:] < drawn[0]).mean(axis=0)
    return [float(shares.mean()), *np.quantile(shares, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()]


def _settings(record: StudyRecord) -> dict[str, Any]:
    """Return the settings that all points share."""
    single = {key: values[0] for key, values in record.study.varied.items() if len(set(map(label, values))) == 1}
    return {**record.study.fixed, **single, "classes": record.classes}


def _within(study: Study, amounts: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return whether each design meets the study's limits, (designs,)."""
    kept = np.ones(len(amounts["params"]), dtype=bool)
    for key, limits in study.constraints.items():
        kept &= amounts[key] >= (-math.inf if limits.min is None else limits.min)
        kept &= amounts[key] <= (math.inf if limits.max is None else limits.max)
    return kept


def _name(study: Study, anchor: Anchor) -> str:
    given = [f"{key} {label(value)}" for key, value in anchor.metaparameters.items() if key in study.varied]
    return f"{anchor.preset} ({', '.join(given)})" if given else anchor.preset


def _choice(study: Study, anchor: Anchor) -> dict[str, Any]:
    space, form = study.design_space, study.form
    network = space.point(anchor.preset, **anchor.metaparameters)
    chosen = {key: getattr(network, key) for key in study.varied}
    row = form.columns(chosen)
    reasons = [axis.outside(row[axis.name]) for axis in form.axes]
    try:
        # Explicitly setting a value that has no effect on the network is an error.
        given = {key: value for key, value in chosen.items() if key in row}
        space.point(anchor.preset, **{**anchor.metaparameters, **given})
    except ExplorerError as error:
        reasons.insert(0, str(error))
    return row | {"note": form.note(network), "reason": next(filter(None, reasons), "")}


def _costs(record: StudyRecord, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the costs of a choice in the study's setting and its matching point, or why it is left out."""
    study = record.study
    if row["reason"]:
        return {}
    values = study.form.metaparameters(row)
    quantities = list(dict.fromkeys([*PRICED, *study.constraints]))
    block: Block = {"": np.zeros(1)}
    (priced,) = price_chunks(study.design_space, study.preset, [block], quantities, _settings(record) | values)
    if not priced.feasible[0]:
        return {"reason": next(iter(priced.infeasible()))}
    within = _within(study, priced.amounts)[0]
    reason = "" if within else f"outside the study's limits of {', '.join(study.constraints)}"
    costs = {quantity: int(priced.amounts[quantity][0]) for quantity in PRICED}
    return {**costs, "point": _point(record, values), "reason": reason}


def _point(record: StudyRecord, values: Mapping[str, Any]) -> int | None:
    for number, point in enumerate(record.study.design_points()):
        if all(_same(point.metaparameters.get(key), value) for key, value in values.items()):
            return number
    return None


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 (any metaparameter's)
    if is_ordered([one, other]):
        return math.isclose(one, other, rel_tol=1e-9)
    return label(one) == label(other)

"""What a certificate covers of a study: the values of the metaparameters over which its own points varied.

Metaparameters are compared as they act on the network (`Space.effective`), those that a study fixes too. Numbers are
covered from the smallest to the largest of the certificate's, and a little beyond, since its points are drawn at random
from a range; other values are covered if one of its points has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.certification.model import Certificate, shipped_certificates
from explorer.errors import ExplorerError
from explorer.spaces import find_space
from explorer.spaces.space import label
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import is_ordered

BEYOND = 0.1
"""Share of a certificate's range by which a number may be outside of it."""


@dataclass(frozen=True)
class Gap:
    """A metaparameter with values of a study that a certificate does not cover.

    `missing` are these values, `studied` all of the study's, and `certified` the certificate's; all are distinct and,
    if they are numbers, rising.
    """

    key: str
    missing: tuple[Any, ...]
    studied: tuple[Any, ...]
    certified: tuple[Any, ...]


def gaps(certificate: Certificate, record: StudyRecord) -> list[Gap]:
    """Return what a certificate does not cover of the trained points of a study; empty if it covers all."""
    return _gaps(record, [point.values for point in certificate.points])


def gaps_by_default(record: StudyRecord) -> list[Gap]:
    """Return what a certificate would not cover whose points vary over the ranges of the space only."""
    ranges = record.study.design_space.point(record.study.preset).ranges()
    return _gaps(record, [{}, *({key: end} for key, ends in ranges.items() for end in ends)])


def _gaps(record: StudyRecord, certified_points: Sequence[Mapping[str, Any]]) -> list[Gap]:
    study = record.study
    trained = set(record.points.loc[record.points["state"].isin(["planned", "merged"]), "point"])
    points = [point.metaparameters for number, point in enumerate(study.design_points()) if number in trained]
    studied = _values(study.space, study.preset, [study.fixed | values for values in points])
    certified = _values(study.space, study.preset, certified_points)
    found = []
    for key, values in studied.items():
        missing = tuple(value for value in values if not _covered(value, certified.get(key, ())))
        if missing:
            found.append(Gap(key, missing, values, certified.get(key, ())))
    return found


def find_certificate(record: StudyRecord, stored: Iterable[Certificate]) -> Certificate | None:
    """Return the stored or shipped certificate about a study, preferably one that covers all of it, then one for
    exactly its budget; None if there is none.
    """
    every = [(factor, one) for one in (*stored, *shipped_certificates()) if (factor := one.factor_of(record))]
    return min(every, key=lambda found: (len(gaps(found[1], record)), found[0]))[1] if every else None


def _values(space: str, preset: str, points: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return the distinct values of each metaparameter as it acts; those of points that no longer exist are left out.

    The data determine the number of classes.
    """
    family = find_space(space)
    found: dict[str, dict[str, Any]] = {}
    for values in points:
        try:
            acting = family.point(preset, **values).effective()
        except ExplorerError:
            continue
        for key, value in acting.items():
            if key != "classes":
                found.setdefault(key, {}).setdefault(label(value), value)
    return {key: _ordered(tuple(values.values())) for key, values in found.items()}


def _ordered(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(values)) if is_ordered(values) else values


def _covered(value: Any, certified: tuple[Any, ...]) -> bool:  # noqa: ANN401 (of any metaparameter)
    if label(value) in map(label, certified):
        return True
    if len(certified) < 2 or not is_ordered([value, *certified]):  # noqa: PLR2004 (one value is no range)
        return False
    beyond = BEYOND * (certified[-1] - certified[0])
    return bool(certified[0] - beyond <= value <= certified[-1] + beyond)

"""Find out how much of a study a certificate covers, by the metaparameter values of its points.

Metaparameters, including those that the study fixes, are compared by their effect on the network (`Space.effective`).
A number is covered if it lies between the certificate's smallest and largest values, or a little beyond, because the
points were drawn at random from a range. Other values are covered if one of the certificate's points has them.
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
"""How far a number may lie outside a certificate's range, as a share of the range."""


@dataclass(frozen=True)
class Gap:
    """A metaparameter for which a certificate does not cover all values of a study.

    `missing` holds the values that are not covered, `studied` all values in the study, and `certified` the values in
    the certificate. Each holds distinct values, with numbers in ascending order.
    """

    key: str
    missing: tuple[Any, ...]
    studied: tuple[Any, ...]
    certified: tuple[Any, ...]


def gaps(certificate: Certificate, record: StudyRecord) -> list[Gap]:
    """Return the gaps in a certificate's coverage of a study's trained points; empty if it covers everything."""
    return _gaps(record, [point.values for point in certificate.points])


def gaps_by_default(record: StudyRecord) -> list[Gap]:
    """Return the gaps of a certificate with points that vary only over the space's ranges.

    Nothing is known about a preset that the current code no longer has.
    """
    try:
        ranges = record.study.design_space.point(record.study.preset).ranges()
    except ExplorerError:
        return []
    return _gaps(record, [{}, *({key: end} for key, ends in ranges.items() for end in ends[:2])])


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
    """Return the stored or shipped certificate that best fits a study, or None.

    Certificates with full coverage are preferred, then those with an equal budget.
    """
    if record.study.form.training:  # certificates are about networks trained from scratch
        return None
    every = [(factor, one) for one in (*stored, *shipped_certificates()) if (factor := one.factor_of(record))]
    return min(every, key=lambda found: (len(gaps(found[1], record)), found[0]))[1] if every else None


def _values(space: str, preset: str, points: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return the distinct effective values of each metaparameter. Points that no longer exist are skipped.

    The number of classes is skipped too, because it depends on the data.
    """
    family = find_space(space)
    found: dict[str, dict[Any, None]] = {}
    for values in points:
        try:
            acting = family.point(preset, **values).effective()
        except ExplorerError:
            continue
        for key, value in acting.items():
            if key != "classes":
                found.setdefault(key, {})[value] = None
    return {key: _ordered(tuple(values)) for key, values in found.items()}


def _ordered(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(values)) if is_ordered(values) else values


def _covered(value: Any, certified: tuple[Any, ...]) -> bool:  # noqa: ANN401 (any metaparameter's)
    if label(value) in map(label, certified):
        return True
    if len(certified) < 2 or not is_ordered([value, *certified]):  # noqa: PLR2004 (one value has no range)
        return False
    beyond = BEYOND * (certified[-1] - certified[0])
    return bool(certified[0] - beyond <= value <= certified[-1] + beyond)

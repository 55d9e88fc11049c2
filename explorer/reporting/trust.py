"""Sentences on how far short runs can be trusted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from explorer.analysis import Interval
from explorer.certification.coverage import Gap, gaps, gaps_by_default
from explorer.certification.model import COSTS, ENOUGH_POINTS, FACTORS, Certificate
from explorer.certification.statistics import BEST, above_macs, complete, rankers
from explorer.networks.quantities import QUANTITIES, counted
from explorer.reporting.answer import longer_epochs
from explorer.reporting.words import column_interval, command_words, given_options, listed, with_interval
from explorer.spaces.space import label
from explorer.storage.record import StudyRecord
from explorer.study.coordinates import is_ordered
from explorer.study.files import builtin_studies
from explorer.training.recipe import Budget, Recipe

MOST_VALUES = 4  # values of a metaparameter per sentence

NEARLY = 0.9
"""Short runs rank nearly as well as long ones if they reach at least this share of the tau of another long run."""


def plainly(certificate: Certificate, factor: int = 1) -> str:
    """Say in one sentence how well runs with `factor` times the certificate's budget rank networks."""
    found = rankers(certificate)
    short = found[(found["ranker"] == "accuracy") & (found["factor"] == factor)].iloc[0]["kendall"]
    ceiling = found[found["ranker"] == "ceiling"].iloc[0]["kendall"]
    how = "nearly as well as" if short >= NEARLY * ceiling else "less well than"
    return (
        f"Short runs rank {certificate.space} networks on {certificate.data} {how} long ones: Kendall's tau is "
        f"{short:.2f}, where another seed of the long runs reaches {ceiling:.2f}."
    )


def trust(certificate: Certificate, factor: int = 1) -> list[str]:
    """Describe how well runs with `factor` times the certificate's budget rank networks."""
    found = rankers(certificate)
    rows = found.drop_duplicates("ranker").set_index("ranker").to_dict(orient="index")
    ceiling, flops = rows["ceiling"], QUANTITIES["macs"].noun
    alone = listed([f"{QUANTITIES[cost].noun} alone {rows[cost]['kendall']:.2f}" for cost in COSTS])
    short = found[(found["ranker"] == "accuracy") & (found["factor"] == factor)].iloc[0].to_dict()
    above = [
        f"{other}x: {with_interval(difference, '+.2f')}, {_verdict(difference)}"
        for other, difference in ((other, above_macs(certificate, other)) for other in FACTORS[:-1])
    ]
    budget, seeds = certificate.budget.times(factor), certificate.seeds
    longest = certificate.budget.times(FACTORS[-1]).epochs
    agreement = (
        f"Over {len(complete(certificate))} points of {certificate.space} on {certificate.data}, single runs of "
        f"{counted(budget.epochs, 'epoch')} of {budget.images:,} images agree with runs of {longest} epochs at a "
        f"Kendall's tau of {column_interval(short, 'kendall')}. Another seed of the long runs reaches "
        f"{column_interval(ceiling, 'kendall')}, {alone}. Of the {BEST} best points, the short runs keep "
        f"{short['kept']:.1f} and another seed of the long runs {ceiling['kept']:.1f}."
    )
    start = f"Kendall's tau for short runs minus the tau for {flops} alone, on the same points"
    said = [agreement, f"{start}, at multiples of {certificate.budget.short}: {'; '.join(above)}."]
    pairs = next((one for one in certificate.pairs if one.factor == factor), None)
    if pairs and pairs.total:
        rest = pairs.total - pairs.same - pairs.opposite
        said.append(
            f"The long runs ({seeds} seeds) separate {pairs.total} pairs of points. Runs of this budget separate "
            f"{pairs.same} of them the same way and {pairs.opposite} the other way, and do not separate {rest}. "
            f"{flops} alone order {pairs.by_macs} of them the same way."
        )
    return said


def missing_points(certificate: Certificate) -> list[str]:
    """List the shortcomings of a certificate."""
    said = []
    if certificate.unfinished:
        said.append(f"{certificate.unfinished} runs have not finished, so their points are left out.")
    if not certificate.is_enough:
        said.append(
            f"{len(certificate.complete)} points only show that everything works; studies use certificates with "
            f"{ENOUGH_POINTS} points or more."
        )
    return said


def not_certified(record: StudyRecord, certificate: Certificate | None) -> str:
    """Return a note for the verdicts about gaps in certification; empty if a certificate covers the whole study."""
    if record.study.form.training:
        return "Not certified: certificates are about networks trained from scratch."
    if certificate is None:
        return "Not certified: no certificate covers this space, data, recipe and budget."
    found = "; ".join(map(_gap, gaps(certificate, record)))
    return f"Not certified: {found}." if found else ""


def settled_by(record: StudyRecord, certificate: Certificate | None) -> list[str]:
    """Return commands that would close gaps in certification; empty if a certificate covers the whole study."""
    missing = not_certified(record, certificate)
    if not missing:
        return []
    top = f"`--budget {record.study.budget.images}x{longer_epochs(record.study)}`"
    longer = (
        f"A search with a larger top rung ({top}) shows what longer runs find."
        if record.study.form.grows
        else f"`{shlex.join(_longer(record))}` shows what longer runs find."
    )
    if record.study.form.own_budget:
        return [f"{missing} It is unknown whether runs this short rank these networks the way longer runs do."]
    said = [f"{missing} It is unknown whether runs this short rank these networks the way longer runs do. {longer}"]
    study = record.study
    # The command always uses the default recipe and the default number of validation images.
    if not study.form.training and study.recipe == Recipe() and study.budget.validation == Budget().validation:
        command = ["python", "-m", "explorer", "certify", study.space, "--preset", study.preset, "--data", study.data]
        command += ["--budget", study.budget.short, *given_options(record.command, "--data-dir", "--storage")]
        command += _varied(gaps(certificate, record) if certificate else gaps_by_default(record))
        said.append(
            f"`{shlex.join(command)}` makes a certificate; one with half or a quarter of the epochs also covers this "
            "budget."
        )
    return said


def _gap(gap: Gap) -> str:
    """Describe a gap: `bypass = simple, complex (certified: none)`."""
    missing, certified = (list(map(label, values)) for values in (gap.missing, gap.certified))
    some = missing[:MOST_VALUES] + ([f"{len(missing) - MOST_VALUES} more"] if missing[MOST_VALUES:] else [])
    numbers = len(certified) > 1 and is_ordered(gap.certified)
    known = f"{gap.certified[0]:.3g} to {gap.certified[-1]:.3g}" if numbers else ", ".join(certified)
    return f"{gap.key} = {', '.join(some)} (certified: {known or 'unknown'})"


def _longer(record: StudyRecord) -> list[str]:
    """Return the command for the same sweep with more epochs."""
    study, words = record.study, command_words(record.command)
    if "sweep" not in words:
        name = study.name.partition("@")[0].partition("~")[0]
        words = ["python", "-m", "explorer", "sweep", name if name in builtin_studies() else f"{name}.toml"]
        words += ["--data", study.data, "--images", str(study.budget.images), "--seeds", str(study.seeds)]
    kept: list[str] = []
    for word in words:
        if kept[-1:] == ["--epochs"]:
            kept.pop()
        elif not word.startswith("--epochs="):
            kept.append(word)
    if "--quick" in kept:
        return [word for word in kept if word != "--quick"]
    return [*kept, "--epochs", str(longer_epochs(study))]


def _varied(found: Sequence[Gap]) -> list[str]:
    """Return the `certify` options that vary the missing metaparameters."""
    options = []
    for gap in found:
        if is_ordered([*gap.studied, *gap.certified]):
            low, high = min(*gap.studied, *gap.certified), max(*gap.studied, *gap.certified)
            values = f"{low:g}..{high:g}"
        else:
            values = ",".join(map(_written, gap.studied))
            values = f"[{values}]" if "[" in values else values
        options += ["--vary", f"{gap.key}={values}"]
    return options


def _written(value: Any) -> str:  # noqa: ANN401 (of any metaparameter)
    """Write a value the way commands take it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _verdict(above: Interval) -> str:
    if not above.separated:
        return "not separated"
    return f"{'runs' if above.estimate > 0 else QUANTITIES['macs'].noun} rank better"

"""Passages of the docs that are made from committed reports, certificates and docstrings.

Pages call these functions between `[[[cog` and `]]]`, and `make docs` writes their output below the call. In this way,
a page states only results that a report states. A test finds pages that are not current.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import griffe
import pandas as pd

import explorer
from explorer.certification.model import FACTORS, ZERO_COST, Certificate, shipped_certificates
from explorer.certification.statistics import above_macs, complete, rankers
from explorer.drawing import maps, plots
from explorer.spaces import all_spaces, find_space
from explorer.training.recipe import Budget

EXAMPLES = Path(__file__).parent.parent / "reports" / "examples"
WIDTH = 120
ONE_LINE = 100  # characters of a signature

# Reports.


def summary(name: str) -> dict[str, Any]:
    """Return the summary of a committed report: its title, answer and verdicts."""
    return json.loads((EXAMPLES / name / "summary.json").read_text(encoding="utf-8"))


def answer(name: str) -> None:
    """Print the answer of a report as a quote."""
    print(textwrap.fill(summary(name)["answer"], WIDTH, initial_indent="> ", subsequent_indent="> "))


def claims(name: str) -> None:
    """Print the claims that a report judged, each with its verdict."""
    judged = explorer.load_study(name.partition("@")[0]).claims
    for claim, verdict in zip(judged, summary(name)["verdicts"], strict=True):
        print(textwrap.fill(f"- **{verdict.capitalize()}**: {claim.claim}", WIDTH, subsequent_indent="  "))


def ends(name: str, key: str) -> None:
    """Print a sentence with the accuracies at the smallest and the largest value of a metaparameter."""
    points = _points(name).sort_values(key)
    low, high = (points.iloc[place] for place in (0, -1))
    words = key.replace("_", " ")
    said = f"Accuracy is {_accuracy(low)} at a {words} of {low[key]:g} and {_accuracy(high)} at {high[key]:g}."
    print(textwrap.fill(said, WIDTH))


def accuracies(name: str, key: str) -> None:
    """Print a table of the accuracies over a metaparameter."""
    points = _points(name).sort_values(key)
    half = 50 * (points["high"] - points["low"]).mean()
    values = points[key].map("{:g}".format)
    _table([key.replace("_", " "), *values, "95 % interval"], [["accuracy, %", *_percents(points), f"± {half:.1f}"]])


def scaling(name: str) -> None:
    """Print a table of series at nearly equal cost, in multiples of the base network, which is the cheapest."""
    points = _points(name)
    base = points[points["macs"] == points["macs"].min()].iloc[0]
    above = points[points["macs"] > base["macs"]].sort_values("macs")
    series = above.groupby("series", sort=False)["accuracy"].apply(lambda found: [f"{100 * one:.1f}" for one in found])
    times = (above.groupby(above.groupby("series").cumcount())["macs"].mean() / base["macs"]).map("{:.1f} times".format)
    rows = [[name, *found] for name, found in series.items()]
    _table([f"multiply-adds of the base network, which has {_accuracy(base)}", *times], rows)


def _points(name: str) -> pd.DataFrame:
    points = pd.read_parquet(EXAMPLES / name / "points.parquet")
    return points[points["state"] == "done"]


def _accuracy(point: pd.Series[Any]) -> str:
    return f"{100 * point['accuracy']:.1f} % ({100 * point['low']:.1f} to {100 * point['high']:.1f})"


def _percents(points: pd.DataFrame) -> list[str]:
    return [f"{100 * accuracy:.1f}" for accuracy in points["accuracy"]]


# Certificates.


def trust() -> None:
    """Print a table of the shipped certificates: how well short runs rank networks."""
    header = ["space, data", "default budget", "4 times", "another seed of the long run", "multiply-adds alone"]
    rows = []
    for one in _by_default():
        found = _taus(one)
        taus = [found["accuracy", factor]["kendall"] for factor in (1, 4)]
        others = [taus[1], found["ceiling", FACTORS[-1]]["kendall"], found["macs", 0]["kendall"]]
        first = _interval(found["accuracy", 1])
        rows.append([_named(one), first, *map("{:.2f}".format, others)])
    _table(header, rows)
    better = [_named(one) for one in _by_default() if above_macs(one, 1).low > 0]
    if better:
        print(f"\nOnly for {'; '.join(better)} is a default run shown to rank better than multiply-adds alone.")
    else:
        print("\nFor none of them has a default run been shown to rank networks better than multiply-adds alone.")


def _by_default() -> list[Certificate]:
    """Return the shipped certificates that start at the default budget."""
    return [one for one in shipped_certificates() if one.budget == Budget()]


def certificates(budget: str) -> None:
    """Print a table with all figures of the shipped certificates that start at a budget, one column each."""
    made = [one for one in shipped_certificates() if one.budget.short == budget]
    found = [_taus(one) for one in made]
    factors = FACTORS[:-1]
    default = next(factor for factor in factors if made[0].budget.times(factor) == Budget())
    names = {factor: _times(factor / default) for factor in factors}
    rows = [["", *(f"{len(complete(one))} points, {one.seeds} seeds" for one in made)]]
    rows.append(["**Kendall's tau with long runs**", *("" for _ in made)])
    rows += [[names[factor], *(_interval(one["accuracy", factor]) for one in found)] for factor in names]
    rows.append(["ceiling: another seed of the long runs", *(_interval(one["ceiling", FACTORS[-1]]) for one in found)])
    rows.append(["mean training loss of a default run", *(_interval(one["training loss", default]) for one in found)])
    for cost, noun in (
        ("macs", "multiply-adds alone"),
        ("params", "params alone"),
        (ZERO_COST, "synaptic flow, untrained"),
    ):
        rows.append([noun, *(_interval(one[cost, 0]) for one in found)])
    rows.append(["**Short runs less multiply-adds alone**", *("" for _ in made)])
    for factor, name in names.items():
        less = [above_macs(one, factor) for one in made]
        rows.append([name, *(f"{one.estimate:+.2f} ({one.low:.2f} to {one.high:.2f})" for one in less)])
    kept = [[one[row]["kept"] for row in (("accuracy", default), ("ceiling", FACTORS[-1]))] for one in found]
    rows.append(["**Of the 5 best points**, kept by a default run (ceiling)", *(f"{a:.1f} ({b:.1f})" for a, b in kept)])
    pairs = [next(pair for pair in one.pairs if pair.factor == default) for one in made]
    rows.append(["**Pairs separated by long runs**", *(str(one.total) for one in pairs)])
    rows.append(["separated the same way by default runs", *(str(one.same) for one in pairs)])
    rows.append(["not separated", *(str(one.total - one.same - one.opposite) for one in pairs)])
    rows.append(["separated the other way", *(str(one.opposite) for one in pairs)])
    rows.append(["ordered the same way by multiply-adds", *(str(one.by_macs) for one in pairs)])
    _table(["", *map(_named, made)], rows)


def _times(factor: float) -> str:
    return "default budget" if factor == 1 else "half of it" if factor == 1 / 2 else f"{factor:g} times"


def not_certified() -> None:
    """Print the spaces without a certificate."""
    certified = {one.space for one in shipped_certificates()} | {"families", "stacks"}
    others = [space.__name__ for name, space in all_spaces().items() if name not in certified]
    print(textwrap.fill(f"Not certified: {', '.join(others)}.", WIDTH))


def _named(certificate: Certificate) -> str:
    return f"{find_space(certificate.space).__name__}, {certificate.data}"


def _taus(certificate: Certificate) -> dict[tuple[str, int], dict[str, float]]:
    """Return the rankers of a certificate by name and factor of the budget, which is 0 for costs."""
    rows = rankers(certificate).to_dict(orient="records")
    return {(row["ranker"], 0 if pd.isna(row["factor"]) else int(row["factor"])): row for row in rows}


def _interval(row: dict[str, float]) -> str:
    return f"{row['kendall']:.2f} ({row['kendall_low']:.2f} to {row['kendall_high']:.2f})"


# The API.


def api() -> None:
    """Print all public functions, records and errors with their docstrings."""
    public = {name: getattr(explorer, name) for name in explorer.__all__}
    functions = {name: one for name, one in public.items() if inspect.isfunction(one)}
    classes = {name: one for name, one in public.items() if inspect.isclass(one)}
    for function in functions.values():
        classes |= dict(_records(function))
    for name, one in functions.items():
        print(textwrap.fill(f"- [`{name}`](#{name}): {_first(one)}", WIDTH, subsequent_indent="  "))
    for name, function in functions.items():
        _section(name, f"explorer.{name}", function)
    print("\n## Records and errors")
    for name, one in classes.items():
        _class(name, one)
    for module in (plots, maps):
        title = module.__name__.rpartition(".")[2]
        print(f"\n## explorer.{title}\n\n{_first(module)}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                _section(f"{title}.{name}", f"{title}.{name}", function)


def _section(title: str, name: str, function: Callable[..., Any]) -> None:
    print(f"\n### {title}\n\n```python\n{_signature(name, function)}\n```\n")
    print(_text(function))


def _class(name: str, one: type) -> None:
    print(f"\n### {name}\n\n{_text(one)}")
    if dataclasses.is_dataclass(one):
        print("\n" + "\n".join(f"- `{field.name}`: `{field.type}`" for field in dataclasses.fields(one)))
    for key, method in vars(one).items():
        if inspect.isfunction(method) and method.__doc__ and not key.startswith("_"):
            print(_item(_signature(key, method), _first(method)))


def _records(function: Callable[..., Any]) -> Iterator[tuple[str, type]]:
    """Yield the classes of this package that a function returns."""
    names = vars(sys.modules[function.__module__])
    for word in re.findall(r"\w+", str(inspect.signature(function).return_annotation)):
        found = names.get(word)
        if inspect.isclass(found) and found.__module__.startswith("explorer"):
            yield word, found


def _signature(name: str, function: Callable[..., Any]) -> str:
    parts, kinds = [], set()
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not kinds & {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL}:
            parts.append("*")
        kinds.add(parameter.kind)
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{stars}{parameter.name}: {parameter.annotation}{default}")
    returned = signature.return_annotation
    line = f"{name}({', '.join(parts)}) -> {returned}"
    if len(line) <= ONE_LINE:
        return line
    return "\n    ".join([f"{name}(", *(f"{one}," for one in parts)]) + f"\n) -> {returned}"


def _text(documented: object) -> str:
    """Convert a docstring in Google style to Markdown."""
    one_item = {"returns_multiple_items": False, "returns_named_value": False}
    sections = griffe.Docstring(inspect.getdoc(documented) or "").parse("google", warnings=False, **one_item)
    said = []
    for section in sections:
        if section.kind is griffe.DocstringSectionKind.text:
            said.append(section.value)
        elif section.kind is griffe.DocstringSectionKind.parameters:
            said.append("\n".join(_item(one.name, one.description) for one in section.value))
        elif section.kind is griffe.DocstringSectionKind.returns:
            # Types are in the signature, so what the parser takes for one is the text before a colon.
            texts = (": ".join(map(str, filter(None, (one.annotation, one.description)))) for one in section.value)
            said += [textwrap.fill(f"Returns: {_line(text)}", WIDTH) for text in texts]
        elif section.kind is griffe.DocstringSectionKind.raises:
            raised = (f"Raises `{one.annotation}`: {_line(one.description)}" for one in section.value)
            said += [textwrap.fill(one, WIDTH) for one in raised]
    return "\n\n".join(said)


def _item(name: str, text: str) -> str:
    return textwrap.fill(f"- `{name}`: {_line(text)}", WIDTH, subsequent_indent="  ")


def _first(documented: object) -> str:
    return _line((inspect.getdoc(documented) or "").partition("\n\n")[0])


def _line(text: str) -> str:
    return " ".join(text.split())


def _table(header: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(header)} |")
    print("|---" * len(header) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")

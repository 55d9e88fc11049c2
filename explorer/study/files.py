"""Find, read and check the files of studies."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from explorer.errors import ExplorerError, unknown
from explorer.files import user_path
from explorer.networks.quantities import computed, read_count
from explorer.spaces.space import label, rule
from explorer.study.claims import CLAIMS, Above, BestAtEqualCost, Claim, Falls, LevelsOff, NoWorse, RisesWith, Slower
from explorer.study.forms import form_tables
from explorer.study.model import Range, Study
from explorer.study.values import Value


def studies_folder() -> Path:
    """Return the folder of the built-in studies, in the installed package or next to it in a clone."""
    package = Path(str(files("explorer")))
    inside, beside = package / "studies", package.parent / "studies"
    return inside if inside.is_dir() else beside


def builtin_studies() -> dict[str, Path]:
    """Return the files of the built-in studies by name."""
    return {path.stem: path for path in sorted(studies_folder().glob("*.toml"))}


def published_curve_file(name: str) -> Path:
    """Return the file of a published curve, `studies/published/NAME.csv`; raise `ExplorerError` if it is unknown."""
    found = {path.stem: path for path in (studies_folder() / "published").glob("*.csv")}
    if name not in found:
        raise unknown("published curve", name, found)
    return found[name]


def load_study(
    name_or_path: str | Path,
    *,
    data: str | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    images: int | str | None = None,
    until_decided: bool = False,
    quick: bool = False,
    data_dir: str | Path | None = None,
) -> Study:
    """Load a built-in study by name, or a study file. Changed settings become part of its name.

    `data` is `cifar10`, `proxy`, or a folder of images in class sub-folders. `seeds` is the number of runs per point.
    `until_decided` trains only as many of them as the claims need (see `explorer.sweep`). `quick` cuts the study down
    to a trial run of less than a minute, and prepares the data (CIFAR-10 from `data_dir`). Raises `ExplorerError` if
    the study is unknown, or if a key or value is invalid.
    """
    study = _find(str(name_or_path)).override(data=data)
    if quick:
        from explorer.data import find_source
        from explorer.study.plan import quick as cut_down

        source = find_source(study.data, data_dir, beside=study.form.source_data)
        study = cut_down(study, source.class_count, len(source.prepare().split().train))
    number = None if images is None else read_count("images", images)
    return study.override(seeds=seeds, epochs=epochs, images=number, until_decided=until_decided or None)


def _find(name: str) -> Study:
    builtin = builtin_studies()
    if name in builtin:
        return _read(builtin[name])
    path = user_path(name)
    if path.suffix == ".toml" or path.is_file():
        return _read(path)
    raise unknown("study", name, builtin)


def _read(path: Path) -> Study:
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows add a byte-order mark
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ExplorerError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        size = re.search(r"=\s*(\d[\d_.]*[kKMGTgmt]i?B?)\s*(?=[,}#\n]|$)", text)
        hint = f'; write sizes in quotes: "{size[1]}"' if size else ""
        raise ExplorerError(f"{path}: not valid TOML: {error}{hint}") from None
    for key in ("name", "text", "form"):
        if key in values:
            hint = "; a study is named after its file" if key == "name" else ""
            raise ExplorerError(f"{path}: {key}: not a key of a study file{hint}")
    try:
        study = Study.model_validate({**values, "name": _name(path), "text": text})
        _check(study)
    except ValidationError as error:
        raise ExplorerError(f"{path}: {_mistake(error)}") from None
    except ExplorerError as error:
        raise ExplorerError(f"{path}: {error}") from None
    return study


def _name(path: Path) -> str:
    """Derive the name of a study from its file name. Undecodable bytes become underscores."""
    return re.sub("[\ud800-\udfff]", "_", path.stem)


def _mistake(error: ValidationError) -> str:
    # A misspelt key also counts as a missing key, which is less informative.
    details = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    kind, place, value = details["type"], details["loc"], label(details["input"])
    where = ".".join(map(str, place))
    if place[:1] == ("claims",) and len(place) > 1:
        # Count claims from one, and leave out the form.
        where = ": ".join([f"claim {int(place[1]) + 1}", *(str(part) for part in place[2:] if part not in CLAIMS)])
    if kind == "extra_forbidden":
        *parents, key = place
        if parents[:1] == ["claims"]:
            keys = CLAIMS[str(parents[2])].model_fields
            return f"claim {int(parents[1]) + 1}: {unknown('key', str(key), keys, _form(parents[2]))}"
        return str(unknown("key", str(key), _keys(parents)))
    if kind == "union_tag_invalid":
        return f"{where}: {unknown('form of a claim', details['ctx']['tag'], CLAIMS)}"
    if kind == "missing":
        of_claim = place[:1] == ("claims",) and len(place) > 2 and place[2] in CLAIMS  # noqa: PLR2004 (number, form)
        return f"{where}: this key is required{f'; {_form(place[2])}' if of_claim else ''}"
    if kind in {"model_type", "dict_type"}:
        return f"{where} = {value}: should be a table, {{ key = value }}"
    return f"{where} = {value}: {rule(details)}"


def _form(name: Any) -> str:  # noqa: ANN401 (part of a place)
    keys = CLAIMS[str(name)].model_fields
    needed = ", ".join(key for key, field in keys.items() if field.is_required())
    others = ", ".join(key for key, field in keys.items() if not field.is_required())
    return f"a claim of the form {str(name)!r} has the keys {needed}{f', and may have {others}' if others else ''}"


def _keys(parents: Sequence[Any]) -> set[str]:
    tables = {**form_tables(), **Study.model_fields}
    if not parents:
        return tables.keys() - {"name", "text", "form"}
    model = tables[parents[0]].annotation
    # Tables inside a table, for example in constraints, are ranges.
    return set(model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else Range.model_fields)


def _check(study: Study) -> None:
    if study.plot.published is not None:
        published_curve_file(study.plot.published)
    _check_measured(study, study.plot.against)
    limits = (*computed(), *study.design_space.derived)
    for key in study.constraints:
        if key not in limits:
            raise unknown("key of constraints", key, limits)
    study.form.check(study.preset, study.fixed)
    study.check_rounds()
    points = list(study.design_points())
    names = {"label": {point.label for point in points}, "series": {point.series for point in points}}
    for number, claim in enumerate(study.claims, start=1):
        try:
            _check_claim(study, claim, names)
        except ExplorerError as error:
            raise ExplorerError(f"claim {number}: {error}") from None


def _check_claim(study: Study, claim: Claim, names: Mapping[str, set[str]]) -> None:
    if isinstance(claim, BestAtEqualCost | RisesWith):
        _check_measured(study, claim.cost)
    if isinstance(claim, Above | NoWorse | Slower):
        for selector in claim.selectors:
            _check_values(study, {key: value for key, value in selector.items() if key not in names})
            for key in names.keys() & selector.keys():
                if selector[key] not in names[key]:
                    raise unknown(f"{key} of a point", label(selector[key]), names[key])
    elif isinstance(claim, Falls | LevelsOff):
        _check_values(study, claim.where | {claim.over: claim.below if isinstance(claim, Falls) else claim.at})
    elif isinstance(claim, BestAtEqualCost) and claim.series not in names["series"]:
        raise unknown("series", claim.series, names["series"])


def _check_measured(study: Study, cost: str) -> None:
    """Raise `ExplorerError` if the runs of this study do not measure a cost."""
    known = (*computed(), *study.form.measures)
    if cost not in known:
        raise unknown("cost in this study", cost, known)


def _check_values(study: Study, named: Mapping[str, Value]) -> None:
    for key, value in named.items():
        if key not in study.varied:
            raise unknown("metaparameter that varies here", key, study.varied)
        values = [known for known in study.varied[key] if known is not None]
        if value not in values:
            raise unknown(f"value of {key}", label(value), map(label, values))

"""Studies: a question in a file, checked before anything is trained."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from explorer.errors import ExplorerError, unknown
from explorer.layers import QUANTITIES
from explorer.recipe import Budget, Recipe
from explorer.space import Space, label, rule
from explorer.spaces import find_space

Quantity = Literal["params", "macs", "activations", "model_bytes"]


def _plain(value: object) -> object:
    """Lists of a file become tuples, which can be compared, hashed and kept."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


Value = Annotated[bool | int | float | str | tuple[Any, ...], BeforeValidator(_plain)]


class Model(BaseModel):
    """What all parts of a study file share: frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Range(Model):
    """Limits of a cost; what lies outside is over budget and not trained."""

    min: float | None = None
    max: float | None = None


class Plot(Model):
    """How the curve is drawn: against which cost, and the published curve that stands beside it."""

    against: Quantity = "params"
    published: str | None = None


class Study(Model):
    """A question: a space, what varies, what is held fixed, limits of cost, and how accuracy is measured."""

    name: Annotated[str, Field(min_length=1)]
    title: Annotated[str, Field(min_length=1)]
    space: str
    preset: str
    fixed: dict[str, Value] = {}
    vary: Annotated[dict[str, Annotated[list[Value], Field(min_length=1)]], Field(min_length=1)]
    constraints: dict[Quantity, Range] = {}
    data: str = "proxy"
    recipe: Recipe = Recipe()
    budget: Budget = Budget()
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    plot: Plot = Plot()
    text: str = ""

    @property
    def design_space(self) -> type[Space]:
        """The space that the study explores."""
        return find_space(self.space)

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all that decides the study's results but the data, which their fingerprint names."""
        settings = self.model_dump(mode="json", exclude={"name", "title", "plot", "text", "data"})
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    @property
    def grid_size(self) -> int:
        """Number of design points before any is dropped."""
        return math.prod(map(len, self.vary.values()))

    def grid(self) -> Iterator[dict[str, Value]]:
        """The varied metaparameters of each design point, the last one changing fastest."""
        for values in itertools.product(*self.vary.values()):
            yield dict(zip(self.vary, values, strict=True))

    def override(
        self,
        *,
        data: str | None = None,
        seeds: int | None = None,
        epochs: int | None = None,
        images: int | None = None,
    ) -> Self:
        """The study with other settings; each that differs becomes part of its name, `squeeze_ratio@cifar10-seeds5`."""
        budget = {key: value for key, value in {"images": images, "epochs": epochs}.items() if value is not None}
        try:
            changed = type(self).model_validate(
                self.model_dump()
                | {"budget": self.budget.model_dump() | budget}
                | ({} if data is None else {"data": data})
                | ({} if seeds is None else {"seeds": seeds})
            )
        except ValidationError as error:
            details = error.errors()[0]
            raise ExplorerError(f"{details['loc'][-1]} = {label(details['input'])}: {rule(details)}") from None
        parts = [] if changed.data == self.data else [data_label(changed.data)]
        parts += [f"images{changed.budget.images}"] if changed.budget.images != self.budget.images else []
        parts += [f"epochs{changed.budget.epochs}"] if changed.budget.epochs != self.budget.epochs else []
        parts += [f"seeds{changed.seeds}"] if changed.seeds != self.seeds else []
        return changed.renamed(parts)

    def renamed(self, parts: list[str]) -> Self:
        """The study under its name with `@` and the parts behind it, joined to those that it already has."""
        if not parts:
            return self
        base, _, before = self.name.partition("@")
        suffix = "-".join([before, *parts] if before else parts)
        return self.model_copy(update={"name": f"{base}@{suffix}"})


def data_label(data: str) -> str:
    """How a data set is called in a study's name: a built-in's own name, or the name of the folder."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", Path(data).name).strip("._") or "data"


def studies_folder() -> Path:
    """The built-in studies: inside the installed package, or beside it in a clone."""
    package = Path(str(files("explorer")))
    inside, beside = package / "studies", package.parent / "studies"
    return inside if inside.is_dir() else beside


def builtin_studies() -> dict[str, Path]:
    """The files of the built-in studies by name."""
    return {path.stem: path for path in sorted(studies_folder().glob("*.toml"))}


def published_curve_file(name: str) -> Path:
    """The file of a published curve, `studies/published/NAME.csv`; an unknown name is an error that says the nearest."""
    found = {path.stem: path for path in (studies_folder() / "published").glob("*.csv")}
    if name not in found:
        raise unknown("published curve", name, found)
    return found[name]


def load_study(name_or_path: str | Path) -> Study:
    """The study of a built-in name or of a file; errors name the file, the key, the value and the rule."""
    name = str(name_or_path)
    builtin = builtin_studies()
    if name in builtin:
        return _read(builtin[name])
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return _read(path)
    raise unknown("study", name, builtin)


def _read(path: Path) -> Study:
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ExplorerError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ExplorerError(f"{path}: not valid TOML: {error}") from None
    for key in ("name", "text"):
        if key in values:
            raise ExplorerError(f"{path}: {key}: not a key of a study file; the file's own name is the study's name")
    try:
        study = Study.model_validate({**values, "name": path.stem, "text": text})
        _check_space(study)
    except ValidationError as error:
        raise _mistake(path, error) from None
    except ExplorerError as error:
        raise ExplorerError(f"{path}: {error}") from None
    return study


def _mistake(path: Path, error: ValidationError) -> ExplorerError:
    # A misspelt key shows as two mistakes, of which the missing key says less.
    details = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        *parents, key = details["loc"]
        models: dict[tuple[Any, ...], type[BaseModel]] = {("recipe",): Recipe, ("budget",): Budget, ("plot",): Plot}
        fields = set(models.get(tuple(parents), Range if parents else Study).model_fields) - {"name", "text"}
        return ExplorerError(f"{path}: {unknown('key', str(key), fields)}")
    if details["type"] == "missing":
        return ExplorerError(f"{path}: {where}: this key is required")
    if details["loc"][-1] == "[key]":
        table = details["loc"][0]
        return ExplorerError(f"{path}: {unknown(f'key of {table}', str(details['input']), QUANTITIES)}")
    if details["type"] in {"model_type", "dict_type"}:
        return ExplorerError(f"{path}: {where} = {label(details['input'])}: should be a table, {{ key = value }}")
    return ExplorerError(f"{path}: {where} = {label(details['input'])}: {rule(details)}")


def _check_space(study: Study) -> None:
    """Every metaparameter must exist in the space, and every value keep its rule."""
    space = study.design_space
    if study.plot.published is not None:
        published_curve_file(study.plot.published)
    twice = study.fixed.keys() & study.vary.keys()
    if twice:
        raise ExplorerError(f"vary.{min(twice)}: stands under [fixed] as well")
    space.point(study.preset, **study.fixed)
    if "classes" in study.vary:
        raise ExplorerError("vary.classes: the number of classes is that of the data")
    for key, values in study.vary.items():
        for value in values:
            space.point(study.preset, **study.fixed | {key: value})
        if len(set(map(label, values))) < len(values):
            raise ExplorerError(f"vary.{key} = {[label(value) for value in values]}: a value stands there twice")


def thinned(vary: Mapping[str, list[Value]], most: int) -> dict[str, list[Value]]:
    """The grid with at most `most` points: the longest lists are shortened first, and what stays is evenly spread."""
    lengths = {key: len(values) for key, values in vary.items()}
    while math.prod(lengths.values()) > most:
        lengths[max(lengths, key=lambda key: lengths[key])] -= 1
    return {key: [vary[key][place] for place in _evenly(len(vary[key]), length)] for key, length in lengths.items()}


def _evenly(count: int, chosen: int) -> list[int]:
    """`chosen` places out of `count`, with both ends where there are two or more."""
    return [round(step * (count - 1) / max(1, chosen - 1)) for step in range(chosen)]

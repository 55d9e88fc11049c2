"""Turn the arguments of a search into its study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from explorer.errors import ExplorerError, unknown
from explorer.files import user_path
from explorer.networks.quantities import computed
from explorer.pricing.enumeration import listed
from explorer.pricing.selection import Where
from explorer.spaces import all_spaces, find_space
from explorer.spaces.space import label, rule
from explorer.study.files import builtin_studies, load_study
from explorer.study.model import Study
from explorer.study.search import Search, SearchTable
from explorer.training.recipe import Budget

BUDGET = Budget(images=10_000, epochs=8)
"""The top rung, if no budget is given."""

QUICK_BUDGET = Budget(images=250, epochs=4, validation=200)
QUICK_IMAGES = 20_000


def asked_search(
    space: str | Path | Study,
    preset: str | None,
    settings: Mapping[str, Any],
    *,
    data: str | None,
    seeds: int | None,
    seed: int,
    quick: bool,
    **options: Any,  # noqa: ANN401 (of `search_study`)
) -> Study:
    """Return the study of a search: of a space, or one with a table `[search]`, whose data and seeds may be changed."""
    if isinstance(space, str) and space in all_spaces():
        return search_study(space, preset, settings, data=data, seeds=seeds, seed=seed, quick=quick, **options)
    study = space if isinstance(space, Study) else _stored_search(space)
    if not isinstance(study.form, Search):
        raise ExplorerError(f"{study.name}: has no table [search]; `explorer sweep {study.name}` trains its points")
    changed = [key for key, value in {"preset": preset, **settings, **options}.items() if value is not None]
    if changed or seed:
        them = "them" if len(changed) > 1 else "it"
        raise ExplorerError(f"{study.name}: {', '.join(changed or ['seed'])}: write {them} into the study file")
    study = study.override(data=data, seeds=1 if quick else seeds)
    return study.model_copy(update={"budget": QUICK_BUDGET}).renamed(["quick"]) if quick else study


def _stored_search(name: str | Path) -> Study:
    known = [study for study in builtin_studies() if isinstance(load_study(study).form, Search)]
    if str(name) not in builtin_studies() and not str(name).endswith(".toml") and not user_path(name).is_file():
        raise unknown("space or search", str(name), [*all_spaces(), *known])
    return load_study(name)


def search_study(
    space: str,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    data: str | None = None,
    objectives: Sequence[str] | None = None,
    where: str | None = None,
    sampler: str | None = None,
    budget: Budget | str | None = None,
    seeds: int | None = None,
    seed: int = 0,
    quick: bool = False,
) -> Study:
    """Return the study of a search of a space.

    Args:
        space: Name of the space.
        preset: The preset that gives all other metaparameters; the `cifar` preset if not given.
        settings: A value, which is fixed, or a range as text or list of values, which is searched. If nothing is
            searched, the space's ranges around the preset are.
        data: `cifar10`, `proxy`, or a folder of images in class sub-folders.
        objectives: Accuracy and costs to trade it against; accuracy, params and FLOPs if not given.
        where: Limits, such as `"params < 200k and FLOPs <= 5M"`; nothing outside is trained.
        sampler: One of `tpe`, `gp`, `nsga2`, `nsga3`, `qmc` and `random`.
        budget: The budget of the top rung, or text such as `10000x8`.
        seeds: Most seeds of a point.
        seed: Seed of the proposals.
        quick: Whether this is a trial run of a minute, whose accuracies mean nothing.

    Raises:
        ExplorerError: For unknown names and invalid values.
    """
    family = find_space(space)
    chosen = preset or ("cifar" if "cifar" in family.presets else next(iter(family.presets)))
    given = {key: listed(value) for key, value in (settings or {}).items()}
    ranges = {key: value for key, value in given.items() if isinstance(value, list) or _is_range(value)}
    table: dict[str, Any] = {"ranges": ranges, "seed": seed}
    table |= {"objectives": list(objectives)} if objectives else {}
    table |= {"sampler": sampler} if sampler else {}
    top = Budget.read(budget) if isinstance(budget, str) else budget
    if quick and top is not None:
        raise ExplorerError(f"--budget {top.short}: --quick has its own budget; drop one of them")
    top = QUICK_BUDGET if quick else top or BUDGET
    limits = Where(where, [*computed(), *family.derived]).limits() if where else {}
    try:
        study = Study.model_validate(
            {
                "name": f"search_{space}" if chosen == "cifar" else f"search_{space}_{chosen}",
                "title": f"Which networks of {space} are worth their cost?",
                "space": space,
                "preset": chosen,
                "fixed": {key: value for key, value in given.items() if key not in ranges},
                "constraints": {key: {"min": low, "max": high} for key, (low, high) in limits.items()},
                "search": SearchTable.model_validate(table),
                "budget": top,
                "seeds": 1 if quick else 3 if seeds is None else seeds,
            }
        )
    except ValidationError as error:
        details = error.errors()[0]
        place = ".".join(map(str, details["loc"]))
        raise ExplorerError(f"{place} = {label(details['input'])}: {rule(details)}") from None
    study.form.check(study.preset, study.fixed)
    return study.override(data=data).renamed(["quick"] if quick else [])


def _is_range(value: object) -> bool:
    return isinstance(value, str) and ".." in value

"""Search spaces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.api.reports import reported
from explorer.files import check_folder
from explorer.networks.quantities import read_count
from explorer.reporting.stored import Destination
from explorer.searching.asking import QUICK_IMAGES, asked_search
from explorer.searching.bar import SearchBar
from explorer.searching.budget import SearchBudget
from explorer.searching.searching import SearchWatcher, run_search
from explorer.storage.ledger import DEFAULT_STORAGE
from explorer.study.model import Study
from explorer.sweeping.resources import Resources
from explorer.training.cluster import Cluster
from explorer.training.recipe import Budget


def search(
    space: str | Study | Path,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    /,
    *,
    data: str | None = None,
    objectives: Sequence[str] | None = None,
    where: str | None = None,
    sampler: str | None = None,
    budget: Budget | str | None = None,
    seeds: int | None = None,
    seed: int = 0,
    time: float | None = None,
    runs: int | None = None,
    images: int | str | None = None,
    quick: bool = False,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    memory_limit: int | str | None = None,
    run_timeout: float | None = None,
    cluster: Cluster | str | None = None,
    reports: str | Path | None = "reports",
    figures: Collection[str] = (),
    progress: bool | None = None,
    command: str = "explorer.search in Python",
    watcher: SearchWatcher | None = None,
    **metaparameters: Any,  # noqa: ANN401
) -> pd.DataFrame:
    """Search a space for the networks that are worth their cost, write the report, and return its points.

    Points are proposed by an Optuna sampler and trained at growing budgets; only those that can still be on the front
    go on. A stored search with the same settings goes on where it stopped.

    Args:
        space: Name of a space, or a study with a table `[search]`: its name, its file, or the study itself.
        preset: The preset that gives all metaparameters that are not searched.
        settings: What to search and what to fix, as `search_study` takes it; also as keywords.
        data: `cifar10`, `proxy`, or a folder of images in class sub-folders.
        objectives: Accuracy and the costs to trade it against.
        where: Limits, such as `"params < 200k and FLOPs <= 5M"`; nothing outside is trained.
        sampler: `tpe`, `gp`, `nsga2`, `nsga3`, `qmc` or `random`.
        budget: Images and epochs of the top rung, such as `10000x8`.
        seeds: Most seeds of a point; only points whose place on the front is undecided get more than one.
        seed: Seed of the proposals.
        time: Seconds to search for; 30 minutes if no limit is given.
        runs: Maximum number of runs, including earlier calls.
        images: Maximum number of training images, including earlier calls, such as `2M`.
        quick: Whether to do a trial run of about a minute, whose accuracies mean nothing.
        storage: SQLite file or database URL.
        data_dir: Folder with the CIFAR-10 files.
        workers: Number of worker processes; one per core if not given.
        workers_per_gpu: Number of worker processes that share a GPU; one if not given.
        memory_limit: Memory that a worker process may use; see `sweep`.
        run_timeout: Time limit of a run in seconds; see `sweep`.
        cluster: A running Dask scheduler; see `sweep`.
        reports: Folder for reports, each in its own sub-folder. None skips the report.
        figures: Formats to save figures in besides SVG: `pdf`, `png`.
        progress: Whether to show the progress; by default, it is shown in terminals and notebooks.
        command: Command shown in the report.
        watcher: Receives the progress instead.
        metaparameters: Settings as keywords.

    Returns:
        The proposed points, in the same form as from `sweep`. Only those with the state `done` have an accuracy; all of
        these have the same budget. `attrs` also has the `front`: the numbers of the points on the front of all
        objectives, cheapest first, and the number of the `best` one.

    Raises:
        ExplorerError: For unknown names, limits that no design meets, and a budget that is too small for one point.
    """
    given = {**(settings or {}), **metaparameters}
    options: dict[str, Any] = {"objectives": objectives, "where": where, "sampler": sampler, "budget": budget}
    study = asked_search(space, preset, given, data=data, seeds=seeds, seed=seed, quick=quick, **options)
    wanted = read_count("images", images) if images is not None else QUICK_IMAGES if quick and not time else None
    limit = SearchBudget(seconds=time, runs=runs, images=wanted)
    if reports is not None:
        check_folder(Destination.checked(reports, figures).folder / study.name)
    with SearchBar.following(watcher, progress) as follower:
        record = run_search(
            study,
            limit,
            storage=storage,
            data_dir=data_dir,
            resources=Resources.read(workers, workers_per_gpu, memory_limit, run_timeout, cluster),
            command=command,
            watcher=follower,
        )
    return reported(record, storage, reports, figures)

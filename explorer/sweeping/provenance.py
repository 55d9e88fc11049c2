"""The provenance of results: the explorer's commit, package versions and machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from explorer.data import Dataset
from explorer.data.class_counts import ClassCounts
from explorer.machine import cores, processor
from explorer.storage.studies import Provenance
from explorer.training.recipe import Budget

PACKAGES = ("torch", "numpy", "pandas", "optuna", "distributed", "fvcore", "matplotlib", "seaborn")


def provenance(command: str, dataset: Dataset, budget: Budget) -> Provenance:
    """Return the provenance of a study that this process runs, with the class counts of its budget's images."""
    return Provenance(
        command=command,
        versions={"explorer": version("cnn-design-explorer"), "commit": commit(), "python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        machine={
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "cores": str(cores()),
        },
        classes=len(dataset.classes),
        image_size=dataset.size,
        class_counts=ClassCounts.of(dataset, budget.images, budget.validation),
    )


def commit() -> str:
    """Return the commit of this code, with `, changed` for uncommitted changes, or the reason why it is unknown."""
    package = Path(__file__).parents[1]
    try:
        # An installed package may be inside another repository that does not track it.
        _git(package, "ls-files", "--error-unmatch", str(Path(__file__)))
        name = _git(package, "rev-parse", "--short=12", "HEAD")
        changed = _git(package, "status", "--porcelain", "--", ".", "../studies")
    except (OSError, subprocess.SubprocessError):
        return "unknown: this code is not in a git repository"
    return f"{name}, changed" if changed else name


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)  # noqa: S603 (ours)
    return done.stdout.strip()

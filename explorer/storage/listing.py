"""Lists of the built-in studies and of stored ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.study.files import builtin_studies, load_study


def list_studies() -> pd.DataFrame:
    """Return the built-in studies, one row each: `name`, `title`, `space`, and at most how many `points` and `runs`."""
    rows = [
        (study.name, study.title, study.space, study.size, study.size * study.seeds)
        for study in map(load_study, builtin_studies())
    ]
    return pd.DataFrame(rows, columns=["name", "title", "space", "points", "runs"])


def stored_studies(storage: str | Path = DEFAULT_STORAGE) -> pd.DataFrame:
    """Return the studies of a storage, one row each: `storage`, `name`, and how many of its `runs` are `done`.

    Without rows if the storage is a file that does not exist. Raises `ExplorerError` if it cannot be opened.
    """
    rows: list[tuple[str, str, int, int]] = []
    if "://" in str(storage) or Path(storage).is_file():
        ledger = Ledger(storage)
        rows = [(ledger.shown, name, *ledger.studies.progress(name)) for name in ledger.studies.names()]
    return pd.DataFrame(rows, columns=["storage", "name", "done", "runs"])

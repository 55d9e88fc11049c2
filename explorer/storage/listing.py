"""Lists of built-in and stored studies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from explorer.files import user_path
from explorer.storage.database import storage_url
from explorer.storage.ledger import DEFAULT_STORAGE, Ledger
from explorer.study.files import builtin_studies, load_study
from explorer.study.model import Study


def list_studies() -> pd.DataFrame:
    """Return the built-in studies: `name`, `title`, `space`, and the maximum number of `points` and `runs`.

    The numbers are NA for searches, which go on as long as one likes.
    """
    rows = [
        (study.name, study.title, study.space, *((pd.NA, pd.NA) if study.form.grows else (study.size, _runs(study))))
        for study in map(load_study, builtin_studies())
    ]
    columns = ["name", "title", "space", "points", "runs"]
    return pd.DataFrame(rows, columns=columns).astype({"points": "Int64", "runs": "Int64"})


def _runs(study: Study) -> int:
    return study.size * study.seeds


def stored_studies(storage: str | Path = DEFAULT_STORAGE) -> pd.DataFrame:
    """Return the studies in a storage: `storage`, `name`, the number of finished runs (`done`) and of all `runs`.

    The frame is empty if the file does not exist. Raises `ExplorerError` if the storage cannot be opened.
    """
    rows: list[tuple[str, str, int, int]] = []
    storage_url(storage)
    if "://" in str(storage) or user_path(storage).is_file():
        ledger = Ledger(storage)
        rows = [(ledger.shown, name, *counts) for name, counts in ledger.studies.progress().items()]
    return pd.DataFrame(rows, columns=["storage", "name", "done", "runs"])

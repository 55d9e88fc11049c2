"""The sweep of the command line, for Python: a study in, a frame out."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pandas as pd

from explorer.analysis import summarise
from explorer.errors import ExplorerError
from explorer.storage.ledger import DEFAULT_STORAGE
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.sweeping.sweeping import run_study


def sweep(
    study: Study | str | Path,
    *,
    storage: str | Path = DEFAULT_STORAGE,
    data_dir: Path | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Trains what is missing of a study and returns one row a point, as `explorer.analysis.summarise` describes it.

    `study` is a study, the name of a built-in one, or a file; `Study.override` gives one with other settings. In a script,
    call it under `if __name__ == "__main__":`, because the workers import the script; notebooks need no such guard.
    """
    # The mark by which multiprocessing itself knows a child that is still importing its parent's script.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ExplorerError(
            'explorer.sweep: a script must call it under `if __name__ == "__main__":`; workers import the script'
        )
    chosen = study if isinstance(study, Study) else load_study(study)
    record = run_study(chosen, storage=storage, data_dir=data_dir, workers=workers, command="explorer.sweep in Python")
    return summarise(record)

"""Find the data of a stored study, even if its folder has moved."""

from __future__ import annotations

from pathlib import Path

from explorer.data import Dataset, Source, find_source, is_named
from explorer.errors import ExplorerError
from explorer.files import user_path
from explorer.storage.record import StudyRecord

SHOWN = 12  # characters of a fingerprint in messages


def data_of(record: StudyRecord, data: str | Path | None = None, data_dir: str | Path | None = None) -> Source:
    """Return the data source of a study without reading images. If `data` is given, look there.

    Raises `ExplorerError` if the data does not exist.
    """
    study = record.study
    if data is None and not is_named(study.data) and not user_path(study.data).is_dir():
        raise ExplorerError(
            f"{study.name}: its images were in {study.data}, which is no longer a folder or "
            "an installed data set; pass the folder where they are now with --data"
        )
    return find_source(study.data if data is None else str(data), data_dir, beside=study.form.source_data)


def check_data(record: StudyRecord, dataset: Dataset, data: str | Path | None = None) -> None:
    """Raise `ExplorerError` if `data` is given and its images or classes differ from those used in training."""
    if data is not None and dataset.fingerprint != record.data_fingerprint:
        raise ExplorerError(
            f"--data {data} must contain the images of {record.study.name}, but its fingerprint is "
            f"{dataset.fingerprint[:SHOWN]} and the study was trained on {record.data_fingerprint[:SHOWN]}; "
            f"pass the folder with the same images, which were in {record.study.data}"
        )

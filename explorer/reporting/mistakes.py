"""Find the user's mistakes before a sweep starts. This module imports quickly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explorer.data import find_source
from explorer.drawing.formats import check_formats
from explorer.files import check_folder, user_path
from explorer.storage.ledger import Ledger
from explorer.study.model import Study


def reject_mistakes(
    study: Study, data_dir: Path | None, *, storage: str, reports: Path, figures: Sequence[str]
) -> None:
    """Raise `ExplorerError` for unknown data or formats, and for a storage or folder that cannot be written."""
    find_source(study.data, data_dir, beside=study.form.source_data)
    check_formats(figures)
    check_folder(user_path(reports))
    Ledger(storage, create=True)

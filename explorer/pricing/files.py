"""Write priced points to files block by block: CSV, or Parquet with one row group per block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from explorer.errors import ExplorerError
from explorer.files import check_file
from explorer.pricing.enumeration import Coded, Column
from explorer.pricing.prices import Priced
from explorer.spaces.space import cell, label

SUFFIXES = (".parquet", ".csv")
HEAD = 1_000  # number of rows for checking which columns repeat values


def write_prices(
    path: Path,
    parts: Iterable[Priced],
    quantities: Sequence[str],
    fixed: Mapping[str, Any],
    *,
    reasons: bool,
    about: Mapping[str, str],
) -> None:
    """Write blocks of points to a `.parquet` or `.csv` file. An existing file is replaced only when writing is done.

    Columns: the metaparameters (lists as labels, such as `1-4-8`), the quantities and, with `reasons`, `infeasible`.
    `about` is metadata for Parquet. Without points, no file is written. Raises `ExplorerError` if writing fails.
    """
    if path.suffix not in SUFFIXES:
        raise ExplorerError(f"{path}: the file name should end in {' or '.join(SUFFIXES)}")
    check_file(path)
    draft = path.with_name(f".{path.name}.partial")
    as_csv = path.suffix == ".csv"
    writer: Any = None
    try:
        with draft.open("wb") as file:
            for priced in parts:
                table = _table(priced, quantities, fixed, reasons=reasons, as_csv=as_csv)
                if writer is None and as_csv:
                    writer = csv.CSVWriter(file, table.schema)
                elif writer is None:
                    schema = table.schema.with_metadata(about)
                    writer = parquet.ParquetWriter(file, schema, use_dictionary=_repetitive(table))
                writer.write_table(table)
            if writer is not None:
                writer.close()
        if writer is not None:
            draft.replace(path)
    except OSError as error:
        raise ExplorerError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)


def _table(
    priced: Priced, quantities: Sequence[str], fixed: Mapping[str, Any], *, reasons: bool, as_csv: bool
) -> pa.Table:
    columns = {key: _array(column) for key, column in priced.columns.items()}
    for key, value in fixed.items():
        columns[key] = pa.repeat(pa.scalar(cell(value)), len(priced))
    missing = ~priced.feasible if reasons else None
    columns |= {name: pa.array(priced.amounts[name], mask=missing) for name in quantities}
    if reasons:
        columns["infeasible"] = pa.DictionaryArray.from_arrays(priced.codes, pa.array(priced.reasons, pa.string()))
    if as_csv:  # CSV has no dictionaries
        columns = {k: c.cast(pa.string()) if isinstance(c, pa.DictionaryArray) else c for k, c in columns.items()}
    return pa.table(columns)


def _repetitive(table: pa.Table) -> list[str]:
    """Return the columns with repeated values. Dictionaries for the others would take time and space."""
    head = table.slice(0, HEAD).to_pydict()
    return [name for name, values in head.items() if 2 * len(set(values)) <= len(values)]


def _array(column: Column) -> pa.Array:
    if not isinstance(column, Coded):
        return pa.array(column)
    if all(isinstance(choice, bool) for choice in column.choices):
        return pa.array(np.array(column.choices)[column.codes])
    texts = pa.array([label(choice) for choice in column.choices], pa.string())
    return pa.DictionaryArray.from_arrays(column.codes.astype(np.int32), texts)

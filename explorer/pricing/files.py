"""Files of priced points, written block by block: Parquet, a row group a block, or CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from explorer.errors import ExplorerError
from explorer.files import check_file
from explorer.pricing.enumeration import Coded
from explorer.pricing.prices import Priced
from explorer.spaces.space import label

SUFFIXES = (".parquet", ".csv")


class PriceFile:
    """A file that blocks of points are written to; as a context manager, it stands in its place when all went well.

    Columns: the metaparameters (`fixed` ones the same in every row), the quantities, and, where `reasons` is asked for,
    `infeasible`, the reason, else empty. Lists stand as labels, such as `1-4-8`. `about` goes into the metadata of a
    Parquet file. Raises `ExplorerError` where the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        quantities: Sequence[str],
        fixed: Mapping[str, Any],
        *,
        reasons: bool = False,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.partial")
        self._quantities = quantities
        self._fixed = fixed
        self._reasons = reasons
        self._about = dict(about or {})
        self._writer: Any = None
        check_price_file(path)

    def __enter__(self) -> Self:
        try:
            self._draft.touch()
        except OSError as error:
            raise self._wrong(error) from None
        return self

    def write(self, priced: Priced) -> None:
        """Appends points, in order."""
        table = self._table(priced)
        try:
            self._writer = self._writer or self._open(table.schema)
            self._writer.write_table(table)
        except OSError as error:
            raise self._wrong(error) from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
            if kind is None and self._writer is not None:
                self._draft.replace(self._path)
        except OSError as problem:
            raise self._wrong(problem) from None
        finally:
            self._draft.unlink(missing_ok=True)

    def _open(self, schema: pa.Schema) -> Any:  # noqa: ANN401 (pyarrow is not typed)
        if self._path.suffix == ".csv":
            return csv.CSVWriter(self._draft, schema)
        return parquet.ParquetWriter(self._draft, schema.with_metadata(self._about))

    def _table(self, priced: Priced) -> pa.Table:
        count = len(priced)
        missing = ~priced.feasible if self._reasons else None
        columns = {key: self._array(column) for key, column in priced.columns.items()}
        columns |= {key: _repeated(value, count) for key, value in self._fixed.items()}
        columns |= {name: pa.array(priced.amounts[name], mask=missing) for name in self._quantities}
        if self._reasons:
            columns["infeasible"] = self._texts(priced.codes, priced.reasons)
        return pa.table(columns)

    def _array(self, column: Any) -> pa.Array:  # noqa: ANN401 (a column)
        if not isinstance(column, Coded):
            return pa.array(column)
        if all(isinstance(choice, bool) for choice in column.choices):
            return pa.array(np.array(column.choices)[column.codes])
        return self._texts(column.codes.astype(np.int32), [label(choice) for choice in column.choices])

    def _texts(self, codes: Any, texts: Sequence[str]) -> pa.Array:  # noqa: ANN401 (an array)
        """Parquet keeps a text once; CSV writes it out."""
        coded = pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.string()))
        return coded.cast(pa.string()) if self._path.suffix == ".csv" else coded

    def _wrong(self, error: OSError) -> ExplorerError:
        return ExplorerError(f"{self._path}: cannot be written: {error.strerror or error}")


def check_price_file(path: Path) -> None:
    """Raises `ExplorerError` where no such file can be written."""
    if path.suffix not in SUFFIXES:
        raise ExplorerError(f"{path}: the name of the file should end in {' or '.join(SUFFIXES)}")
    check_file(path)


def _repeated(value: Any, count: int) -> pa.Array:  # noqa: ANN401 (a metaparameter)
    return pa.repeat(pa.scalar(label(value) if isinstance(value, list | tuple) else value), count)

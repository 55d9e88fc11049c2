"""The ledger: every run that was ever measured, and which runs each study is made of.

It is the truth that tables, reports and the published Optuna study are made from. Only the process that runs a study writes
to it. A run is stored once, under its key, however many studies it belongs to.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from sqlalchemy.engine import URL, make_url

from explorer.errors import ExplorerError, unknown
from explorer.networks.layers import QUANTITIES
from explorer.storage.record import StudyRecord
from explorer.storage.tables import certificates, latencies, members, metadata, runs, studies, tests, version
from explorer.study.model import Study
from explorer.study.plan import Point, points_frame
from explorer.training.bits import unpack

SCHEMA = 1
ADVISORY_LOCK = 0x6578706C6F726572  # "explorer" in ASCII, to be unlike the numbers of others
DEFAULT_STORAGE = "explorer.db"

RUN_COLUMNS = (
    "state",
    "reason",
    "accuracy",
    "accuracies",
    "train_losses",
    "correct",
    "top_probability",
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "finished",
    "host",
)


@dataclass(frozen=True)
class Result:
    """How a run ended: its state, the reason where it is not `done`, and its accuracy and duration where it is."""

    state: str
    reason: str
    accuracy: float | None
    seconds: float | None = None

    @property
    def final(self) -> bool:
        """Whether training the run again could tell nothing new; a crash is no result."""
        return self.state in {"done", "failed"}


@dataclass(frozen=True)
class StoredRun:
    """A run as it is stored: what it is a function of, how it ended and where; None for what it does not say.

    `correct` (bool) and `top_probability` (float16) have one entry for each validation image.
    """

    key: str
    data_fingerprint: str
    settings: Mapping[str, Any]
    state: str
    reason: str
    accuracy: float | None
    correct: NDArray[np.bool_] | None
    top_probability: NDArray[np.float16] | None
    seconds: float | None
    host: Mapping[str, str]


@dataclass(frozen=True)
class Provenance:
    """How a study came to be: the command, the versions of what computed it, and the machine."""

    command: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    image_size: int | None = None  # of the data, in pixels


def storage_url(storage: str | Path) -> URL:
    """The database URL of a `--storage` value: a URL as it is, anything else the path of a SQLite file."""
    text = str(storage)
    try:
        return make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except sa.exc.ArgumentError:
        raise ExplorerError(
            f"storage {text!r}: not a database URL; such as sqlite:///FILE or postgresql+psycopg://..."
        ) from None


WHOLE = ("same_as", "input_pixels", "image_pixels", *QUANTITIES)  # columns of points that are whole numbers or NA


class Ledger:
    """The tables in one database."""

    def __init__(self, storage: str | Path = DEFAULT_STORAGE, *, create: bool = False) -> None:
        """Opens the ledger of a storage; with `create`, `writing` makes it where there is none yet.

        Raises `ExplorerError` where the storage cannot be opened or is of another version.
        """
        self.url = storage_url(storage)
        self.shown = self.url.render_as_string(hide_password=True) if "://" in str(storage) else str(storage)
        self.file = self._sqlite_file(create)
        try:
            self.engine = sa.create_engine(self.url, poolclass=sa.NullPool, **engine_options(self.url))
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise self._refusal(error) from None
        if self.file is not None:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
        if self.file is None or self.file.exists():
            schema = self._schema()
            if schema is None and not create:
                raise ExplorerError(
                    f"storage {self.shown}: holds no studies of the explorer; `explorer sweep` adds them"
                )
            if schema not in {None, SCHEMA}:
                raise ExplorerError(
                    f"storage {self.shown}: its schema is version {schema}; this explorer reads version {SCHEMA}"
                )

    def _sqlite_file(self, create: bool) -> Path | None:
        if self.url.get_backend_name() != "sqlite":
            return None
        if not self.url.database or self.url.database == ":memory:":
            raise ExplorerError(f"storage {self.shown}: names no file, and memory keeps nothing")
        path = Path(self.url.database)
        if not path.parent.is_dir():
            raise ExplorerError(f"storage {self.shown}: the folder {path.parent} does not exist")
        if not create and not path.is_file():
            raise ExplorerError(f"storage {self.shown}: there is no such file; `explorer sweep` makes it")
        if create and not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ExplorerError(f"storage {self.shown}: cannot be written: Permission denied")
        return path

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """A connection whose changes are kept together or not at all; what the database refuses is one line."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> ExplorerError:
        cause = getattr(error, "orig", None) or error
        return ExplorerError(f"storage {self.shown}: cannot be opened: {str(cause).splitlines()[0]}")

    def _schema(self) -> int | None:
        """The version of the tables, or None where they are not there, or not completely."""
        with self._transaction() as connection:
            if not sa.inspect(connection).has_table(version.name):
                return None
            return connection.execute(sa.select(version.c.schema)).scalar_one_or_none()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps a second process from running studies on the same storage, until this one ends in any way.

        Makes the tables that are not there: all of a new storage, those that came later of an older one.
        """
        with self._only_writer():
            new = self._schema() is None
            with self._transaction() as connection:
                metadata.create_all(connection)
                if new:
                    connection.execute(version.insert().values(schema=SCHEMA))
            yield

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        busy = ExplorerError(
            f"storage {self.shown}: another sweep is writing to it, or latencies are measured, or a point is exported; "
            "wait, or use another --storage"
        )
        if self.file is not None:
            lock = FileLock(f"{self.file}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise busy from None
            except OSError as error:
                raise ExplorerError(f"storage {self.shown}: cannot be written: {error.strerror}") from None
            try:
                yield
            finally:
                lock.release()
        elif self.url.get_backend_name() == "postgresql":
            # A lock of the session: the server frees it when the connection ends, however that happens.
            with self.engine.connect() as connection:
                if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(ADVISORY_LOCK))).scalar_one():
                    raise busy
                connection.commit()
                yield
        else:
            raise ExplorerError(
                f"storage {self.shown}: SQLite and PostgreSQL are the databases that the explorer knows"
            )

    def claim(self, study: Study, data_fingerprint: str) -> Study:
        """The study under a name of its own: its own name, unless that already stands for other settings or data."""
        identity = (study.digest, data_fingerprint)
        with self._transaction() as connection:
            for name in (study.name, f"{study.name}~{_short(*identity)}"):
                held = connection.execute(
                    sa.select(studies.c.digest, studies.c.data_fingerprint).where(studies.c.name == name)
                ).first()
                if held is None or tuple(held) == identity:
                    return study.model_copy(update={"name": name})
        raise ExplorerError(
            f"{study.name}: the storage holds other studies under this name and {name}; rename the file"
        )

    def save_study(
        self,
        study: Study,
        data_fingerprint: str,
        points: list[Point],
        keys: Mapping[tuple[int, int], str],
        provenance: Provenance,
    ) -> None:
        """Stores a study with its points and the keys of its runs by (point, seed), in place of what it was before."""
        row = {
            "name": study.name,
            "digest": study.digest,
            "data_fingerprint": data_fingerprint,
            "study": study.model_dump_json(),
            "command": provenance.command,
            "versions": dict(provenance.versions),
            "machine": dict(provenance.machine),
            "points": json.loads(points_frame(study, points, provenance.image_size).to_json(orient="records")),
        }
        member_rows = [
            {"study": study.name, "point": point, "seed": seed, "key": key} for (point, seed), key in keys.items()
        ]
        with self._transaction() as connection:
            connection.execute(members.delete().where(members.c.study == study.name))
            connection.execute(studies.delete().where(studies.c.name == study.name))
            connection.execute(studies.insert().values(row))
            connection.execute(members.insert(), member_rows)

    def record(self, row: Mapping[str, Any]) -> None:
        """Stores a run, in place of an earlier crash of it."""
        with self._transaction() as connection:
            connection.execute(runs.delete().where(runs.c.key == row["key"]))
            connection.execute(runs.insert().values(row))

    def results(self, keys: Sequence[str]) -> dict[str, Result]:
        """How those of the runs ended that are stored, by key."""
        found: dict[str, Result] = {}
        with self._transaction() as connection:
            for start in range(0, len(keys), 500):
                chosen = sa.select(runs.c.key, runs.c.state, runs.c.reason, runs.c.accuracy, runs.c.seconds)
                for row in connection.execute(chosen.where(runs.c.key.in_(keys[start : start + 500]))):
                    found[row.key] = Result(row.state, row.reason, row.accuracy, row.seconds)
        return found

    def run_keys(self) -> list[str]:
        """The keys of all stored runs."""
        with self._transaction() as connection:
            return list(connection.execute(sa.select(runs.c.key).order_by(runs.c.key)).scalars())

    def run(self, key: str) -> StoredRun | None:
        """A run by its key, or None where it is not stored."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(runs).where(runs.c.key == key)).mappings().first()
        if row is None:
            return None
        measured = _run_row(row)
        return StoredRun(**{field.name: measured[field.name] for field in fields(StoredRun)} | {"host": row["host"]})

    def places(self, key: str) -> list[tuple[str, int, int]]:
        """The studies that a run belongs to, by name, each with the number of its point and the seed."""
        columns = (members.c.study, members.c.point, members.c.seed)
        with self._transaction() as connection:
            found = connection.execute(sa.select(*columns).where(members.c.key == key).order_by(*columns))
            return [(row.study, row.point, row.seed) for row in found]

    def record_test(self, row: Mapping[str, Any]) -> None:
        """Stores what a run's model said of the test images: `key`, `study`, `point`, `seed`, `accuracy`, `images`, `finished`.

        One that is stored already is an error: a run reads them once.
        """
        with self._transaction() as connection:
            connection.execute(tests.insert().values(row))

    def test(self, key: str) -> Mapping[str, Any] | None:
        """What `record_test` stored of a run, or None where its model has not read the test images."""
        with self._transaction() as connection:
            if not sa.inspect(connection).has_table(tests.name):
                return None
            row = connection.execute(sa.select(tests).where(tests.c.key == key)).mappings().first()
            return None if row is None else dict(row)

    def tests(self, name: str) -> pd.DataFrame:
        """The runs of a study whose models have read the test images, by point and seed.

        Columns: `key`, `point` and `seed` (as in this study, whichever it was exported from), `accuracy` (a fraction), `images`,
        `finished` (UTC, ISO 8601). Without rows where there are none; an unknown name is an error that says the nearest.
        """
        own = (members.c.key, members.c.point, members.c.seed)
        columns = (*own, tests.c.accuracy, tests.c.images, tests.c.finished)
        found: list[Mapping[Any, Any]] = []
        with self._transaction() as connection:
            self._study(connection, name)
            if sa.inspect(connection).has_table(tests.name):
                statement = sa.select(*columns).join(tests, tests.c.key == members.c.key)
                chosen = statement.where(members.c.study == name).order_by(members.c.point, members.c.seed)
                found = list(connection.execute(chosen).mappings())
        return pd.DataFrame(found, columns=[column.name for column in columns])

    def record_latencies(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Stores measured latencies, in place of earlier ones of the same network, machine, batch and threads."""
        key = [column.name for column in latencies.primary_key]
        with self._transaction() as connection:
            for row in rows:
                connection.execute(latencies.delete().where(*(latencies.c[name] == row[name] for name in key)))
                connection.execute(latencies.insert().values(row))

    def latencies(self, name: str) -> pd.DataFrame:
        """Measured latencies of a study's networks, one row for each network, machine, batch and number of threads.

        Columns: `network` (digest, as in `StudyRecord.points`), `processor`, `torch` (version) and `dtype`, which together are the
        machine, `batch` (images), `threads`, `median_seconds`, `lower_seconds` and `upper_seconds` (median and quartiles of the
        time of a batch), `repeats`, `load` (load average for each core before the measuring began; NaN where the system
        tells none), `finished` (UTC, ISO 8601). Without rows where nothing was measured; an unknown name is an error that says
        the nearest.
        """
        columns = [column.name for column in latencies.columns]
        with self._transaction() as connection:
            networks = {point.get("network") for point in self._study(connection, name)["points"]}
            found: list[Mapping[Any, Any]] = []
            if sa.inspect(connection).has_table(latencies.name):
                found = list(connection.execute(sa.select(latencies)).mappings())
        rows = [row for row in found if row["network"] in networks]
        return pd.DataFrame(rows, columns=columns).sort_values(columns[:6], ignore_index=True)

    def save_certificate(self, name: str, certificate: str) -> None:
        """Stores a certificate as JSON, in place of one of its name."""
        with self._transaction() as connection:
            connection.execute(certificates.delete().where(certificates.c.name == name))
            connection.execute(certificates.insert().values(name=name, certificate=certificate))

    def certificates(self) -> list[str]:
        """All stored certificates as JSON, by name."""
        with self._transaction() as connection:
            if not sa.inspect(connection).has_table(certificates.name):
                return []
            chosen = sa.select(certificates.c.certificate).order_by(certificates.c.name)
            return list(connection.execute(chosen).scalars())

    def study_names(self) -> list[str]:
        """The names of all stored studies."""
        with self._transaction() as connection:
            return list(connection.execute(sa.select(studies.c.name).order_by(studies.c.name)).scalars())

    def progress(self, name: str) -> tuple[int, int]:
        """How many of a study's runs are done, and how many it has."""
        done = sa.func.sum(sa.case((runs.c.state == "done", 1), else_=0))
        statement = sa.select(done, sa.func.count()).select_from(members.outerjoin(runs, runs.c.key == members.c.key))
        with self._transaction() as connection:
            found, total = connection.execute(statement.where(members.c.study == name)).one()
        return int(found or 0), int(total)

    def load(self, name: str) -> StudyRecord:
        """All that is stored of a study; an unknown name is an error that says the nearest."""
        with self._transaction() as connection:
            row = self._study(connection, name)
            chosen = [runs.c[column] for column in (*RUN_COLUMNS, "validation_images")]
            statement = (
                sa.select(members.c.point, members.c.seed, members.c.key, *chosen)
                .outerjoin(runs, runs.c.key == members.c.key)
                .where(members.c.study == name)
                .order_by(members.c.point, members.c.seed)
            )
            found = [_run_row(run) for run in connection.execute(statement).mappings()]
        study = Study.model_validate_json(row["study"])
        return StudyRecord(
            study=study,
            data_fingerprint=row["data_fingerprint"],
            command=row["command"],
            versions=row["versions"],
            machine=row["machine"],
            points=_points(study, row["points"]),
            runs=pd.DataFrame(found, columns=["point", "seed", "key", *RUN_COLUMNS]),
        )

    def _study(self, connection: sa.Connection, name: str) -> Mapping[Any, Any]:
        """The stored row of a study."""
        row = connection.execute(sa.select(studies).where(studies.c.name == name)).mappings().first()
        if row is None:
            raise unknown(f"study in {self.shown}", name, self.study_names())
        return row


def engine_options(url: URL) -> dict[str, Any]:
    """Options for every engine on the storage, ours and Optuna's: SQLite waits up to 30 s for another's write."""
    return {"connect_args": {"timeout": 30}} if url.get_backend_name() == "sqlite" else {}


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 (a DBAPI connection)
    """Readers and the one writer do not block each other in write-ahead mode, which the file then stays in."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _run_row(stored: Mapping[Any, Any]) -> dict[str, Any]:
    row = dict(stored)
    count = row.pop("validation_images")
    if row["state"] is None:
        return row | {"state": "missing", "reason": ""}
    if count is not None:
        row |= unpack(row["correct"], row["top_probability"], count)
    row["host"] = row["host"]["name"]
    return row


def _points(study: Study, rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    # JSON has neither tuples nor whole numbers that may be missing; the study's own values are the typed ones.
    grid = list(study.grid())
    for key in study.varied:
        frame[key] = pd.Series([point.get(key) for point in grid], index=frame.index, dtype=_dtype(grid, key))
    # Studies that were stored by an earlier version know fewer columns.
    for column, nothing in ({"series": ""} | dict.fromkeys(WHOLE, pd.NA)).items():
        if column not in frame:
            frame[column] = nothing
    return frame.astype(dict.fromkeys(WHOLE, "Int64"))


def _dtype(grid: list[dict[str, Any]], key: str) -> str | None:
    """Left to pandas, None among numbers would become NaN."""
    return None if all(key in point for point in grid) else "object"


def _short(*identity: str) -> str:
    return hashlib.sha256("".join(identity).encode()).hexdigest()[:6]

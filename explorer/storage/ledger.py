"""The ledger, which stores every measured run once, under its key, and the studies that share the runs.

Tables, reports and the Optuna view are built from the ledger. Only the process that runs a study writes to it.
"""

from __future__ import annotations

from pathlib import Path

from explorer.storage.certificates import Certificates
from explorer.storage.database import Database
from explorer.storage.held_out import HeldOutTests
from explorer.storage.latencies import Latencies
from explorer.storage.runs import Runs
from explorer.storage.searches import Searches
from explorer.storage.studies import Studies
from explorer.storage.weights import Weights

DEFAULT_STORAGE = "explorer.db"


class Ledger(Database):
    """A database with one store per subject."""

    def __init__(self, storage: str | Path = DEFAULT_STORAGE, *, create: bool = False) -> None:
        super().__init__(storage, create=create)
        self.runs = Runs(self)
        self.studies = Studies(self)
        self.searches = Searches(self)
        self.latencies = Latencies(self)
        self.certificates = Certificates(self)
        self.tests = HeldOutTests(self)
        self.weights = Weights(self)

"""Checkpoints of trunks. A run with a larger budget continues where a smaller one of the same network branched off."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.data.dataset import cache_folder
from explorer.machine import isa
from explorer.networks.identity import key_of
from explorer.training.run import Run

MOST_BYTES = 2 * 2**30
"""Default limit on the size of all stored trunks. A trunk takes 8 bytes per param, or 1.5 MB for 180,000 params."""

FORMAT = 1
"""Part of the key of every trunk. Raise this when the content of a trunk changes."""

DIGEST_BYTES = hashlib.sha256().digest_size


def trunk_key(run: Run) -> str:
    """Return the SHA-256 (hex) of everything that a run's trunk depends on: the run's settings except its epochs.

    The instruction set is included, because a run that continues on another one would not equal a run from scratch.
    """
    budget = {name: value for name, value in run.settings["budget"].items() if name != "epochs"}
    return key_of({**run.settings, "budget": budget, "isa": isa(), "format": FORMAT})


def to_bytes(key: str, state: dict[str, Any]) -> bytes:
    """Return the state of a trunk as bytes: a SHA-256 and the output of `torch.save`, which keeps memory layouts."""
    import torch

    file = io.BytesIO()
    torch.save({"key": key, **state}, file)
    content = file.getvalue()
    return hashlib.sha256(content).digest() + content


def from_bytes(key: str, trunk: bytes) -> dict[str, Any] | None:
    """Return the state of a trunk, or None if the bytes are damaged or belong to another key. Nothing is unpickled."""
    import torch

    digest, content = trunk[:DIGEST_BYTES], trunk[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state if state["key"] == key else None
    except Exception:  # noqa: BLE001 (content from elsewhere can raise anything)
        return None


@dataclass(frozen=True)
class Trunks:
    """A folder of trunks, one for each key, which all workers share.

    A trunk that is missing or damaged is trained again, so nothing here raises an error. Trunks that cannot be written
    are not stored. The oldest are removed if all take more than `most_bytes`, or half of the disk space for them.
    """

    folder: Path
    most_bytes: int = MOST_BYTES

    @classmethod
    def in_cache(cls) -> Trunks:
        """Return the trunks in the folder next to the cached data sets."""
        return cls(cache_folder() / "trunks")

    def load(self, key: str) -> bytes | None:
        """Return the trunk stored under a key, or None. The bytes may be damaged, which `from_bytes` detects."""
        with suppress(OSError):
            return (self.folder / key).read_bytes()
        return None

    def save(self, key: str, trunk: bytes) -> None:
        """Store a trunk if there is room for it, and replace any trunk with the same key."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._make_room(len(trunk)):
                return
            file, draft = tempfile.mkstemp(prefix=".writing-", dir=self.folder)
            try:
                with os.fdopen(file, "wb") as stream:
                    stream.write(trunk)
                Path(draft).replace(self.folder / key)
            finally:
                Path(draft).unlink(missing_ok=True)

    def _make_room(self, needed: int) -> bool:
        """Remove the oldest files, including those of killed writers, until `needed` bytes fit. Return if they do."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # removed by another worker
                found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        used = sum(size for _, size, _ in found)
        most = min(self.most_bytes, (used + shutil.disk_usage(self.folder).free) // 2)
        for _, size, path in sorted(found) if needed <= most else ():
            if used + needed <= most:
                break
            path.unlink(missing_ok=True)
            used -= size
        return needed <= most

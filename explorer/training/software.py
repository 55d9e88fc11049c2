"""What a process computes with: versions, code and numerics, which coordinator and workers must share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from explorer.training.run import Numerics

ROOMS = ("compression", "data", "networks", "spaces", "training")
"""The rooms whose code a run depends on."""


@dataclass(frozen=True)
class Software:
    """The explorer's version, a digest of its code for training, and the numerics."""

    explorer: str
    code: str
    numerics: Numerics

    @classmethod
    def here(cls) -> Software:
        """Return what this process computes with."""
        from explorer.training.trainer import numerics

        return cls(version("cnn-design-explorer"), _code(), numerics())

    def __str__(self) -> str:
        using = self.numerics
        return (
            f"explorer {self.explorer} (code {self.code}, training version {using.training_version}), "
            f"torch {using.torch} on {using.device} in {using.dtype}"
        )


def gpus() -> int:
    """Return the number of GPUs that torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@cache
def _code() -> str:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(path for room in ROOMS for path in (package / room).rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:8]

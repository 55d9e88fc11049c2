"""The optional packages that compression needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from explorer.errors import ExplorerError

CODING = ("constriction", "kmeans1d")
INT8 = ("onnx", "onnxscript", "onnxruntime")


def check_coding_installed() -> None:
    """Raise `ExplorerError` if the packages that cluster and code weights are not installed."""
    _check(CODING, "compression")


def check_int8_installed() -> None:
    """Raise `ExplorerError` if the packages that quantise to int8 are not installed."""
    _check(INT8, "int8")


def _check(packages: Sequence[str], extra: str) -> None:
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ExplorerError(
            f'compression needs {" and ".join(missing)}, not installed here: pip install "cnn-design-explorer[{extra}]"'
        )

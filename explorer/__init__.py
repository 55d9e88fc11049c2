"""Explore the hyperparameter design spaces of small convolutional networks.

From Python, what the commands do:

- costs: `describe` (a layer table), `price` (design points, one or arrays of them), `price_space` and `fit` (whole spaces)
- accuracies: `load_study`, `sweep` (returns a frame with one row a point)
- one run: `export`, `images`; the networks of a study: `latency`
- drawing a frame on an axis: `explorer.plots`, `explorer.maps`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.api import sweep
    from explorer.drawing import maps, plots
    from explorer.errors import ExplorerError, Infeasible
    from explorer.exporting.export import export
    from explorer.exporting.image_sheet import images
    from explorer.pricing.fitting import fit
    from explorer.pricing.prices import describe, price
    from explorer.pricing.space import price_space
    from explorer.study.files import load_study
    from explorer.sweeping.latency import latency

__all__ = [
    "ExplorerError",
    "Infeasible",
    "describe",
    "export",
    "fit",
    "images",
    "latency",
    "load_study",
    "maps",
    "plots",
    "price",
    "price_space",
    "sweep",
]

_HOMES = {
    "ExplorerError": "explorer.errors",
    "Infeasible": "explorer.errors",
    "describe": "explorer.pricing.prices",
    "export": "explorer.exporting.export",
    "fit": "explorer.pricing.fitting",
    "images": "explorer.exporting.image_sheet",
    "latency": "explorer.sweeping.latency",
    "load_study": "explorer.study.files",
    "price": "explorer.pricing.prices",
    "price_space": "explorer.pricing.space",
    "sweep": "explorer.api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public name)
    """Imports a public name when it is asked for, so that the command line starts quickly."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in {"maps", "plots"}:
        return import_module(f"explorer.drawing.{name}")
    raise AttributeError(f"module 'explorer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

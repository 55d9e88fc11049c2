"""Explore the hyperparameter design spaces of small convolutional networks.

Every command is a function here that returns a frame or a small record:

- costs: `describe`, `inspect`, `price` (given points), `price_space` and `fit` (whole spaces), `list_spaces`, and
  `count` for any torch module
- studies: `load_study`, `list_studies`, `dry_run`, `sweep`, `search`, `certify`, `plan_certificate`
- stored studies: `stored_studies`, `status`, `retry`, `report`, `compare`, `latency`, `export`, `compress`,
  `images`, `transfer`, `dashboard_server`, `delete_study`, `rename_study`
- where to train: `Cluster`
- drawing a frame on an axis: `explorer.plots`, `explorer.maps`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.api.certificates import certify, plan_certificate
    from explorer.api.searches import search
    from explorer.api.sweeps import dry_run, retry, sweep
    from explorer.drawing import maps, plots
    from explorer.errors import ExplorerError, Infeasible
    from explorer.exporting.compressing import compress, plan_compression
    from explorer.exporting.export import export
    from explorer.exporting.image_sheet import images
    from explorer.exporting.inspection import inspect
    from explorer.exporting.transferring import transfer
    from explorer.networks.counting import count
    from explorer.pricing.fitting import fit
    from explorer.pricing.prices import describe, price
    from explorer.pricing.space import price_space
    from explorer.reporting.stored import compare, report
    from explorer.spaces import list_spaces
    from explorer.storage.dashboard import dashboard_server
    from explorer.storage.editing import delete_study, rename_study
    from explorer.storage.listing import list_studies, stored_studies
    from explorer.storage.status import status
    from explorer.study.files import load_study
    from explorer.sweeping.latency import latency
    from explorer.training.cluster import Cluster

__all__ = [
    "Cluster",
    "ExplorerError",
    "Infeasible",
    "certify",
    "compare",
    "compress",
    "count",
    "dashboard_server",
    "delete_study",
    "describe",
    "dry_run",
    "export",
    "fit",
    "images",
    "inspect",
    "latency",
    "list_spaces",
    "list_studies",
    "load_study",
    "maps",
    "plan_certificate",
    "plan_compression",
    "plots",
    "price",
    "price_space",
    "rename_study",
    "report",
    "retry",
    "search",
    "status",
    "stored_studies",
    "sweep",
    "transfer",
]

_HOMES = {
    "Cluster": "explorer.training.cluster",
    "ExplorerError": "explorer.errors",
    "Infeasible": "explorer.errors",
    "certify": "explorer.api.certificates",
    "compare": "explorer.reporting.stored",
    "compress": "explorer.exporting.compressing",
    "count": "explorer.networks.counting",
    "dashboard_server": "explorer.storage.dashboard",
    "delete_study": "explorer.storage.editing",
    "describe": "explorer.pricing.prices",
    "dry_run": "explorer.api.sweeps",
    "export": "explorer.exporting.export",
    "fit": "explorer.pricing.fitting",
    "images": "explorer.exporting.image_sheet",
    "inspect": "explorer.exporting.inspection",
    "latency": "explorer.sweeping.latency",
    "list_spaces": "explorer.spaces",
    "list_studies": "explorer.storage.listing",
    "load_study": "explorer.study.files",
    "plan_certificate": "explorer.api.certificates",
    "plan_compression": "explorer.exporting.compressing",
    "price": "explorer.pricing.prices",
    "price_space": "explorer.pricing.space",
    "rename_study": "explorer.storage.editing",
    "report": "explorer.reporting.stored",
    "retry": "explorer.api.sweeps",
    "search": "explorer.api.searches",
    "status": "explorer.storage.status",
    "stored_studies": "explorer.storage.listing",
    "sweep": "explorer.api.sweeps",
    "transfer": "explorer.exporting.transferring",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public name)
    """Import public names on first use, which lets the command line start quickly."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in {"maps", "plots"}:
        return import_module(f"explorer.drawing.{name}")
    if name == "__version__":
        return import_module("importlib.metadata").version("cnn-design-explorer")
    raise AttributeError(f"module 'explorer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

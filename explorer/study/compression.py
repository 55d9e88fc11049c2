"""The form of a study of compression: trained networks in fewer bytes on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from explorer.compression.packages import check_coding_installed, check_int8_installed
from explorer.compression.sizes import Compression
from explorer.errors import ExplorerError
from explorer.networks.network import Network
from explorer.spaces.space import Space, label
from explorer.study.form import DesignPoint, Form, PlannedRun, evenly
from explorer.study.values import Model, Value
from explorer.training.recipe import Budget
from explorer.training.run import Run
from explorer.training.treatments import FLOAT_BITS, Compress, Store

FLOAT32, TUNED, INT8, SHARED = "float32", "fine-tuned", "int8", "shared"


def _text(density: object) -> object:
    return label(density) if isinstance(density, int | float) and not isinstance(density, bool) else density


class CompressionTable(Model):
    """The table `[compression]`.

    Attributes:
        density: Shares of the weights to keep, one for each point: a number such as 0.5 for all layers, or text such as
            `"3x3=0.33, 1x1=0.5"` for kinds or names of layers.
        bits: Bits of a code. The weights of a layer share at most `2 ** bits` values.
        epochs: Epochs of fine-tuning after the budget: half after pruning and half after sharing, or all after sharing
            if nothing is pruned.
        float32: Whether each network is also stored as float32: as it was trained, and fine-tuned for as many epochs.
        int8: Whether each network is also quantised to int8 as it was trained.
    """

    density: Annotated[list[Annotated[str, BeforeValidator(_text)]], Field(min_length=1)] = ["1"]  # noqa: RUF012
    bits: Annotated[list[int], Field(min_length=1)] = [8]  # noqa: RUF012
    epochs: Annotated[int, Field(ge=2)] = 2
    float32: bool = True
    int8: bool = False

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for name in ("density", "bits"):
            values = getattr(self, name)
            distinct = {Compression.read([value]) if name == "density" else value for value in values}
            if len(distinct) < len(values):
                raise ValueError(f"{name} = {values}: a value appears twice")
        for bits in self.bits:
            Compression.read(self.density, bits)
        return self


class Compressions(Form):
    """The points of `[compression]`: networks as float32, pruned with shared weights, or in int8."""

    table = "compression"
    training: ClassVar[tuple[str, ...]] = ("coding", "density", "bits")
    measures = ("file_bytes",)
    compression: CompressionTable

    def own_points(self) -> list[DesignPoint]:
        """Label points by their coding, density and bits."""
        table = self.compression
        found = [_point(FLOAT32, "1", FLOAT_BITS), _point(TUNED, "1", FLOAT_BITS)] if table.float32 else []
        found += [_point(INT8, "1", 8)] if table.int8 else []
        return found + [_point(SHARED, density, bits) for density in table.density for bits in table.bits]

    def fewer(self, most: int) -> Self:
        """Return fewer densities, and fewer bits if there are still too many points."""
        table = self.compression
        others = 2 * table.float32 + table.int8
        bits = evenly(table.bits, max(1, most - others))
        densities = evenly(table.density, max(1, (most - others) // len(bits)))
        changes: dict[str, Any] = {"bits": bits, "density": densities}
        return self.model_copy(update={"compression": table.model_copy(update=changes)})

    @property
    def figure(self) -> str:
        """A line over the networks for each way to store them, if several networks are stored."""
        return "series" if self.vary else "points"

    @property
    def coordinates(self) -> None:
        """No coordinates: how a network is stored is not a design."""
        return

    def check_installed(self) -> None:
        """Raise `ExplorerError` if the packages for coding, or those for int8, are not installed."""
        check_coding_installed()
        if self.compression.int8:
            check_int8_installed()

    def named(self, values: Mapping[str, Any], point: Space) -> str:
        """Name a point by its coding, and by the metaparameters that vary."""
        own = _point(values["coding"], values["density"], values["bits"]).label
        rest = {key: value for key, value in values.items() if key in self.vary}
        return ", ".join(filter(None, [super().named(rest, point), own]))

    def obstacle(self, values: Mapping[str, Value], network: Network) -> str:
        """Return that a density names no layer of the network, or that a layer is too large to cluster."""
        if values["coding"] != SHARED:
            return ""
        try:
            Compression.read([str(values["density"])], int(str(values["bits"]))).check(network)
        except ExplorerError as error:
            return str(error)
        return ""

    @property
    def start_note(self) -> str:
        """What is fine-tuned, and what sizes are."""
        return (
            "the same networks, trained for the budget with the seed of the run. Networks with shared weights are then "
            f"fine-tuned for {self.compression.epochs} more epochs: half after pruning and half after sharing, or all "
            "after sharing if nothing is pruned. The points called fine-tuned have as many more epochs, in float32. "
            "float32 and int8 are the networks as they were trained. Sizes are measured on the written files. Every "
            "file but those in int8 was decoded to exactly the weights that were measured. Files in int8 are ONNX, "
            "measured by onnxruntime. They also hold the graph, for which the others need code"
        )

    def starts_with_others(self, values: Mapping[str, Value]) -> bool:  # noqa: ARG002 (all points do)
        """All codings of a network start from the same trained weights."""
        return True

    def seen(self, values: Mapping[str, Any], budget: Budget, classes: int) -> int:  # noqa: ARG002 (of its form)
        """Return the number of images that the runs of a point train on, after the training of what they compress."""
        return 0 if values["coding"] in {FLOAT32, INT8} else budget.images * self._epochs(budget)

    def _epochs(self, budget: Budget) -> int:
        """The epochs of fine-tuning; one in a trial run, which has one epoch."""
        return min(self.compression.epochs, budget.epochs)

    def planned(self, run: Run, values: Mapping[str, Any], origin: Run) -> PlannedRun:  # noqa: ARG002 (of other data)
        """Return the run that compresses a network, and the run that trains it, which is the same for all codings."""
        if values["coding"] in {FLOAT32, INT8}:
            return PlannedRun(run.like(treatment=Store(run.key, values["coding"])), run)
        how = Compress(run.key, (values["density"],), values["bits"])
        budget = run.budget.model_copy(update={"epochs": self._epochs(run.budget)})
        return PlannedRun(run.like(budget=budget, treatment=how), run)


def _point(coding: str, density: str, bits: int) -> DesignPoint:
    names = {SHARED: f"density {density}, {bits} bits", TUNED: "float32, fine-tuned"}
    text = names.get(coding, coding)
    return DesignPoint({"coding": coding, "density": density, "bits": bits}, text, text)

"""The form of a study of transfer: networks trained on other images start with frozen blocks and a new head."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from explorer.errors import ExplorerError
from explorer.files import user_path
from explorer.networks.blocks import blocks_of
from explorer.networks.network import Network
from explorer.networks.quantities import counted
from explorer.spaces.space import Space, label
from explorer.study.form import DesignPoint, Form, PlannedRun, evenly
from explorer.study.values import Model, Value
from explorer.training.recipe import Budget
from explorer.training.run import Run
from explorer.training.treatments import BODY_RATE, Transfer

SCRATCH, TRAINED = "scratch", "trained"
RATES = ("body_rate", "head_rate")
EXPORTED_WEIGHTS = "weights.safetensors"

Rate = Annotated[float, Field(ge=0)]


class TransferTable(Model):
    """The table `[transfer]`: where the weights come from, and what varies.

    Attributes:
        data: The data set that the same networks are trained on first, with the seed of the run that starts from them.
        budget: The budget of that training.
        weights: Instead of `data`, a folder written by `explorer export`.
        weights_sha256: SHA-256 (hex) of its weights, which is read from there.
        frozen: Numbers of first blocks that do not change.
        body_rate: Learning rates of transferred layers that are not frozen, as multiples of the recipe's.
        head_rate: Learning rates of the new head, as multiples of the recipe's.
        images_per_class: Numbers of training images per class, on average; by default, those of the budget. Runs still
            see as many images as the budget says, so smaller numbers are seen in more epochs.
        epochs: Numbers of epochs; by default, those of the budget.
        scratch: Whether the same network is also trained from scratch, for comparison.
    """

    data: str = ""
    budget: Budget = Budget()
    weights: str = ""
    weights_sha256: str = ""
    frozen: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]  # noqa: RUF012 (pydantic copies it)
    body_rate: Annotated[list[Rate], Field(min_length=1)] = [BODY_RATE]  # noqa: RUF012
    head_rate: Annotated[list[Rate], Field(min_length=1)] = [1.0]  # noqa: RUF012
    images_per_class: list[Annotated[int, Field(ge=1)]] = []  # noqa: RUF012
    epochs: list[Annotated[int, Field(ge=1)]] = []  # noqa: RUF012
    scratch: bool = True

    @model_validator(mode="before")
    @classmethod
    def _find_weights(cls, given: Any) -> Any:  # noqa: ANN401 (any TOML value)
        if isinstance(given, dict) and isinstance(given.get("weights"), str) and "weights_sha256" not in given:
            return given | {"weights_sha256": hashlib.sha256(read_exported(given["weights"])).hexdigest()}
        return given

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.data) == bool(self.weights):
            raise ValueError("should have either data, to train the networks on first, or weights, an exported folder")
        for name in ("frozen", "body_rate", "head_rate", "images_per_class", "epochs"):
            values = getattr(self, name)
            if len({*values}) < len(values):
                raise ValueError(f"{name} = {values}: a value appears twice")
        return self


def read_exported(folder: str) -> bytes:
    """Return the weights in a folder written by `explorer export`; raise `ExplorerError` if there are none."""
    path = user_path(folder) / EXPORTED_WEIGHTS
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExplorerError(
            f"weights = {folder}: should be a folder written by `explorer export`, with {EXPORTED_WEIGHTS}: "
            f"{error.strerror or error}"
        ) from None


class Transfers(Form):
    """The points of `[transfer]`: from scratch, and from trained weights with blocks frozen."""

    table = "transfer"
    training: ClassVar[tuple[str, ...]] = (
        "start",
        "frozen_blocks",
        "body_rate",
        "head_rate",
        "images_per_class",
        "epochs",
    )
    measures = ("train_seconds",)
    over = "frozen_blocks"
    baseline: ClassVar[tuple[str, Value, str] | None] = ("start", SCRATCH, "trained from scratch")
    transfer: TransferTable

    def own_points(self) -> list[DesignPoint]:
        """Label points by how they start, with the numbers that vary. Training from scratch has only one rate."""
        table = self.transfer
        rates = [key for key in RATES if len(getattr(table, key)) > 1]
        found = []
        for budget in self._combined([key for key in ("images_per_class", "epochs") if getattr(table, key)]):
            if table.scratch:
                found.append(self._point(SCRATCH, 0, budget | dict.fromkeys(rates, 1.0)))
            for own in self._combined(rates):
                found += [self._point(TRAINED, frozen, budget | own) for frozen in table.frozen]
        return found

    def _combined(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Return all combinations of the values of some keys."""
        return [
            dict(zip(keys, row, strict=True))
            for row in itertools.product(*(getattr(self.transfer, key) for key in keys))
        ]

    def design_points(self) -> Iterator[DesignPoint]:
        """Yield all points; those of different networks are in different series."""
        for point in super().design_points():
            own = [label(point.metaparameters[key]) for key in self.vary]
            yield point._replace(series=", ".join([point.series, *own]))

    def _point(self, start: str, frozen: int, others: Mapping[str, Any]) -> DesignPoint:
        shown = [key for key in _NAMES if key in others and not (start == SCRATCH and key in RATES)]
        parts = [_NAMES[key](others[key]) for key in shown]
        first = "from scratch" if start == SCRATCH else counted(frozen, "frozen block")
        series = ", ".join(["from scratch" if start == SCRATCH else "transferred", *parts])
        return DesignPoint({"start": start, "frozen_blocks": frozen, **others}, ", ".join([first, *parts]), series)

    def fewer(self, most: int) -> Self:
        """Return fewer numbers of frozen blocks, and only the first of the other settings if points are too many."""
        table = self.transfer
        others = math.prod(len(getattr(table, key) or [0]) for key in (*RATES, "images_per_class", "epochs"))
        changes: dict[str, Any] = {"frozen": evenly(table.frozen, max(1, most // others - table.scratch))}
        if (len(changes["frozen"]) + table.scratch) * others > most:
            changes |= {key: getattr(table, key)[:1] for key in (*RATES, "images_per_class", "epochs")}
        return self.model_copy(update={"transfer": table.model_copy(update=changes)})

    def shortened(self, budget: Budget) -> Self:
        """Train for a budget everywhere, also before."""
        table = self.transfer.model_copy(update={"budget": budget, "images_per_class": [], "epochs": []})
        return self.model_copy(update={"transfer": table})

    @property
    def figure(self) -> str:
        """A line over the frozen blocks for each series."""
        return "series"

    @property
    def further(self) -> str:
        """The images per class, or else the epochs, if several vary."""
        table = self.transfer
        return "images_per_class" if len(table.images_per_class) > 1 else "epochs" if len(table.epochs) > 1 else ""

    def line(self, values: Mapping[str, Any]) -> str:
        """Return how a point starts, with all numbers that vary but those of `further`."""
        others = {key: value for key, value in values.items() if key != self.further}
        own = [label(values[key]) for key in self.vary]
        return ", ".join([self._point(values["start"], values["frozen_blocks"], others).label, *own])

    @property
    def coordinates(self) -> None:
        """No coordinates: how a network is trained is not a design."""
        return

    @property
    def summary(self) -> str:
        """Where the weights come from, and what varies."""
        table = self.transfer
        start = (
            f"trained on {table.data}, {table.budget.short}" if table.data else f"weights of {Path(table.weights).name}"
        )
        return f"{start}; {super().summary}"

    @property
    def source_data(self) -> str:
        """The data of the first training."""
        return self.transfer.data

    def on_data(self, before: str, after: str) -> Self:
        """Take the first data from the same data set as the study's, if they were."""
        name, colon, classes = self.transfer.data.partition(":")
        if name != before:
            return self
        return self.model_copy(update={"transfer": self.transfer.model_copy(update={"data": after + colon + classes})})

    @property
    def start_note(self) -> str:
        """What the networks were trained on first, and what happens to frozen blocks."""
        table = self.transfer
        first = (
            f"the same networks, trained on {table.data} ({table.budget.images:,} images x {table.budget.epochs}) with "
            "the seed of the run"
            if table.data
            else f"weights {table.weights_sha256[:12]} in {Path(table.weights).name}, the same for all seeds"
        )
        return (
            f"{first}. The head is new. Frozen blocks are in evaluation mode, and every run compares them with the "
            "start to the last bit. If the recipe changes no image (no crop, flip, scale or cut-out), they run once "
            "per image"
        )

    @property
    def budget_note(self) -> str:
        """The numbers of images and epochs that vary."""
        table = self.transfer
        images = f"{_some(table.images_per_class)} images per class on average" if table.images_per_class else ""
        epochs = f"{_some(table.epochs)} epochs" if table.epochs else ""
        return ", ".join(filter(None, [images, epochs]))

    @property
    def own_budget(self) -> dict[str, str]:
        """The settings of the budget that the table lists, with the keys that list them."""
        table = self.transfer
        epochs = {"epochs": "transfer.epochs"} if table.epochs else {}
        return epochs | ({"images": "transfer.images_per_class"} if table.images_per_class else {})

    def starts_with_others(self, values: Mapping[str, Value]) -> bool:
        """Whether a point is not trained from scratch. With exported weights, seeds share nothing."""
        return bool(self.transfer.data) and values["start"] == TRAINED

    def seen(self, values: Mapping[str, Any], budget: Budget, classes: int) -> int:
        """Return the number of images that the runs of a point train on."""
        return self._budget(values, budget, classes).seen

    def _budget(self, values: Mapping[str, Any], budget: Budget, classes: int) -> Budget:
        changes: dict[str, Any] = {}
        if "images_per_class" in values:
            changes["images"] = values["images_per_class"] * classes
            changes["epochs"] = max(1, math.ceil(budget.seen / changes["images"]))
        if "epochs" in values:
            changes["epochs"] = values["epochs"]
        return budget.model_copy(update=changes)

    def exported_weights(self, needed: AbstractSet[str]) -> dict[str, bytes]:
        """Read the exported weights if they are needed; raise `ExplorerError` if they have changed."""
        table = self.transfer
        if table.weights_sha256 not in needed or not table.weights:
            return {}
        content = read_exported(table.weights)
        if hashlib.sha256(content).hexdigest() != table.weights_sha256:
            raise ExplorerError(f"weights = {table.weights}: have changed since the study was read")
        return {table.weights_sha256: content}

    def named(self, values: Mapping[str, Any], point: Space) -> str:
        """Name a point by how it starts, and by the metaparameters that vary."""
        own = self._point(values["start"], values["frozen_blocks"], values).label
        rest = {key: value for key, value in values.items() if key in self.vary}
        return ", ".join(filter(None, [own, super().named(rest, point)]))

    def obstacle(self, values: Mapping[str, Value], network: Network) -> str:
        """Return that more blocks should be frozen than the network has."""
        blocks, frozen = len(blocks_of(network)), values["frozen_blocks"]
        assert isinstance(frozen, int)
        return "" if frozen <= blocks else f"frozen = {frozen}: must be 0 to {blocks}, the blocks before the head"

    def planned(self, run: Run, values: Mapping[str, Any], origin: Run) -> PlannedRun:
        """Return the run with its own images and epochs, and the run on the source's data if it starts from one."""
        budget = self._budget(values, run.budget, run.network.trace.output.channels)
        changed = budget != run.budget
        own = run.like(budget=budget, recipe=origin.recipe.fitted(budget) if changed else run.recipe)
        if values["start"] == SCRATCH:
            return PlannedRun(own)
        table = self.transfer
        rates = {key: values.get(key, getattr(table, key)[0]) for key in RATES}
        source = origin.like(budget=table.budget, recipe=origin.recipe.fitted(table.budget)) if table.data else None
        key = source.key if source else table.weights_sha256
        return PlannedRun(own.like(treatment=Transfer(key, values["frozen_blocks"], **rates)), source)


def _some(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


_NAMES: dict[str, Callable[[Any], str]] = {
    "images_per_class": lambda value: f"{value:,} a class",
    "epochs": lambda value: counted(value, "epoch"),
    "body_rate": lambda value: f"body rate {value:g}",
    "head_rate": lambda value: f"head rate {value:g}",
}

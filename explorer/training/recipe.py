"""The recipe of a short run (optimiser, schedule, augmentation) and its budget."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from explorer.errors import ExplorerError
from explorer.networks.identity import Later
from explorer.networks.quantities import read_count
from explorer.spaces.space import rule

FEWEST_BATCHES = 4
"""Minimum number of batches per epoch for a data set with fewer images than the budget asks for."""
SMALL_BATCH = 16
"""The batch size is not reduced below this as long as an epoch has two batches."""
LONGEST_WARMUP = 0.5
"""Maximum share of a run's images for warm-up."""

Share = Annotated[float, Field(ge=0, le=1)]


class Recipe(BaseModel):
    """Optimiser, schedule and augmentation, which are the same for all runs of a study.

    The optimiser is SGD with Nesterov momentum, or AdamW. The learning rate warms up over a fixed number of images,
    stays constant (the trunk), and decays linearly to zero over the last share of the budget (a branch). Larger budgets
    share the trunk of smaller ones. Every run ends annealed, which short runs need to rank networks like long ones.

    Attributes:
        learning_rate: Learning rate of the trunk.
        momentum: Momentum of SGD, or the first beta of AdamW.
        weight_decay: Weight decay: of the gradient with SGD, of the weights (decoupled) with AdamW.
        batch_size: Images per step.
        warmup_images: Number of images over which the learning rate rises from zero.
        decay_share: Share of the budget over which the learning rate falls to zero.
        label_smoothing: Probability that is spread over all classes.
        crop_padding: Greatest shift of an image in pixels.
        flip: Whether half of the images are mirrored.
        scale: Greatest change of an image's size, as a fraction: 0.2 for 80 to 120 %.
        cutout: Side of a square in each image that is replaced by the mean colour, as a share of the image's side.
        optimiser: `sgd` or `adamw`, which needs another learning rate and weight decay, such as 0.002 and 0.05.
        clip_norm: Largest norm of the gradient, which is scaled down to it; 0 for no limit.
        ema: Decay per step of an exponential moving average of the weights; validation uses the average; 0 for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    learning_rate: Annotated[float, Field(gt=0)] = 0.12
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    batch_size: Annotated[int, Field(ge=2)] = 128
    warmup_images: Annotated[int, Field(ge=0)] = 4_000
    decay_share: Share = 0.25
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    crop_padding: Annotated[int, Field(ge=0, le=16)] = 4
    flip: bool = True
    scale: Annotated[float, Field(ge=0, le=0.5), Later(neutral=0)] = 0.0
    cutout: Annotated[float, Field(ge=0, lt=1), Later(neutral=0)] = 0.0
    optimiser: Annotated[Literal["sgd", "adamw"], Later(neutral="sgd")] = "sgd"
    clip_norm: Annotated[float, Field(ge=0), Later(neutral=0)] = 0.0
    ema: Annotated[float, Field(ge=0, lt=1), Later(neutral=0)] = 0.0

    @model_validator(mode="after")
    def _own_rate(self) -> Self:
        if self.optimiser == "adamw" and "learning_rate" not in self.model_fields_set:
            raise ValueError(
                f"optimiser adamw: also set learning_rate, such as 0.002; the default {self.learning_rate} is for sgd"
            )
        return self

    @property
    def augments(self) -> bool:
        """Whether images are changed, so that a network sees new ones in every epoch."""
        return bool(self.crop_padding or self.flip or self.scale or self.cutout)

    def rate(self, seen: int, total: int) -> float:
        """Return the learning rate after `seen` of `total` images."""
        warmup = min(1.0, seen / self.warmup_images) if self.warmup_images else 1.0
        return self.learning_rate * min(warmup, self._decay(seen, total))

    def warms_up_too_long(self, budget: Budget) -> bool:
        """Whether the warm-up takes more than half of a run's images."""
        return self.warmup_images > LONGEST_WARMUP * budget.seen

    def least_epochs(self, budget: Budget) -> int:
        """Return the smallest number of epochs over a budget's images for which the warm-up is not too long."""
        return max(1, math.ceil(self.warmup_images / (LONGEST_WARMUP * budget.images)))

    def fitted(self, budget: Budget) -> Recipe:
        """Adapt the recipe to a budget of few images: several batches per epoch, and warm-up for at most half of it.

        Smaller batches take a proportionally lower learning rate (Goyal et al. 2017, arXiv:1706.02677).
        """
        batch_size = self.batch_size
        while batch_size > SMALL_BATCH and FEWEST_BATCHES * batch_size > budget.images:
            batch_size = max(SMALL_BATCH, batch_size // 2)
        while batch_size > 2 and 2 * batch_size > budget.images:  # noqa: PLR2004 (batch norm needs two images)
            batch_size = max(2, batch_size // 2)
        return self.model_copy(
            update={
                "batch_size": batch_size,
                "learning_rate": self.learning_rate * batch_size / self.batch_size,
                "warmup_images": min(self.warmup_images, int(LONGEST_WARMUP * budget.seen)),
            }
        )

    def trunk(self, steps: int, batch_size: int) -> int:
        """Return how many of `steps` come before the decay, at most all but one. Larger budgets share them."""
        total = (steps + 1) * batch_size
        return sum(self._decay(step * batch_size, total) == 1 for step in range(1, steps))

    def images_trained(self, budgets: Sequence[Budget], after: Budget | None = None) -> int:
        """Return the number of images it takes to train budgets that differ only in epochs and share a trunk.

        Budgets of 1, 2, 4 and 8 epochs take 9.75, not 15. Images that do not fill the last batch are not counted.

        Args:
            budgets: The budgets, in increasing order.
            after: The largest budget trained earlier. Its trunk is continued if it is short enough.
        """
        batch_size = min(self.batch_size, budgets[0].images)
        steps = budgets[0].images // batch_size
        totals = [budget.epochs * steps for budget in budgets]
        trunks = [self.trunk(total, batch_size) for total in totals]
        start = self.trunk(after.epochs * steps, batch_size) if after else 0
        continued = start if start <= trunks[0] else 0
        return batch_size * (trunks[-1] - continued + sum(totals) - sum(trunks))

    def _decay(self, seen: int, total: int) -> float:
        decaying = self.decay_share * total
        return min(1.0, (total - seen) / decaying) if decaying else 1.0


class Budget(BaseModel):
    """The length of a run: `epochs` passes over `images` training images, evaluated on at most `validation` images."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    images: Annotated[int, Field(ge=2)] = 10_000
    epochs: Annotated[int, Field(ge=1)] = 2
    validation: Annotated[int, Field(ge=1)] = 5_000

    @property
    def seen(self) -> int:
        """The number of images that a run sees, where each counts once per epoch."""
        return self.images * self.epochs

    @property
    def short(self) -> str:
        """Images and epochs in the form that `read` parses, such as `10000x2`."""
        return f"{self.images}x{self.epochs}"

    def times(self, factor: int) -> Budget:
        """Return the budget with `factor` times the epochs."""
        return self.model_copy(update={"epochs": factor * self.epochs})

    def fitted(self, training: int, validation: int) -> Budget:
        """Adapt the budget to data with these numbers of images. Fewer training images are seen more often."""
        if self.images <= training:
            return self
        epochs, measured = max(1, round(self.seen / training)), min(self.validation, validation)
        return self.model_copy(update={"images": training, "epochs": epochs, "validation": measured})

    @classmethod
    def read(cls, text: str) -> Budget:
        """Parse IMAGESxEPOCHS; raise `ExplorerError` if it is malformed or out of range."""
        found = re.fullmatch(r"(\d[\d.,_]*[kKmM]?)x(\d+)", text)
        if found is None:
            raise ExplorerError(f"budget {text}: must be IMAGESxEPOCHS, such as {cls().short}")
        try:
            return cls(images=read_count("images", found[1]), epochs=int(found[2]))
        except ValidationError as error:
            details = error.errors()[0]
            raise ExplorerError(f"budget {text}: {details['loc'][-1]}: {rule(details)}") from None

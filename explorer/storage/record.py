"""A stored study with its results, which is the data behind every table, plot and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from explorer.data.class_counts import ClassCounts
from explorer.study.model import Study

NOT_NEEDED = "not needed"
"""State of a run that was not trained because the claims were decided without it."""


@dataclass(frozen=True)
class StudyRecord:
    """A study with its points and runs, as read from the ledger.

    Attributes:
        points: One row per design point: `point` (its number), each varied metaparameter (None where a listed point
            takes the preset's value), `label` (these as text), `series` (text, may be empty), each quantity that the
            space derives, `input_pixels`, `final_pixels` and `image_pixels` (side of the network's input, of its last
            maps and of the images; NA if unknown), `state` (`planned`, `infeasible`, `over budget` or `merged`; in a
            search also `stopped` or `failed` below the top rung), `reason` (empty when planned), `network` (digest),
            `same_as` (number of the point it is merged into, or NA), and every computed quantity, such as `params` and
            `macs` (Int64, NA when infeasible).
        runs: One row per seed of each planned point, trained or not: `point`, `seed`, `key`, `state` (`done`, `failed`,
            `crashed`, `missing` or `not needed`), `reason`, `accuracy`, `accuracies` and `train_losses` (one entry per
            epoch), `correct` (one entry per validation image), `seconds`, `images_per_second`, `peak_memory_bytes`,
            `finished` (UTC, ISO 8601), `host`. Unknown values are None or NaN.
        rungs: The runs of a search at budgets below the study's: `point`, `seed`, `epochs`, `key`, `state`, `reason`,
            `accuracy`, `validation_images`, `seconds`, `peak_memory_bytes` and `finished`.
        declined: Number of proposals that a search did not train, by reason.
    """

    study: Study
    data_fingerprint: str
    command: str
    versions: dict[str, str]
    machine: dict[str, str]
    classes: int  # in the data
    points: pd.DataFrame
    runs: pd.DataFrame
    class_counts: ClassCounts | None = None  # unknown for studies stored by earlier versions
    rungs: pd.DataFrame = field(default_factory=pd.DataFrame)
    declined: Mapping[str, int] = field(default_factory=dict)

    @property
    def guess(self) -> float:
        """The accuracy of always naming the largest class, as a fraction. Unknown classes are assumed to be equal."""
        return self.class_counts.guess if self.class_counts else 1 / self.classes

    @property
    def needed(self) -> pd.DataFrame:
        """The runs without those that are not needed."""
        return self.runs[self.runs["state"] != NOT_NEEDED]

    @property
    def unfinished(self) -> int:
        """Number of runs that are needed and not done."""
        return int((self.needed["state"] != "done").sum())

    @property
    def metaparameters(self) -> list[str]:
        """The varied metaparameters. They are columns of `points`."""
        return list(self.study.varied)

    @property
    def derived(self) -> list[str]:
        """The quantities that the space derives. They are columns of `points`."""
        return [name for name in self.study.design_space.derived if name in self.points]

"""What is known of a study: the stored rows that every table, plot and report is made from."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from explorer.study.model import Study


@dataclass(frozen=True)
class StudyRecord:
    """A study with its points and runs, as read from the ledger.

    `points` has one row for each design point, in order:

    - `point` (its number), `label` and `series` (text), and a column for each varied metaparameter (typed values, None
      where a listed point leaves it to the preset);
    - a column for each quantity that the space derives, and every quantity that a network gives, such as `params` and
      `macs` (Int64, NA when infeasible);
    - `input_pixels` and `image_pixels` (the side of the network's input and of the data's images; NA if not known);
    - `state` (`planned`, `infeasible`, `over budget` or `merged`), `reason` (empty when planned), `network` (digest)
      and `same_as` (number of the point that it is merged into, or NA).

    `runs` has one row for each seed of each planned point, trained or not, with None or NaN for what is not known:

    - `point`, `seed`, `key`, `state` (`done`, `failed`, `crashed` or `missing`), `reason`;
    - `accuracy`, `accuracies` and `train_losses` (one entry an epoch), `correct` and `top_probability` (one entry for
      each validation image);
    - `seconds`, `images_per_second`, `peak_memory_bytes`, `finished` (UTC, ISO 8601), `host`.
    """

    study: Study
    data_fingerprint: str
    command: str
    versions: dict[str, str]
    machine: dict[str, str]
    classes: int  # of the data
    points: pd.DataFrame
    runs: pd.DataFrame

    @property
    def metaparameters(self) -> list[str]:
        """Names of the varied metaparameters, which are columns of `points`."""
        return list(self.study.varied)

    @property
    def derived(self) -> list[str]:
        """Names of the quantities that the space derives, which are columns of `points`."""
        return [name for name in self.study.design_space.derived if name in self.points]

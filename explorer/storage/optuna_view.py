"""The Optuna view: a study's settled points as trials of an Optuna study in the same database.

Finished trials cannot be changed, so if one no longer agrees with the ledger, the whole view is replaced.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import URL

from explorer.errors import ExplorerError
from explorer.networks.quantities import main_amounts
from explorer.spaces.space import label
from explorer.storage.database import engine_options
from explorer.storage.runs import Result
from explorer.study.model import Study
from explorer.study.plan import Point


def optuna_storage(url: URL) -> optuna.storages.RDBStorage:
    """Open Optuna's tables in the database; tables of another Optuna version are an `ExplorerError`."""
    try:
        return optuna.storages.RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine_options(url))
    except RuntimeError as error:
        raise ExplorerError(f"storage {url}: Optuna cannot read it: {str(error).splitlines()[0]}") from None


class View:
    """The Optuna study that shows a study."""

    def __init__(self, url: URL, study: Study) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = study
        self.storage = optuna_storage(url)
        self.distributions = {key: _distribution(values) for key, values in study.varied.items()}
        self.optuna_study = self._open()

    def sync(self, settled: Mapping[int, tuple[Point, Sequence[Result]]]) -> None:
        """Show exactly these points, by number, with the results of their runs."""
        wanted = {number: self._trial(point, results) for number, (point, results) in settled.items()}
        shown = {trial.user_attrs.get("point"): trial for trial in self.optuna_study.get_trials(deepcopy=False)}
        if any(number not in wanted or not _agree(trial, wanted[number]) for number, trial in shown.items()):
            optuna.delete_study(study_name=self.study.name, storage=self.storage)
            self.optuna_study, shown = self._open(), {}
        self.optuna_study.add_trials([trial for number, trial in wanted.items() if number not in shown])

    def add(self, point: Point, results: Sequence[Result]) -> None:
        """Show one more settled point."""
        self.optuna_study.add_trial(self._trial(point, results))

    def close(self) -> None:
        """Close the connection."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _open(self) -> optuna.Study:
        opened = optuna.create_study(
            study_name=self.study.name, storage=self.storage, direction="maximize", load_if_exists=True
        )
        with warnings.catch_warnings():
            # Experimental, but it only labels the dashboard's axes.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            opened.set_metric_names(["accuracy"])
        return opened

    def _trial(self, point: Point, results: Sequence[Result]) -> FrozenTrial:
        accuracies = [result.accuracy for result in results if result.accuracy is not None]
        reason = next((result.reason for result in results if result.reason), point.reason)
        attributes: dict[str, Any] = {"point": point.number, "label": point.label, "state": point.state}
        if results:
            attributes["state"] = "done" if accuracies else "failed"
        if point.network is not None:
            attributes |= main_amounts(point.network) | {"network": point.network.digest[:12]} | point.derived
        if accuracies:
            attributes |= {"accuracy": mean(accuracies), "seeds": len(accuracies)}
        if len(accuracies) > 1:
            attributes["spread"] = stdev(accuracies)
        if reason:
            attributes["reason"] = reason
        return create_trial(
            state=TrialState.COMPLETE if accuracies else TrialState.FAIL,
            value=mean(accuracies) if accuracies else None,
            params={
                key: label(point.metaparameters.get(key))
                if isinstance(distribution, CategoricalDistribution)
                else point.metaparameters[key]
                for key, distribution in self.distributions.items()
            },
            distributions=self.distributions,
            user_attrs=attributes,
        )


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return CategoricalDistribution([label(value) for value in values])
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(min(numbers)), int(max(numbers)))
    return FloatDistribution(min(numbers), max(numbers))


def _agree(shown: FrozenTrial, wanted: FrozenTrial) -> bool:
    return (shown.state, shown.values, shown.user_attrs) == (wanted.state, wanted.values, wanted.user_attrs)

"""Optuna's samplers, by ask and tell on studies in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import moocore
import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from explorer.pricing.enumeration import Axis, Coded, Steps, Values
from explorer.spaces.space import label
from explorer.study.coordinates import is_logarithmic

MOST_TRIALS = 256
"""Trials that a sampler learns from; TPE and GP slow down with more. Half are the best ones, by Pareto rank."""

Direction: TypeAlias = Literal["minimize", "maximize"]

LIMITS = "limits"  # name of the constraint
SLOW = {"gp"}  # takes seconds per proposal
NEVER_LEARN = {"qmc", "random"}


@dataclass(frozen=True)
class Trial:
    """A point that a sampler learns from.

    Attributes:
        metaparameters: Its values.
        values: The objectives, in the sampler's order; None while the point has no accuracy.
        excess: By how much it exceeds the limits, above 0, or 0 within them.
        attributes: What the sampler noted when it proposed the point.
    """

    metaparameters: Mapping[str, Any]
    values: tuple[float, ...] | None
    excess: float = 0.0
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Sampler:
    """Proposes points with one of Optuna's samplers. The same history always gives the same proposal."""

    def __init__(self, name: str, axes: Sequence[Axis], costs: int, seed: int) -> None:
        """Propose points on these axes for accuracy, which is maximised, and a number of costs."""
        self.name = name
        self.directions: list[Direction] = ["maximize", *costs * ["minimize"]]  # type: ignore[list-item]
        self.seed = seed
        self.asked = 0
        self.choices = {axis.keys[0]: _choices(axis) for axis in axes}
        self.distributions = {axis.keys[0]: _distribution(axis) for axis in axes}
        self._lasting = self._study([]) if name in NEVER_LEARN else None

    def skip(self, count: int) -> None:
        """Go on with other random numbers, as after this many proposals."""
        self.asked += count
        if self._lasting is not None:
            self._lasting = self._study([])

    def ask(self, trials: Sequence[Trial], count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return the metaparameters of up to `count` proposals, and what the sampler notes about each."""
        study = self._lasting or self._study(_selected(trials, self.directions))
        self.asked += 1
        found = []
        for asked in [study.ask(self.distributions) for _ in range(1 if self.name in SLOW else count)]:
            values = {key: self._read(key, value) for key, value in asked.params.items()}
            found.append((values, dict(study.get_trials(deepcopy=False)[asked.number].system_attrs)))
        return found

    def _study(self, trials: Sequence[Trial]) -> optuna.Study:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=optuna.storages.InMemoryStorage(), directions=self.directions, sampler=self._sampler()
            )
            study.add_trials([self._trial(trial) for trial in trials])
        return study

    def _sampler(self) -> BaseSampler:
        seed = int(np.random.default_rng([self.seed, self.asked]).integers(2**31))
        match self.name:
            case "tpe":
                return TPESampler(seed=seed, multivariate=True)
            case "gp":
                return GPSampler(seed=seed)
            case "nsga2":
                return NSGAIISampler(seed=seed)
            case "nsga3":
                return NSGAIIISampler(seed=seed)
            case "qmc":
                return QMCSampler(seed=seed, scramble=True, warn_asynchronous_seeding=False)
        return RandomSampler(seed=seed)

    def _trial(self, trial: Trial) -> optuna.trial.FrozenTrial:
        return create_trial(
            state=TrialState.RUNNING if trial.values is None else TrialState.COMPLETE,
            values=trial.values,
            params={key: self._written(key, value) for key, value in trial.metaparameters.items()},
            distributions=self.distributions,
            system_attrs=dict(trial.attributes),
            constraints={LIMITS: trial.excess},
        )

    def _written(self, key: str, value: object) -> Any:  # noqa: ANN401 (of any metaparameter)
        return label(value) if self.choices[key] else value

    def _read(self, key: str, value: Any) -> Any:  # noqa: ANN401 (of any metaparameter)
        if self.choices[key]:
            return self.choices[key][value]
        return float(f"{value:.4g}") if isinstance(value, float) else value


def _choices(axis: Axis) -> dict[str, Any]:
    """Return the listed values by their labels; empty for a range."""
    if not isinstance(axis, Values):
        return {}
    column = axis.extremes[axis.keys[0]]
    return {label(value): value for value in (column.choices if isinstance(column, Coded) else column.tolist())}


def _distribution(axis: Axis) -> BaseDistribution:
    if choices := _choices(axis):
        return CategoricalDistribution(list(choices))
    numbers = np.asarray(axis.extremes[axis.keys[0]])
    low, high = numbers.min().item(), numbers.max().item()
    step = axis.step / axis.scale if isinstance(axis, Steps) else 0
    if isinstance(low, float):
        return FloatDistribution(low, high, step=step or None, log=not step and is_logarithmic(low, high))
    return IntDistribution(low, high, step=int(step or 1), log=step == 1 and is_logarithmic(low, high))


def _selected(trials: Sequence[Trial], directions: Sequence[Direction]) -> Sequence[Trial]:
    """Keep the trials without values and, of the others, the best by Pareto rank and an even sample of the rest."""
    if len(trials) <= MOST_TRIALS:
        return trials
    waiting = [trial for trial in trials if trial.values is None][-MOST_TRIALS // 4 :]
    known = [trial for trial in trials if trial.values is not None]
    ranks = moocore.pareto_rank(
        np.array([trial.values for trial in known]), maximise=[each == "maximize" for each in directions]
    )
    ranks = ranks + len(known) * np.array([trial.excess > 0 for trial in known])
    order = np.argsort(ranks, kind="stable")
    best, others = order[: MOST_TRIALS // 2], order[MOST_TRIALS // 2 :]
    sample = others[np.linspace(0, len(others) - 1, MOST_TRIALS // 4).astype(int)] if len(others) else others
    return [known[place] for place in sorted({*best.tolist(), *sample.tolist()})] + waiting


class _quiet:  # noqa: N801 (a context manager)
    """Silence Optuna's messages about studies in memory."""

    def __enter__(self) -> None:
        self.before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def __exit__(self, *_: object) -> None:
        optuna.logging.set_verbosity(self.before)

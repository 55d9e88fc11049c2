"""What a search does next: propose a point, promote one to the next rung, or give one a further seed.

While less than `EXPLORING` of its budget is spent, a search promotes what the rule allows and otherwise proposes. Then
it promotes every point that can still be on the front, and gives further seeds to the points whose place on the front
is undecided. If budget is left when all are decided, it proposes again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.fronts import rival_probability, undecided
from explorer.analysis.looks import looks, repeated_confidence
from explorer.searching.designs import Designs, scaled_costs
from explorer.searching.promotion import next_promoted
from explorer.searching.samplers import Sampler, Trial
from explorer.study.plan import Point
from explorer.study.search import SearchTable

EXPLORING = 0.7
"""Share of the budget after which nothing is proposed until the front is settled."""

ASKS = 8
"""Proposals in a row that are outside the limits or known; then the nearest other design within them is taken."""

DRAWS = 2_000
SEED_VARIANCE = 0.005**2
"""Variance of accuracy between seeds, from our certificates, until ten further seeds tell it."""


@dataclass(frozen=True)
class Step:
    """A run to train: a point, at a rung, with a seed."""

    point: Point
    rung: int
    seed: int = 0


@dataclass
class Progress:
    """A point in the search: its accuracy at each rung it has finished (seed 0), and at the top with further seeds."""

    point: Point
    costs: NDArray[np.float64]
    attributes: dict[str, Any] = field(default_factory=dict)
    accuracies: list[float] = field(default_factory=list)
    seeds: list[float] = field(default_factory=list)
    running: int = 0
    started: int = 0
    failed: bool = False


class Policy:
    """Decides each step from the results so far. It knows nothing of training, so it can be simulated."""

    def __init__(
        self,
        table: SearchTable,
        designs: Designs,
        sampler: Sampler,
        *,
        guess: float,
        seeds: int,
        validation_images: int,
        rungs: int | None = None,
    ) -> None:
        self.table = table
        self.designs = designs
        self.sampler = sampler
        self.guess = guess
        self.seeds = seeds
        self.validation_images = validation_images
        self.top = (rungs or table.rungs) - 1
        self.points: list[Progress] = []
        self.known: dict[str, Progress] = {}  # by network
        self.declined: Counter[str] = Counter()
        self.refused: deque[Trial] = deque(maxlen=64)
        self.first = deque(designs.first())
        self.exhausted = False

    def next(self, spent: float) -> Step | None:
        """Return the next step, or None if there is none until a run ends; `spent` is the spent share of the budget."""
        exploring = spent < EXPLORING and not self.exhausted
        step = self._promoted(limited=exploring)
        if step is None and not exploring:
            step = self._seeded()
        if step is None and not self.exhausted:
            step = self._proposed()
        if step is None and exploring:  # the proposals have just run out
            step = self._promoted(limited=False) or self._seeded()
        return step and self.begin(step)

    def begin(self, step: Step) -> Step:
        """Note that a run has started."""
        at = self.points[step.point.number]
        at.running += 1
        if step.seed:
            at.started = max(at.started, step.seed)
        return step

    def add(self, point: Point, attributes: dict[str, Any] | None = None) -> Progress:
        """Note a point that the search trains."""
        assert point.network is not None
        progress = Progress(point, scaled_costs(point, self.table.costs), attributes or {})
        self.points.append(progress)
        self.known[point.network.digest] = progress
        return progress

    def record(self, step: Step, accuracy: float | None) -> None:
        """Note a run's accuracy; None if it failed."""
        at = self.points[step.point.number]
        at.running -= 1
        if accuracy is None:
            at.failed = at.failed or not step.seed
            return
        if not step.seed:
            at.accuracies.append(accuracy)
        if step.rung == self.top:
            at.seeds.append(accuracy)

    def finalists(self) -> list[Progress]:
        """Return the points that have reached the top rung."""
        return [at for at in self.points if at.seeds]

    def reference(self) -> NDArray[np.float64]:
        """Return the reference point of hypervolumes: the accuracy of guessing and the largest costs, (1 + costs,)."""
        largest = np.max([at.costs for at in self.points], axis=0, initial=-np.inf) + 1e-9
        return np.concatenate([[self.guess], np.atleast_1d(largest)])

    def _promoted(self, *, limited: bool) -> Step | None:
        for rung in reversed(range(self.top)):
            here = [at for at in self.points if len(at.accuracies) > rung]
            if not here:
                continue
            promoted = np.array([len(at.accuracies) > rung + 1 or bool(at.running) or at.failed for at in here])
            accuracies = np.array([at.accuracies[rung] for at in here])
            costs = np.array([at.costs for at in here]).reshape(len(here), -1)
            chosen = next_promoted(accuracies, costs, promoted, self.reference(), limited=limited)
            if chosen is not None:
                return Step(here[chosen].point, rung + 1)
        return None

    def _seeded(self) -> Step | None:
        """Return a further seed for the point whose place on the front is least decided."""
        top = self.finalists()
        if self.seeds < 2 or len(top) < 2:  # noqa: PLR2004 (with one there is nothing to decide)
            return None
        open_ = undecided(probability := self._probability(top), repeated_confidence(looks(self.seeds)))
        order = np.argsort(np.abs(probability - 0.5), kind="stable")
        for place in order[open_[order]]:
            at = top[place]
            used = 1 + max(at.started, len(at.seeds) - 1)
            if used < self.seeds and not at.running:
                return Step(at.point, self.top, used)
        return None

    def _probability(self, top: Sequence[Progress]) -> NDArray[np.float64]:
        means = np.array([np.mean(at.seeds) for at in top])
        counts = np.array([len(at.seeds) for at in top])
        freedom = int((counts - 1).sum())
        squares = sum(float(np.sum((np.array(at.seeds) - np.mean(at.seeds)) ** 2)) for at in top)
        # Until there are ten degrees of freedom, the usual variance counts for the rest of them.
        variance = (squares + max(0, 10 - freedom) * SEED_VARIANCE) / max(10, freedom)
        spread = np.sqrt(means * (1 - means) / self.validation_images + variance / counts)
        noise = np.random.default_rng(0).standard_normal((len(top), DRAWS))
        draws = (means[:, None] + spread[:, None] * noise).astype(np.float32)
        return rival_probability(np.array([at.costs for at in top]), draws)

    def _proposed(self) -> Step | None:
        for values, attributes in self._candidates():
            point = self.designs.point(len(self.points), values)
            if self._accepted(point, attributes):
                self.add(point, attributes)
                return Step(point, 0)
        self.exhausted = True
        return None

    def _candidates(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield proposals, with what the sampler notes about each, until one can be trained."""
        while self.first:
            yield self.first.popleft(), {}
        values: dict[str, Any] = {}
        attributes: dict[str, Any] = {}
        known = self.history()
        for _ in range(ASKS):
            values, attributes = self.sampler.ask([*known, *self.refused])
            yield values, attributes
        while (near := self.designs.nearest(values)) is not None:
            yield near, attributes

    def _accepted(self, point: Point, attributes: dict[str, Any]) -> bool:
        """Whether to train a proposal; if not, count it, and let the sampler learn from one outside the limits."""
        if point.network is None:
            self.declined["infeasible"] += 1
        elif point.state != "planned":
            self.declined["outside the limits"] += 1
            costs = scaled_costs(point, self.table.costs)
            trial = Trial(point.metaparameters, (self.guess, *costs.tolist()), 1.0, attributes)
            self.refused.append(trial)
        elif point.network.digest in self.known:
            self.declined["the same network as an earlier one"] += 1
        else:
            return True
        return False

    def history(self) -> list[Trial]:
        """Return the points as the sampler sees them: with the accuracy expected at the top rung, and the costs."""
        gains = self._gains()
        trials = []
        for at in self.points:
            if at.failed:
                continue
            values = None
            if at.accuracies:
                expected = np.mean(at.seeds) if at.seeds else at.accuracies[-1] + gains[len(at.accuracies) - 1]
                values = (float(expected), *at.costs.tolist())
            trials.append(Trial(at.point.metaparameters, values, 0.0, at.attributes))
        return trials

    def _gains(self) -> list[float]:
        """Return how much accuracy is gained from each rung to the top: medians from rung to rung, added up."""
        gains = [0.0]
        for rung in reversed(range(self.top)):
            steps = [
                at.accuracies[rung + 1] - at.accuracies[rung] for at in self.points if len(at.accuracies) > rung + 1
            ]
            gains.append(gains[-1] + (float(np.median(steps)) if steps else 0.0))
        return gains[::-1]

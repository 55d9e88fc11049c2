"""Decide the next step of a search: train a new point, promote one to its next rung, or add a seed to one.

Until `EXPLORING` of the budget is spent, the rule in `promotion.py` chooses among new proposals and all points below
the top rung. After that, the search settles the front: it promotes points that are likely to be on it, then adds seeds
to points whose place on it is undecided, until each is decided or has all its seeds. If any budget is left, the rule
applies again.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.analysis.fronts import rival_probability, undecided
from explorer.analysis.gaussian_process import one_thread
from explorer.analysis.looks import looks, repeated_confidence
from explorer.searching.designs import Designs, scaled_costs
from explorer.searching.expectation import expected_at_top
from explorer.searching.forecast import FEWEST, Forecast
from explorer.searching.promotion import OPTIMISM, next_point
from explorer.searching.samplers import Sampler, Trial
from explorer.study.plan import Point
from explorer.study.search import SearchTable

EXPLORING = 0.7
PROMOTING = 0.85
"""Shares of the budget after which the search stops proposing, and then also stops promoting in favour of seeds."""
SETTLING = 2
"""Number of levels of `OPTIMISM` that are tried while settling the front."""

ASKS = 8
OTHERS = 16
"""Proposals of the sampler and random designs to choose from at each step.

Random designs cost nothing, are always within the limits, and keep the search from narrowing too early.
"""

LAG = 2
"""Training images that points below the top may use, as a multiple of those used by points at the top."""

DRAWS = 2_000
SEED_VARIANCE = 0.01**2
"""Variance of accuracy between seeds, used until ten are measured. In our certificates: 0.009 to 0.013, squared."""


@dataclass(frozen=True)
class Step:
    """A run to train: a point, at a rung, with a seed."""

    point: Point
    rung: int
    seed: int = 0


@dataclass(eq=False)
class Progress:
    """A point in the search.

    Attributes:
        point: The point.
        costs: Its costs on the scale of the front, (costs,).
        place: Features for forecasts: coordinates and costs, (features,).
        attributes: The sampler's own data about its proposal.
        accuracies: Accuracies of seed 0 at the finished rungs, lowest first.
        seeds: Accuracies of all seeds at the top rung.
        last_seed: The last seed that was started.
        running: Number of its runs in progress.
        failed: Whether a run of seed 0 failed.
    """

    point: Point
    costs: NDArray[np.float64]
    place: NDArray[np.float64]
    attributes: dict[str, Any] = field(default_factory=dict)
    accuracies: list[float] = field(default_factory=list)
    seeds: list[float] = field(default_factory=list)
    last_seed: int = 0
    running: int = 0
    failed: bool = False

    @property
    def can_go_on(self) -> bool:
        """Whether it can be promoted now."""
        return bool(self.accuracies) and not self.seeds and not self.running and not self.failed


class Proposal(NamedTuple):
    """A point that may be trained, with the sampler's own data about it."""

    point: Point
    attributes: dict[str, Any]


class Policy:
    """Decides each step from the results so far. It does not depend on training, so it can be simulated.

    Args:
        table: The settings of the search.
        designs: Where points come from.
        sampler: What proposes them.
        images: Training images of each rung when continued from the one below, (rungs,).
        guess: Accuracy of guessing.
        seeds: Maximum number of seeds of a point at the top rung.
        validation_images: Number of images that accuracy is measured on.
    """

    def __init__(
        self,
        table: SearchTable,
        designs: Designs,
        sampler: Sampler,
        images: Sequence[int],
        *,
        guess: float,
        seeds: int,
        validation_images: int,
    ) -> None:
        self.table = table
        self.designs = designs
        self.sampler = sampler
        self.images = np.array([*images, 0], dtype=float)[::-1].cumsum()[::-1]  # from each rung to the top
        self.top = len(images) - 1
        self.guess = guess
        self.seeds = seeds
        self.validation_images = validation_images
        self.points: list[Progress] = []
        self.known: dict[str, Progress] = {}  # by network
        self.declined: Counter[str] = Counter()
        self.refused: deque[Trial] = deque(maxlen=64)
        self.first = deque(designs.first())
        self.exhausted = False

    def next(self, spent: float, left: float = np.inf) -> Step | None:
        """Return the next step, or None if there is nothing to do until a run ends.

        Args:
            spent: Share of the budget that is spent.
            left: Training images left. Points that would need more to reach the top rung are not started or promoted.
        """
        with one_thread():  # the cores are for training, and small matrices are faster on one
            if spent < EXPLORING and not self.exhausted:
                step = self._train(left) or self._seed(left)
            else:
                step = self._train(left, settling=True) if spent < PROMOTING else None
                step = step or self._seed(left) or self._train(left)
        return step and self.begin(step)

    def begin(self, step: Step) -> Step:
        """Count a run as started."""
        at = self.points[step.point.number]
        at.running += 1
        at.last_seed = max(at.last_seed, step.seed)
        return step

    def record(self, step: Step, accuracy: float | None) -> None:
        """Store a run's accuracy, which is None if the run failed."""
        at = self.points[step.point.number]
        at.running -= 1
        if accuracy is None:
            at.failed = at.failed or not step.seed
            return
        if not step.seed:
            at.accuracies.append(accuracy)
        if step.rung == self.top:
            at.seeds.append(accuracy)

    def add(self, point: Point, attributes: dict[str, Any]) -> Progress:
        """Add a point to the search."""
        assert point.network is not None
        progress = self._progress(Proposal(point, attributes))
        self.points.append(progress)
        self.known[point.network.digest] = progress
        return progress

    def skip(self, proposed: Sequence[Mapping[str, Any]]) -> None:
        """Continue after the proposals of an earlier call instead of repeating them."""
        made = [place for place, values in enumerate(self.first) if values in proposed]
        for _ in range(made[-1] + 1 if made else 0):
            self.first.popleft()
        if proposed:
            self.sampler.skip(len(proposed))
            self.designs.others(OTHERS * len(proposed))

    def finalists(self) -> list[Progress]:
        """Return the points that have reached the top rung."""
        return [at for at in self.points if at.seeds]

    def reference(self) -> NDArray[np.float64]:
        """Return the reference point of hypervolumes: the accuracy of guessing and the largest costs, (1 + costs,)."""
        return np.concatenate([[self.guess], self.designs.largest(self.table.costs)])

    def _train(self, left: float, *, settling: bool = False) -> Step | None:
        """Return the step that the rule chooses; until there is enough data for a forecast, train the first proposals.

        While settling the front, nothing is proposed, and only points that are likely to be on it are promoted.
        """
        known, expected, deviations = self._expected()
        waiting = [at for at in known if at.can_go_on and self._to_top(at) <= left]
        open_ = self.images[0] <= left and not settling and not (waiting and self._lags())
        proposals = self._proposals(dict(zip(known, expected.tolist(), strict=True))) if open_ else []
        if not proposals and not waiting:
            return None
        if (self.first or len(known) < FEWEST) and proposals:
            return self._begun(proposals[0])
        places = np.array([at.place for at in known])
        forecast = Forecast.fit(places, expected, deviations)
        means, spreads = forecast.blended(places, expected, deviations)
        fresh = list(map(self._progress, proposals))
        ahead, doubt = forecast.at(np.array([at.place for at in fresh])) if fresh else (np.zeros(0), np.zeros(0))
        rows = {at: row for row, at in enumerate(known)}
        chosen = [rows[at] for at in waiting]
        taken = [row for row, at in enumerate(known) if at.seeds or at.running]
        front = np.column_stack([np.where([bool(at.seeds) for at in known], expected, means), self._costs(known)])
        place = next_point(
            np.concatenate([means[chosen], ahead]),
            np.concatenate([spreads[chosen], doubt]),
            self._costs([*waiting, *fresh]),
            np.concatenate([[self._to_top(at) for at in waiting], np.full(len(fresh), self.images[0])]),
            front[taken],
            self.reference(),
            OPTIMISM[:SETTLING] if settling else OPTIMISM,
        )
        if place is None:
            return None
        self.declined["less promising than others"] += len(proposals) - (place >= len(waiting))
        if place < len(waiting):
            return Step(waiting[place].point, len(waiting[place].accuracies))
        return self._begun(proposals[place - len(waiting)])

    def _lags(self) -> bool:
        """Whether points must be promoted before new ones are proposed, because lower rungs have used too many images.

        Early forecasts are wrong, and only accuracies at the top rung can correct them.
        """
        taken = [self.images[0] - self._to_top(at) for at in self.points]
        at_top = sum(images for at, images in zip(self.points, taken, strict=True) if at.seeds)
        return bool(sum(taken) - at_top > LAG * (at_top + self.images[0]))

    def _begun(self, proposal: Proposal) -> Step:
        self.add(*proposal)
        return Step(proposal.point, 0)

    def _to_top(self, at: Progress) -> float:
        return float(self.images[len(at.accuracies)])

    def _costs(self, points: Sequence[Progress]) -> NDArray[np.float64]:
        return np.array([at.costs for at in points]).reshape(len(points), len(self.table.costs))

    def _progress(self, proposal: Proposal) -> Progress:
        point, attributes = proposal
        costs = scaled_costs(point, self.table.costs)
        return Progress(point, costs, np.concatenate([self.designs.place(point.metaparameters), costs]), attributes)

    def _seed(self, left: float) -> Step | None:
        """Return another seed for the point whose place on the front is least certain."""
        top = self.finalists()
        # One seed at the top rung never needs more images than all rungs of a point.
        if self.seeds < 2 or len(top) < 2 or self.images[0] > left:  # noqa: PLR2004 (one alone is decided)
            return None
        probability = self._probability(top)
        open_ = undecided(probability, repeated_confidence(looks(self.seeds)))
        for place in np.argsort(np.abs(probability - 0.5), kind="stable"):
            at = top[place]
            if open_[place] and at.last_seed + 1 < self.seeds and not at.running:
                return Step(at.point, self.top, at.last_seed + 1)
        return None

    def _probability(self, top: Sequence[Progress]) -> NDArray[np.float64]:
        """Return the probability that each point at the top is on the front, (points,)."""
        means = np.array([np.mean(at.seeds) for at in top])
        counts = np.array([len(at.seeds) for at in top])
        freedom = int((counts - 1).sum())
        squares = sum(float(np.sum((np.array(at.seeds) - np.mean(at.seeds)) ** 2)) for at in top)
        variance = (squares + max(0, 10 - freedom) * SEED_VARIANCE) / max(10, freedom)
        spread = np.sqrt(means * (1 - means) / self.validation_images + variance / counts)
        noise = np.random.default_rng(0).standard_normal((len(top), DRAWS))
        draws = (means[:, None] + spread[:, None] * noise).astype(np.float32)
        return rival_probability(self._costs(top), draws)

    def _proposals(self, expected: Mapping[Progress, float]) -> list[Proposal]:
        """Return distinct new points that may be trained, given the expected accuracies of known ones."""
        if self.exhausted:
            return []
        found = self._first() or self._asked(expected) or self._last()
        self.exhausted = not found
        return found

    def _first(self) -> list[Proposal]:
        while self.first:
            proposal = self._proposal(self.first.popleft(), {})
            if proposal is not None:
                return [proposal]
        return []

    def _asked(self, expected: Mapping[Progress, float]) -> list[Proposal]:
        """Return proposals of the sampler and random designs, without those that must not be trained."""
        asked = self.sampler.ask([*self._history(expected), *self.refused], ASKS)
        asked += [(values, {}) for values in self.designs.others(OTHERS)]
        found: dict[str, Proposal] = {}
        for values, attributes in asked:
            proposal = self._proposal(values, attributes)
            if proposal is not None and proposal.point.network is not None:
                found.setdefault(proposal.point.network.digest, proposal)
        return list(found.values())

    def _last(self) -> list[Proposal]:
        """Return a design that has not been tried yet, if there is one left."""
        for values in self.designs.others(self.designs.size):
            proposal = self._proposal(values, {})
            if proposal is not None:
                return [proposal]
        return []

    def _proposal(self, values: dict[str, Any], attributes: dict[str, Any]) -> Proposal | None:
        """Expand a proposal. If it must not be trained, count it; the sampler learns from those outside the limits."""
        point = self.designs.point(len(self.points), values)
        if point.network is None:
            self.declined["infeasible"] += 1
        elif point.state != "planned":
            self.declined["outside the limits"] += 1
            costs = scaled_costs(point, self.table.costs)
            excess = self.designs.excess(point)
            self.refused.append(Trial(point.metaparameters, (self.guess, *costs.tolist()), excess, attributes))
        elif point.network.digest in self.known:
            self.declined["the same network as an earlier one"] += 1
        else:
            return Proposal(point, attributes)
        return None

    def _history(self, expected: Mapping[Progress, float]) -> list[Trial]:
        """Return the points for the sampler, with their expected accuracy at the top rung and their costs."""
        return [
            Trial(
                at.point.metaparameters,
                (expected[at], *at.costs.tolist()) if at in expected else None,
                attributes=at.attributes,
            )
            for at in self.points
            if not at.failed
        ]

    def _expected(self) -> tuple[list[Progress], NDArray[np.float64], NDArray[np.float64]]:
        """Return the points with an accuracy, their expected accuracies at the top and the deviations, (points,)."""
        known = [at for at in self.points if at.accuracies and not at.failed]
        noise = math.sqrt(SEED_VARIANCE + 0.25 / self.validation_images)
        # At the top rung, use the mean over all seeds.
        accuracies = [
            [*at.accuracies[: self.top], float(np.mean(at.seeds))] if at.seeds else at.accuracies for at in known
        ]
        return known, *expected_at_top(accuracies, self.top, noise)

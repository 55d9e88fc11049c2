"""How well `proxy` ranks networks of equal cost as CIFAR-10 does; results are in docs/data.md.

`draw` draws the points by price and writes benchmarks/ranking/points.csv; `measure` trains them and fills in the table;
`report` prints the tables of docs/data.md; `sheet` draws samples of `proxy`.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from explorer.data import find_source
from explorer.data.proxy import CLASSES, make_block, make_pictures
from explorer.networks.network import Network
from explorer.pricing import population
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.training.engine import execute
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Run
from explorer.training.trainer import numerics

TABLE = Path(__file__).parent / "ranking" / "points.csv"
STRATA = {
    "squeezenet": (32, (1_000_000, 2_000_000, 4_000_000)),
    "efficientnet": (16, (600_000, 1_100_000, 2_000_000)),
}
"""Points in each stratum, and the multiply-adds of the strata."""
WIDTH = 0.02
"""Largest relative deviation of a point's multiply-adds from its stratum."""
PRESET = "cifar"
DRAWN = 400_000
SEEDS = {"cifar10": (0, 1), "proxy": (0, 1, 2)}
"""Two for the reference; on `proxy`, the default of studies."""
REFERENCE = Budget(epochs=4)
"""Budget on CIFAR-10 whose ranking default runs on `proxy` should predict."""
RESAMPLES = 1000
BAR = 0.8
CHANCE = 12.0
"""Percent above which an accuracy is not chance: guessing ten classes on 5,000 images has mean 10, deviation 0.4."""


def network(family: str, values: dict[str, Any]) -> Network:
    """Return the network of a point."""
    return find_space(family).point(PRESET, **values).expand()


def read() -> pd.DataFrame:
    """Read the table with all digits."""
    return pd.read_csv(TABLE)


def write(table: pd.DataFrame) -> None:
    """Write the table; integers stay integers, also in columns that one family lacks."""
    table.convert_dtypes().to_csv(TABLE, index=False)


def draw() -> pd.DataFrame:
    """Draw the points uniformly from the family's ranges and keep those with the right price, one row each.

    A random third of every stratum is for tuning the generator. Points already in the table keep their accuracies.
    """
    rows = []
    for name, (each, centres) in STRATA.items():
        lots = np.random.default_rng(4)
        bands = [(centre * (1 - WIDTH), centre * (1 + WIDTH)) for centre in centres]
        for centre, points in zip(centres, population.draw(name, PRESET, bands, each, DRAWN), strict=True):
            tuning = set(lots.permutation(each)[: round(each / 3)].tolist())
            for number, values in enumerate(points):
                cost = network(name, values).cost
                part = "tuning" if number in tuning else "held out"
                row = {"family": name, "stratum": centre, "part": part, **values}
                rows.append(row | {"params": int(cost.params), "macs": int(cost.macs)})
    table = pd.DataFrame(rows)
    costs = ["params", "macs"]
    drawn = table[[column for column in table if column not in costs] + costs]
    return drawn.merge(read(), how="left", on=list(drawn.columns))


def column(data: str, spent: Budget, seed: int) -> str:
    """Return the name of the column of accuracies on a data set."""
    return f"{data}_{spent.short}_{seed}"


def measure(arguments: argparse.Namespace) -> None:
    """Train the points whose runs are not stored yet, and fill in the table."""
    table = read()
    dataset = find_source(arguments.data, arguments.data_dir).prepare()
    spent = arguments.budget or (REFERENCE if arguments.data == "cifar10" else Budget())
    using = numerics()
    runs: dict[Run, tuple[int, str]] = {}
    for seed in SEEDS[arguments.data]:
        for number, row in table.iterrows():
            if (arguments.family or row["family"]) == row["family"] and (arguments.part or row["part"]) == row["part"]:
                ranges = find_space(row["family"]).point(PRESET).ranges()
                values = {key: type(low)(row[key]) for key, (low, _) in ranges.items()}
                run = Run(network(row["family"], values), dataset.fingerprint, Recipe(), spent, seed, using)
                runs[run] = int(str(number)), column(arguments.data, spent, seed)
    ledger = Ledger(arguments.storage, create=True)
    with ledger.writing():
        stored = ledger.runs.results([run.key for run in runs])
        for outcome in execute([(run,) for run in runs if run.key not in stored], dataset.folder, arguments.workers):
            ledger.runs.record(outcome.row)
    stored = ledger.runs.results([run.key for run in runs])
    for run, place in runs.items():
        if run.key in stored:
            table.loc[place] = stored[run.key].accuracy
    write(table)


Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
Stratum = dict[str, NDArray[np.float64]]
"""Columns of the table by name, for the points of one stratum."""


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; NaN if a resample repeats a single point."""
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(stats.rankdata(one), stats.rankdata(other))[0, 1])


def kendall(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Kendall's tau-b."""
    return float(stats.kendalltau(one, other).statistic)


@dataclass(frozen=True)
class Question:
    """Pairs of columns to compare; the result is the mean over them."""

    text: str
    pairs: tuple[tuple[str, str], ...]

    def within(self, strata: Sequence[Stratum], statistic: Statistic) -> list[float]:
        """Return the correlation in each stratum."""
        return [
            float(np.mean([statistic(stratum[one], stratum[other]) for one, other in self.pairs])) for stratum in strata
        ]

    def pooled(self, strata: Sequence[Stratum], statistic: Statistic) -> float:
        """Return the mean over strata, weighted by their numbers of pairs of points."""
        sizes = [len(stratum["macs"]) for stratum in strata]
        return float(np.average(self.within(strata, statistic), weights=[size * (size - 1) for size in sizes]))


def singles(data: str) -> tuple[str, ...]:
    """Return the columns of single seeds."""
    return tuple(f"{data}_{seed}" for seed in SEEDS[data])


PROXY = Question("proxy, mean of three seeds, with CIFAR-10, mean of two", (("proxy", "cifar10"),))
SINGLE = Question(
    "proxy, one seed, with CIFAR-10, one seed",
    tuple((one, other) for one in singles("proxy") for other in singles("cifar10")),
)
SHORT = Question(
    "CIFAR-10 at the default budget, one seed, with another", (("short_0", "cifar10_1"), ("short_1", "cifar10_0"))
)
CEILING = Question("ceiling: CIFAR-10, one seed with the other", (("cifar10_0", "cifar10_1"),))
REPEATED = Question("proxy, one seed with another", tuple(combinations(singles("proxy"), 2)))
MEANS = ("cifar10",)
SINGLES = singles("cifar10")


def rivals(references: Sequence[str]) -> list[Question]:
    """Return the questions for rankings by cost alone."""
    said = "mean of two" if references == MEANS else "one seed"
    return [
        Question(f"{name} with CIFAR-10, {said}", tuple((cost, reference) for reference in references))
        for cost, name in (("macs", "MACs"), ("params", "params"))
    ]


def resampled(strata: Sequence[Stratum]) -> Iterator[list[Stratum]]:
    """Resample the points of each stratum with replacement."""
    rng = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        chosen = [rng.integers(len(stratum["macs"]), size=len(stratum["macs"])) for stratum in strata]
        yield [
            {key: values[rows] for key, values in stratum.items()} for stratum, rows in zip(strata, chosen, strict=True)
        ]


def report(reference: Budget, short: Budget) -> None:
    """Print the tables of docs/data.md for the accuracies measured so far."""
    table = read()
    for data, spent in (("cifar10", reference), ("proxy", short)):
        for seed, name in zip(SEEDS[data], singles(data), strict=True):
            table[name] = table.get(column(data, spent, seed), np.nan)
        table[data] = table[list(singles(data))].mean(axis=1, skipna=False)
    for seed in SEEDS["cifar10"]:
        table[f"short_{seed}"] = table.get(column("cifar10", short, seed), np.nan)
    for family, points in table.groupby("family", sort=False):
        for part, some in ((part, points[points["part"] == part]) for part in ("held out", "tuning")):
            if some["cifar10"].notna().all():
                print(f"\n**{family!s}, {part}, n = {len(some)}**\n")
                report_part(some)
    print("\n| accuracies of single runs | n | weakest, % | strongest, % | above chance |\n|---|---|---|---|---|")
    for family, points in table.groupby("family", sort=False):
        for data in ("cifar10", "proxy"):
            single = points[list(singles(data))].to_numpy(float).ravel()
            percent = 100 * single[~np.isnan(single)]
            if len(percent):
                cells = f"{family!s}, {data} | {len(percent)} | {percent.min():.1f} | {percent.max():.1f}"
                print(f"| {cells} | {np.mean(percent > CHANCE):.0%} |")


def report_part(points: pd.DataFrame) -> None:
    """Print how well each ranker agrees with CIFAR-10, and whether it meets the bar."""
    measured = bool(points["proxy"].notna().all())
    ranked = ["macs", "params", "short_0", "short_1", *(column for data in SEEDS for column in (data, *singles(data)))]
    strata = [{key: part[key].to_numpy(float) for key in ranked} for _, part in points.groupby("stratum")]
    names = " / ".join(f"{stratum / 1e6:g}" for stratum in sorted(points["stratum"].unique()))
    print(f"| | Spearman [90 %] | Kendall [90 %] | Spearman at {names} M MACs |\n|---|---|---|---|")
    again = list(resampled(strata))
    lows: dict[tuple[Question, Statistic], float] = {}
    for question in (
        *((PROXY, SINGLE, REPEATED) if measured else ()),
        SHORT,
        CEILING,
        *rivals(MEANS),
        *rivals(SINGLES),
    ):
        cells = []
        for statistic in (spearman, kendall):
            low, high = np.nanquantile([question.pooled(some, statistic) for some in again], [0.05, 0.95])
            cells.append(f"{question.pooled(strata, statistic):.2f} [{low:.2f}, {high:.2f}]")
            lows[question, statistic] = float(low)
        within = " / ".join(f"{value:.2f}" for value in question.within(strata, spearman))
        print(f"| {question.text} | {' | '.join(cells)} | {within} |")
    if not measured:
        return
    single = CEILING.pooled(strata, spearman)
    # The Spearman-Brown formula predicts the agreement of means of two. The first comparison mixes means with single
    # seeds, which favours proxy.
    of_means = "the ceiling of means of two", 2 * single / (1 + single)
    of_seeds = "the ceiling of single seeds", single
    for question, references, (name, ceiling) in (
        (PROXY, MEANS, of_seeds),
        (PROXY, MEANS, of_means),
        (SINGLE, SINGLES, of_seeds),
    ):
        low = lows[question, spearman]
        # A negative correlation ranks just as well.
        rival = max(abs(cost.pooled(strata, spearman)) for cost in rivals(references))
        verdict = "met" if low >= BAR * ceiling and low > rival else "missed"
        if lows[CEILING, spearman] <= 0:
            verdict = "cannot be judged, since the interval of the ceiling contains 0"
        bar = f"{BAR} of {name}, {ceiling:.2f}, is {BAR * ceiling:.2f}; the better of MACs and params {rival:.2f}"
        print(f"\n{question.text}: lower bound {low:.2f}; {bar}: {verdict}")


def sheet(file: Path) -> None:
    """Draw sixteen images of each class of `proxy`, one class in each row."""
    images, labels = make_block(make_pictures(), 0)
    rows = [np.concatenate(list(images[labels == number][:16]), axis=1) for number in range(len(CLASSES))]
    drawn = Image.fromarray(np.concatenate(rows))
    drawn.quantize(256, Image.Quantize.MEDIANCUT).save(file, optimize=True)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("draw")
    measuring = commands.add_parser("measure")
    measuring.add_argument("--data", default="proxy", choices=["proxy", "cifar10"])
    measuring.add_argument("--data-dir", type=Path)
    measuring.add_argument(
        "--budget", type=Budget.read, metavar="IMAGESxEPOCHS", help="10000x4 on cifar10, the default budget on proxy"
    )
    measuring.add_argument("--family", choices=list(STRATA))
    measuring.add_argument("--part", choices=["tuning", "held out"])
    measuring.add_argument("--storage", default="ranking.db")
    measuring.add_argument("--workers", type=int, default=2)
    reporting = commands.add_parser("report")
    reporting.add_argument(
        "--reference", type=Budget.read, default=REFERENCE, metavar="IMAGESxEPOCHS", help="on cifar10"
    )
    reporting.add_argument("--budget", type=Budget.read, default=Budget(), metavar="IMAGESxEPOCHS", help="on proxy")
    commands.add_parser("sheet").add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "draw":
        write(draw())
    elif arguments.command == "measure":
        measure(arguments)
    elif arguments.command == "report":
        report(arguments.reference, arguments.budget)
    else:
        sheet(arguments.file)


if __name__ == "__main__":
    main()

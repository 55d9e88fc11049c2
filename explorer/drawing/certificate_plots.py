"""Plots for a certificate."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from explorer.certification.model import COSTS, ZERO_COST
from explorer.drawing.colours import BLUE, GREY, INK, ORANGE
from explorer.drawing.labels import label_ends, tidy
from explorer.drawing.style import LABEL_SIZE
from explorer.networks.quantities import QUANTITIES

THOUSAND = 1_000


def agreement(rankers: pd.DataFrame, epochs: pd.DataFrame, ax: Axes) -> None:
    """Draw Kendall's tau with the largest budget over the images seen, from `statistics.rankers` and `epochs`.

    Bars show the intervals of annealed runs. Horizontal lines show the noise ceiling and what needs no
    training: the costs, and the zero-cost score if the certificate has it.
    """
    tidy(ax)
    runs = rankers[rankers["ranker"] == "accuracy"]
    losses = rankers[rankers["ranker"] == "training loss"]
    errors = [runs["kendall"] - runs["kendall_low"], runs["kendall_high"] - runs["kendall"]]
    ax.plot(epochs["images"] / THOUSAND, epochs["kendall"], color=GREY, linewidth=1)
    ax.plot(losses["images"] / THOUSAND, losses["kendall"], color=ORANGE, marker="s", markersize=4)
    ax.errorbar(
        runs["images"] / THOUSAND, runs["kendall"], yerr=errors, color=BLUE, marker="o", markersize=5, capsize=2
    )
    levels = rankers.set_index("ranker")["kendall"]
    nouns = {cost: QUANTITIES[cost].noun for cost in COSTS} | {ZERO_COST: "synaptic flow"}
    nouns = {name: noun for name, noun in nouns.items() if name in levels}
    for name in ("ceiling", *nouns):
        ax.axhline(levels[name], color=INK if name == "ceiling" else GREY, linewidth=1, linestyle=(0, (4, 3)))
    ax.set_xscale("log", base=2)
    ticks = sorted(set(losses["images"] / THOUSAND))
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    # Set these before the line labels, which fix the layout.
    ax.set_xlabel("Images seen in training (thousands)")
    ax.set_ylabel("Kendall's tau against the largest budget")
    right = ticks[-1]
    lines = {
        "another seed": levels["ceiling"],
        **{noun: levels[cost] for cost, noun in nouns.items()},
        "training loss": losses["kendall"].iloc[-1],
    }
    colours = {"training loss": to_rgb(ORANGE)}
    label_ends(
        ax,
        [(right, height) for height in lines.values()],
        list(lines),
        [colours.get(name, to_rgb(INK)) for name in lines],
    )
    ax.annotate(
        "annealed run",
        (runs["images"].iloc[0] / THOUSAND, runs["kendall"].iloc[0]),
        (6, -12),
        textcoords="offset points",
        color=BLUE,
        fontsize=LABEL_SIZE,
    )


def scatter(accuracies: pd.DataFrame, ax: Axes) -> None:
    """Draw mean accuracy at the largest budget against the smallest, from `statistics.accuracies`."""
    tidy(ax)
    largest = max(accuracies.filter(regex=r"^x\d+$").columns, key=lambda name: int(name[1:]))
    ax.plot(100 * accuracies["x1"], 100 * accuracies[largest], "o", color=BLUE, markersize=4.5)
    ax.set_xlabel("Accuracy of the short run (%)")
    ax.set_ylabel(f"Accuracy at {largest[1:]} times the budget (%)")

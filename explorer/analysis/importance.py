"""How much of the variation in accuracy each metaparameter explains: Sobol' indices of the surrogate.

The indices are shares of the variance in predicted accuracy over the study's ranges. A metaparameter's first-order
index is the share that it explains on its own. Its total index is the share that remains when all others are known.
Each joint draw from the surrogate's posterior has its own indices, and their mean and 95 % quantiles are reported. On a
simplex, the shares of the factors depend on each other, so the indices are meaningless. Sources and simulated coverage
are in docs/methodology.md.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats import qmc

from explorer.analysis.looks import CONFIDENCE
from explorer.analysis.surrogate import Surrogate

DRAWS = 200
_MOST = 2560  # number of designs drawn jointly in half a second; the time grows with its cube


def importance(surrogate: Surrogate, draws: int = DRAWS) -> pd.DataFrame | None:
    """Return one row for each varying metaparameter, in study order. None if fewer than two vary, or on a simplex.

    Columns: `metaparameter`, `first`, `first_low`, `first_high`, `total`, `total_low` and `total_high`, all in [0, 1].
    """
    axes, process = surrogate.coordinates.axes, surrogate.process
    count = len(axes)
    if count < 2 or surrogate.coordinates.simplex:  # noqa: PLR2004 (one alone explains everything)
        return None
    size = 2 ** int(np.log2(_MOST / (count + 2)))
    spread = qmc.Sobol(2 * count, rng=np.random.default_rng(0)).random(size)
    first = [axis.encode(axis.spread(spread[:, place])) for place, axis in enumerate(axes)]
    second = [axis.encode(axis.spread(spread[:, count + place])) for place, axis in enumerate(axes)]
    exchanged = [[*first[:place], second[place], *first[place + 1 :]] for place in range(count)]
    places = np.vstack([np.hstack(columns) for columns in (first, second, *exchanged)])
    # (blocks of designs, draws, designs), as scipy expects.
    drawn = process.draws(places, draws).reshape(count + 2, size, draws).swapaxes(1, 2)
    found = stats.sobol_indices(func={"f_A": drawn[0], "f_B": drawn[1], "f_AB": drawn[2:]}, n=size)
    table = {"metaparameter": surrogate.coordinates.names}
    for name, indices in (("first", found.first_order), ("total", found.total_order)):
        # (draws, metaparameters); estimates can fall slightly outside [0, 1], but indices cannot.
        low, high = np.quantile(indices, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
        ends = {name: indices.mean(axis=0), f"{name}_low": low, f"{name}_high": high}
        table |= {key: values.clip(0, 1) for key, values in ends.items()}
    return pd.DataFrame(table)

"""How much of the differences in accuracy each metaparameter makes: Sobol' indices of the surrogate, with their uncertainty.

Designs are drawn from the product of uniform distributions over the study's ranges; choices are equally frequent. Of the variance of the
predicted accuracy over them, the **first-order** index of a metaparameter is the share that it makes by itself, and its **total**
index the share that is left when all others are known, which includes what it makes together with others. First-order indices
add up to 1 where metaparameters do not interact.

The accuracies are joint draws of the surrogate's posterior, so each draw has indices of its own, whose mean and 95 % quantiles are given
(Marrel and others, Computational Statistics 24, 2009, p. 749). Estimated by Saltelli and others (Computer Physics Communications 181,
2010, p. 263, table 2), as scipy does, from a scrambled Sobol' sequence. As the surrogate takes its kernel for known, the intervals are
a little too narrow: of 95 % ones, simulated ones held 86 to 91 % (25 points). On a simplex the shares depend on each other, so the
indices say nothing there.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.stats import qmc

from explorer.analysis.accuracies import CONFIDENCE
from explorer.analysis.surrogate import Surrogate

DRAWS = 200
_MOST = 2560  # designs that are drawn together: half a second, as it takes their number to the third power


def importance(surrogate: Surrogate, draws: int = DRAWS) -> pd.DataFrame | None:
    """One row for each metaparameter that varies, in the order of the study; None where fewer than two do, and on a simplex.

    Columns: `metaparameter`, `first`, `first_low`, `first_high`, `total`, `total_low`, `total_high`, all in [0, 1]. Where the draws hold
    hardly a difference, the intervals are wide.
    """
    axes, process = surrogate.coordinates.axes, surrogate.process
    count = len(axes)
    if count < 2 or not surrogate.coordinates.independent:  # noqa: PLR2004 (one has all of it)
        return None
    size = 2 ** int(np.log2(_MOST / (count + 2)))
    spread = qmc.Sobol(2 * count, rng=np.random.default_rng(0)).random(size)
    first = [axis.encode(axis.spread(spread[:, place])) for place, axis in enumerate(axes)]
    second = [axis.encode(axis.spread(spread[:, count + place])) for place, axis in enumerate(axes)]
    exchanged = [[*first[:place], second[place], *first[place + 1 :]] for place in range(count)]
    places = np.vstack([np.hstack(columns) for columns in (first, second, *exchanged)])
    # (blocks of designs, draws, designs), as scipy takes them.
    drawn = process.draws(places, draws).reshape(count + 2, size, draws).swapaxes(1, 2)
    found = stats.sobol_indices(func={"f_A": drawn[0], "f_B": drawn[1], "f_AB": drawn[2:]}, n=size)
    table = {"metaparameter": surrogate.coordinates.names}
    for name, indices in (("first", found.first_order), ("total", found.total_order)):
        # (draws, metaparameters); an estimate may be a little below 0 or above 1, an index may not.
        low, high = np.quantile(indices, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
        ends = {name: indices.mean(axis=0), f"{name}_low": low, f"{name}_high": high}
        table |= {key: values.clip(0, 1) for key, values in ends.items()}
    return pd.DataFrame(table)

"""Surrogates of known functions, over the coordinates of real studies."""

import numpy as np
from records import changed

from explorer.analysis.gaussian_process import GaussianProcess
from explorer.analysis.surrogate import Surrogate


def varied(name="squeezenet_grid", **vary):
    """A study with other values to vary."""
    return changed(name, vary=vary, fixed={})


def surrogate_of(study, function, noise=1e-4, seed=0):
    """The surrogate of a function of the metaparameters, measured at the points of the study with independent noise."""
    coordinates, grid = study.form.coordinates, [point.metaparameters for point in study.design_points()]
    columns = {key: [point[key] for point in grid] for key in grid[0]}
    places = coordinates.encode(columns)
    values = np.array([function(**point) for point in grid]) + np.random.default_rng(seed).normal(0, noise, len(grid))
    process = GaussianProcess.fit(places, values, np.full(len(grid), noise**2))
    return Surrogate(coordinates, np.arange(len(grid)), len(grid), process)

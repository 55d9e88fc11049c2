"""Surrogates of functions that are known, over the coordinates of real studies."""

import numpy as np

from explorer.analysis.coordinates import Coordinates
from explorer.analysis.gaussian_process import GaussianProcess
from explorer.analysis.surrogate import Surrogate
from explorer.study.files import load_study


def varied(name="squeezenet_grid", **vary):
    """A study with other values of what it varies."""
    return load_study(name).model_copy(update={"vary": vary, "fixed": {}})


def surrogate_of(study, function, noise=1e-4, seed=0):
    """The surrogate of a function of the metaparameters, measured at the points of the study with independent noise."""
    coordinates, grid = Coordinates.of(study), list(study.grid())
    columns = {key: [point[key] for point in grid] for key in grid[0]}
    places = coordinates.encode(columns)
    values = np.array([function(**point) for point in grid]) + np.random.default_rng(seed).normal(0, noise, len(grid))
    process = GaussianProcess.fit(places, values, np.full(len(grid), noise**2))
    return Surrogate(coordinates, np.arange(len(grid)), len(grid), process)

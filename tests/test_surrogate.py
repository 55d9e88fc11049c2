"""The surrogate of accuracy, checked against linear algebra, refits and known functions."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records import World, changed, make_record, record_of_bits
from surrogates import surrogate_of, varied

from explorer import analysis
from explorer.analysis.accuracies import Accuracies
from explorer.analysis.gaussian_process import GaussianProcess
from explorer.analysis.surrogate import MOST, Surrogate, chosen
from explorer.study.coordinates import Choice, Number
from explorer.study.files import load_study


def fitted(record):
    accuracies = Accuracies.of(record)
    return Surrogate.fit(record, analysis.measured(analysis.summarise(record, accuracies)), accuracies)


@pytest.fixture(scope="module")
def record():
    return make_record("squeezenet_grid", images=400)


@pytest.fixture(scope="module")
def surrogate(record):
    return fitted(record)


def covariance(process, one, other):
    """Level and surface: Rasmussen and Williams, equation 4.17 with a length for each coordinate."""
    variance, lengths = process.surface.k2.k1.constant_value, process.surface.k2.k2.length_scale
    scaled = math.sqrt(5) * np.sqrt((((one[:, None] - other[None]) / lengths) ** 2).sum(axis=-1))
    level = 100
    return process.unit**2 * (level + variance * (1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def likelihood(process, noise):
    """Log marginal likelihood of the targets, equation 5.8, for this covariance of the noise."""
    whole = covariance(process, process.places, process.places) + noise
    off = process.targets - process.level
    return -off @ np.linalg.solve(whole, off) / 2 - np.linalg.slogdet(whole)[1] / 2


def test_the_posterior_matches_linear_algebra(record, surrogate):
    process = surrogate.process
    noise = np.diag(Accuracies.of(record).noise(np.arange(25))[0] + surrogate.process.roughness**2)
    whole = covariance(process, process.places, process.places) + noise
    random = np.random.default_rng(0)
    designs = {"squeeze_ratio": random.uniform(0.1, 1, 30), "pct3x3": random.uniform(0, 1, 30).clip(0.01, 0.99)}
    # Both span a factor of 8 or more, so their scale is logarithmic.
    places = np.column_stack(
        [np.log(designs["squeeze_ratio"] * 8) / np.log(8), np.log(designs["pct3x3"] * 100) / np.log(99)]
    )
    across = covariance(process, places, process.places)
    means = process.level + across @ np.linalg.solve(whole, process.targets - process.level)
    # The sample of images shifts all points together.
    shared = Accuracies.of(record).noise(np.arange(25))[1]
    posterior = covariance(process, places, places) - across @ np.linalg.solve(whole, across.T) + shared
    predicted, deviations = surrogate.predict(designs)
    assert predicted == pytest.approx(means, abs=1e-8)
    assert deviations == pytest.approx(np.sqrt(np.diag(posterior)), rel=1e-5)
    drawn = surrogate.draws(designs, 20_000)
    assert drawn.mean(axis=1) == pytest.approx(means, abs=5 * deviations.max() / math.sqrt(20_000))
    assert np.cov(drawn) == pytest.approx(posterior, abs=0.05 * np.diag(posterior).max())


def test_no_other_kernel_is_likelier(record, surrogate):
    process = surrogate.process
    known, identity = np.diag(Accuracies.of(record).noise(np.arange(25))[0]), np.eye(25)
    best = likelihood(process, known + surrogate.process.roughness**2 * identity)
    random = np.random.default_rng(0)
    for step in (0.05, 0.5, 2.0):
        for _ in range(40):
            surface = process.surface.clone_with_theta(
                np.clip(
                    process.surface.theta + step * random.normal(size=3),
                    process.surface.bounds[:, 0],
                    process.surface.bounds[:, 1],
                )
            )
            roughness = np.clip(
                surrogate.process.roughness * np.exp(step * random.normal()), 1e-3 * process.unit, process.unit
            )
            assert likelihood(replace(process, surface=surface), known + roughness**2 * identity) <= best + 1e-3


def test_leave_one_out_equals_fits_to_the_others(record, surrogate):
    process, table = surrogate.process, surrogate.leave_one_out()
    noise = np.diag(Accuracies.of(record).noise(np.arange(25))[0] + surrogate.process.roughness**2)
    whole = covariance(process, process.places, process.places) + noise
    for point in range(25):
        others = np.arange(25) != point
        weights = np.linalg.solve(whole[np.ix_(others, others)], whole[others, point])
        mean = process.level + weights @ (process.targets[others] - process.level)
        deviation = math.sqrt(whole[point, point] - weights @ whole[others, point])
        assert table["predicted"][point] == pytest.approx(mean, abs=1e-8)
        assert table["high"][point] - mean == pytest.approx(1.959964 * deviation, rel=1e-4)
        assert mean - table["low"][point] == pytest.approx(1.959964 * deviation, rel=1e-4)
    assert table["point"].tolist() == list(range(25))
    means = analysis.summarise(record)["accuracy"]
    assert table["accuracy"].to_numpy() == pytest.approx(means.to_numpy())
    assert (table["inside"] == table["accuracy"].between(table["low"], table["high"])).all()
    quality = surrogate.quality()
    assert quality.points == 25
    assert quality.inside == table["inside"].mean()
    assert quality.r_squared == pytest.approx(1 - ((means - table["predicted"]) ** 2).mean() / means.var(ddof=0))


def test_the_noise_has_each_point_s_own_and_a_shared_part():
    random = np.random.default_rng(0)
    world = World(pair=0.5, seed=0.3)
    images = world.images(random, 60)
    bits = {point: world.draw(random, 0.2 * point, 3, images) for point in range(3)}
    own, shared = Accuracies.of(record_of_bits(bits)).noise(np.arange(3))
    seeds = np.mean([rows.mean(axis=1).var(ddof=1) for rows in bits.values()])
    shares = np.array([rows.mean(axis=0) for rows in bits.values()])
    centred = shares - shares.mean(axis=1, keepdims=True)

    def interaction(rows):
        rest = rows - rows.mean(axis=0) - rows.mean(axis=1, keepdims=True) + rows.mean()
        return (rest**2).sum() / (2 * 59)

    for point in range(3):
        apart = centred[point] - centred.mean(axis=0)
        expected = (apart**2).sum() / 60 / 59 + max(0, seeds / 3 - interaction(bits[point].astype(float)) / 3 / 60)
        # One more image keeps it above 0 where all images are right.
        assert own[point] == pytest.approx(expected + 1 / 62**2, rel=1e-4)
    assert shared == pytest.approx(centred.mean(axis=0).var(ddof=1) / 60, rel=1e-4)


def test_without_stored_bits_the_noise_comes_from_the_seeds(record):
    accuracies = Accuracies.of(replace(record, runs=record.runs.assign(correct=None)))
    own, shared = accuracies.noise(np.arange(4))
    assert own == pytest.approx(np.full(4, accuracies.pooled.variance / 3))
    assert shared == 0


@pytest.mark.parametrize("images", [200, 2000])
def test_the_surface_passes_through_its_points_for_any_number_of_images(images):
    """With the full covariance between images it would lie far below many points measured on few images."""
    study = load_study("squeezenet_grid")
    vary = {"squeeze_ratio": np.linspace(0.1, 1, 10).tolist(), "pct3x3": np.linspace(0.05, 0.95, 10).tolist()}
    record = make_record(changed(study, vary=vary, claims=[]), images=images)
    findings = analysis.Findings(record)
    frame = findings.measured
    predicted, _ = findings.surrogate.predict({key: frame[key].to_numpy() for key in vary})
    off = predicted - frame["accuracy"].to_numpy()
    assert abs(off.mean()) < 0.005
    assert np.abs(off).max() < 0.05


def smooth(random, dimensions):
    """A function, monotonic along each coordinate, with an interaction and a standard deviation of 1."""
    slope, middle, bend = (random.uniform(low, 1.2, dimensions) for low in (-1.2, 0, 0.3))

    def function(places):
        return (slope * (places + 0.05) ** bend).sum(axis=1) + np.prod(np.tanh(3 * (places - middle)), axis=1) / 2

    scale = function(random.random((500, dimensions))).std()
    return lambda places: function(places) / scale


@pytest.mark.parametrize(("side", "dimensions", "signal"), [(8, 1, 3.0), (5, 2, 1.0), (5, 2, 5.0)])
@pytest.mark.slow
def test_intervals_cover_smooth_functions(side, dimensions, signal):
    held, left_out = [], []
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, side)] * dimensions), axis=-1).reshape(-1, dimensions)
    for repeat in range(16):
        random = np.random.default_rng(repeat)
        function, anywhere = smooth(random, dimensions), random.random((60, dimensions))
        values = signal * function(places) + random.normal(size=len(places))
        process = GaussianProcess.fit(places, values, np.ones(len(places)))
        means, deviations = process.predict(anywhere)
        held.append(np.abs(signal * function(anywhere) - means) < 1.96 * deviations)
        predicted, spread = process.leave_one_out()
        left_out.append(np.abs(values - predicted) < 1.96 * spread)
    assert 0.88 <= np.mean(held) <= 0.99
    assert 0.92 <= np.mean(left_out) <= 1.0
    assert np.mean(left_out) < 0.999, "not so wide that nothing is ever outside"


@pytest.mark.slow
def test_intervals_cover_the_truth_over_all_images_and_seeds():
    """Simulated records with few images, which make the level less certain than differences along the surface."""
    world, held, along, level, slope = World(seed=0.03, pair=0.6), [], [], [], []
    study = load_study("squeeze_ratio")
    ratios = np.array(study.varied["squeeze_ratio"])
    truth = world.accuracy(0.3 * np.log(ratios))
    columns = {"squeeze_ratio": ratios}
    for repeat in range(30):
        random = np.random.default_rng(repeat)
        images = world.images(random, 150)
        bits = {p: world.draw(random, 0.3 * np.log(ratio), 3, images) for p, ratio in enumerate(ratios)}
        found = fitted(record_of_bits(bits))
        means, deviations = found.predict(columns)
        held.append(np.abs(means - truth) < 1.96 * deviations)
        rise = found.draws(columns, 400)[-1] - found.draws(columns, 400)[0]
        low, high = np.quantile(rise, [0.025, 0.975])
        along.append(low <= truth[-1] - truth[0] <= high)
        level.append(deviations.mean())
        slope.append(rise.std())
    assert 0.88 <= np.mean(held) <= 0.995
    assert 0.85 <= np.mean(along) <= 1.0
    assert np.mean(slope) < math.sqrt(2) * np.mean(level), "the images that all points share blur no difference"


def test_the_order_of_the_rows_does_not_matter(record, surrogate):
    accuracies = Accuracies.of(record)
    frame = analysis.measured(analysis.summarise(record, accuracies)).sample(frac=1, random_state=1)
    again = Surrogate.fit(record, frame, accuracies)
    pd.testing.assert_frame_equal(again.leave_one_out(), surrogate.leave_one_out(), check_exact=True)
    designs = {"squeeze_ratio": [0.2, 0.9], "pct3x3": [0.4, 0.6]}
    assert (again.draws(designs, 5) == surrogate.draws(designs, 5)).all()


def test_studies_without_a_surrogate():
    assert fitted(make_record("compound_scaling", images=20)) is None, "series leave metaparameters to the preset"
    assert fitted(make_record("bypass", images=20)) is None, "no number varies"
    assert fitted(make_record("delayed_downsampling", images=20)) is None
    four = make_record(varied("squeeze_ratio", squeeze_ratio=[0.2, 0.4, 0.6, 0.8]), images=20)
    assert fitted(four) is None, "too few points"
    assert fitted(make_record("squeeze_ratio", images=20, seeds=1)) is not None


def test_merged_points_count_once_and_equal_accuracies_give_a_flat_surface():
    record = make_record("fire_growth", images=50)
    found = fitted(record)
    assert found.points.tolist() == record.points.loc[record.points["same_as"].isna(), "point"].tolist()
    bits = np.arange(50) < 20
    flat = fitted(replace(record, runs=record.runs.assign(correct=[bits] * len(record.runs), accuracy=0.4)))
    predicted, _ = flat.predict({"base_e": [20, 40], "incr_e": [4, 30], "freq": [1, 2]})
    assert predicted == pytest.approx(0.4)
    assert math.isnan(flat.quality().r_squared)


def test_differences_between_neighbouring_networks_are_roughness():
    own = np.random.default_rng(3)
    study = varied(squeeze_ratio=np.linspace(0.2, 1, 12).tolist(), pct3x3=[0.2, 0.4, 0.6])
    rough = surrogate_of(study, lambda squeeze_ratio, pct3x3: 0.1 * squeeze_ratio * pct3x3 + own.normal(0, 0.01), 0.001)
    assert 0.007 < rough.process.roughness < 0.013
    smooth = surrogate_of(study, lambda squeeze_ratio, pct3x3: 0.3 + 0.1 * squeeze_ratio * pct3x3, 0.001)
    assert smooth.process.roughness < 0.001


def test_numbers_that_span_a_factor_of_8_have_a_logarithmic_scale():
    assert Number("a", 2, 6).encode([2, 3, 6, 8])[:, 0] == pytest.approx([0, 0.25, 1, 1.5])
    assert Number("a", 1, 8).encode([1, 2, 4, 8])[:, 0] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert Number("a", 0, 8).encode([0, 2, 8])[:, 0] == pytest.approx([0, 0.25, 1])
    whole = Number("a", 1, 3, whole=True).spread(np.linspace(0, 0.9999, 3000))
    assert np.bincount(whole).tolist() == [0, 1000, 1000, 1000]
    assert Number("a", 1, 9).spread(np.array([0.5])) == 5


def test_choices_have_one_coordinate_per_value_and_one_for_two_values():
    three = Choice("bypass", ("none", "simple", "complex"))
    assert three.encode(["simple", "none", "complex"]).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert three.encode(three.spread(np.array([0.0, 0.5, 0.99]))).tolist() == np.eye(3).tolist()
    assert Choice("batch_norm", (True, False)).encode(np.array([True, False])).tolist() == [[0], [1]]
    assert Choice("pools", ((1, 2), (1, 3))).encode([[1, 3], (1, 2)]).tolist() == [[1], [0]]
    with pytest.raises(ValueError, match="bypass = double: not one of none, simple, complex"):
        three.encode(["double"])


def test_coordinates_of_studies():
    found = varied(squeeze_ratio=[0.5, 1.0], bypass=["none", "simple"], pct3x3=[0.5]).form.coordinates
    assert found.names == ["squeeze_ratio", "bypass"], "what is the same everywhere is no coordinate"
    assert found.numbers == 1
    whole = varied(base_e=[16, 32], pct3x3=[0.5, 1.0]).form.coordinates
    assert [axis.whole for axis in whole.axes] == [True, False]
    drawn = whole.draw(2000, np.random.default_rng(0))
    assert sorted(set(drawn["base_e"])) == list(range(16, 33))
    assert drawn["pct3x3"].min() >= 0.5


def test_a_simplex_has_its_shares():
    record = make_record("compound_grid", images=30)
    found = fitted(record)
    names = ["share_depth", "share_width", "share_resolution"]
    assert found.coordinates.names == names
    table = analysis.triangle(record)
    own = table[table["same_as"].isna()]
    assert found.process.places == pytest.approx(own[names].to_numpy(), abs=1e-9)
    by_shares = found.predict({name: [0.2, 0.3] if name == names[0] else [0.4, 0.35] for name in names})
    by_factors = found.predict(
        {"alpha": 2 ** np.array([0.2, 0.3]), "beta": [2**0.2, 2**0.175], "gamma": [2**0.2, 2**0.175]}
    )
    assert by_shares[0] == pytest.approx(by_factors[0])
    drawn = found.coordinates.draw(500, np.random.default_rng(0))
    assert drawn["alpha"] * drawn["beta"] ** 2 * drawn["gamma"] ** 2 == pytest.approx(np.full(500, 2.0))


def test_many_points_are_thinned_by_their_coordinates():
    record = make_record(
        varied(squeeze_ratio=np.linspace(0.2, 1, 21).tolist(), pct3x3=np.linspace(0.1, 0.7, 21).tolist()),
        images=20,
        seeds=1,
    )
    found = fitted(record)
    assert len(found.points) == MOST
    assert found.measured == record.points["same_as"].isna().sum() > MOST
    assert (np.diff(found.points) > 0).all()


def test_points_are_not_chosen_by_accuracy():
    """5,000 noisy points of a known surface: a fit to 150 is right, one to the front and 100 others too high."""
    random = np.random.default_rng(1)
    places = random.random((5000, 2))
    surface = 0.3 + 0.04 * np.log(0.1 + places[:, 0]) + 0.04 * places[:, 1]
    values = surface + random.normal(0, 0.01, 5000)
    costs = pd.Series(np.exp(2 * places[:, 0] + places[:, 1]))
    front = np.flatnonzero(analysis.pareto_front(pd.DataFrame({"params": costs, "accuracy": values}), "params"))
    assert 20 < len(front) < 100

    def excess(rows):
        process = GaussianProcess.fit(places[rows], values[rows], np.full(len(rows), 1e-4))
        means, deviations = process.predict(places[front])
        return ((means - surface[front]) / deviations).mean()

    even = chosen(places, 150)
    gaps = np.sqrt(((places[:, None] - places[even][None]) ** 2).sum(axis=-1)).min(axis=1)
    assert gaps.max() < 0.1
    assert len(set(even.tolist())) == 150
    assert abs(excess(even)) < 1.5
    assert excess(np.union1d(front, chosen(places, 100))) > 2


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys, explorer.analysis.surrogate, explorer.analysis.importance, explorer.analysis.choices;"
        "found = {'sklearn', 'torch', 'optuna'} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

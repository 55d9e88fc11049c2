"""Where published choices stand: the papers' numbers, and percentiles against brute force on known functions."""

import math

import numpy as np
import pandas as pd
import pytest
from records import changed, make_record
from surrogates import surrogate_of, varied

from explorer.analysis import choices as choice_analysis
from explorer.analysis.choices import percentiles, published_choices
from explorer.pricing.prices import price
from explorer.study.files import load_study
from explorer.study.model import Range


@pytest.fixture(autouse=True)
def fewer_designs(monkeypatch):
    monkeypatch.setattr(choice_analysis, "DESIGNS", 100_000)


def choices_of(study):
    return published_choices(make_record(study, images=2, seeds=1))


def test_the_choice_of_squeezenet_is_the_papers():
    frame = choices_of("squeezenet_grid")
    assert frame["name"].tolist() == ["v1_0, v1_1"]
    row = frame.iloc[0]
    assert (row["squeeze_ratio"], row["pct3x3"], row["point"], row["reason"]) == (0.125, 0.5, 2, "")
    priced = price("squeezenet", "cifar", squeeze_ratio=0.125, pct3x3=0.5, classes=10)
    assert row["params"] == priced["params"][0]
    assert row["macs"] == priced["macs"][0]
    fixed = choices_of("squeeze_ratio").iloc[0]
    assert (fixed["squeeze_ratio"], fixed["point"]) == (0.125, 0)


def test_networks_of_unlike_choices_have_rows_of_their_own():
    bypass = choices_of("bypass")
    assert bypass["name"].tolist() == ["v1_0, v1_1", "v1_0 (bypass complex)"]
    assert bypass["bypass"].tolist() == ["none", "complex"]
    assert bypass["point"].tolist() == [0, 2]
    pools = choices_of("delayed_downsampling")
    assert pools[["name", "pools", "point"]].to_numpy().tolist() == [["v1_0", (1, 4, 8), 4], ["v1_1", (1, 3, 5), 2]]


def test_whole_numbers_are_priced_as_such():
    frame = choices_of(varied("fire_growth", base_e=[64, 128], incr_e=[64, 128], freq=[1, 2]))
    assert frame[["base_e", "incr_e", "freq", "point"]].to_numpy().tolist() == [[128, 128, 2, 7]]
    assert frame["params"][0] == price("squeezenet", "cifar", base_e=128, incr_e=128, classes=10)["params"][0]


def test_compound_scaling_has_the_shares_of_its_factors():
    """Tan and Le 2019, section 3.3: alpha = 1.2, beta = 1.1, gamma = 1.15."""
    frame = choices_of("compound_grid")
    assert frame["name"].tolist() == ["b0, b1, b2, b3, b4, b5, b6, b7"]
    row = frame.iloc[0]
    product = 1.2 * 1.1**2 * 1.15**2
    shares = [math.log(part) / math.log(product) for part in (1.2, 1.1**2, 1.15**2)]
    assert row[["share_depth", "share_width", "share_resolution"]].tolist() == pytest.approx(shares)
    assert row["note"] == "alpha * beta^2 * gamma^2 = 1.92; its shares are kept at 2"
    assert pd.isna(row["point"])
    factors = {"alpha": 2 ** shares[0], "beta": 2 ** (shares[1] / 2), "gamma": 2 ** (shares[2] / 2)}
    assert row["params"] == price("efficientnet", "cifar", phi=1.0, **factors)["params"][0]
    corner = changed("compound_grid", vary={"divisor": [4, 8]})
    assert choices_of(corner)["divisor"].tolist() == [8]


def test_a_point_on_the_lattice_is_found():
    study = load_study("compound_grid")
    values = list(study.design_points())[8].metaparameters
    record = make_record(study, images=2, seeds=1)
    assert choice_analysis._point(record, values) == 8
    assert choice_analysis._point(record, values | {"alpha": 1.001}) is None


def test_what_is_left_out_says_why():
    outside = choices_of("fire_growth")
    assert outside["reason"].tolist() == ["base_e = 128: the study covers 16 to 48"]
    assert outside["params"].isna().all()
    grid = load_study("squeezenet_grid")
    other = choices_of(varied("squeezenet_grid", bypass=["simple", "complex"], squeeze_ratio=[0.1, 0.5]))
    assert other.set_index("name")["reason"]["v1_0, v1_1"] == "bypass = none: the study has simple, complex"
    pools = choices_of(varied("delayed_downsampling", pools=[(1, 4, 8), (1, 3, 5)], fires=[3, 8]))
    assert pools["reason"].tolist() == ["", ""]
    few = load_study("delayed_downsampling")
    few = changed(few, vary={"pools": [(1, 2), (1, 4, 8)]}, fixed={"fires": 4})
    reasons = choices_of(few).set_index("name")["reason"]
    assert reasons["v1_0"].startswith("pools: a pool after layer 8")
    over = choices_of(grid.model_copy(update={"constraints": {"params": Range(min=60_000)}}))
    assert over["reason"].tolist() == ["outside the study's limits of params"]
    assert over["params"].tolist() == [48_322]
    scales = changed("compound_scaling", points=[], vary={"width": [1.0, 2.0], "resolution": [20, 28]})
    reasons = choices_of(scales).set_index("name")["reason"]
    assert reasons["b0"] == "width: not given"
    assert reasons["b1"] == "resolution = 240: the study covers 20 to 28"
    powers = changed("compound_scaling", points=[], vary={"phi": [0.0, 0.5, 1.0]})
    reasons = choices_of(powers).set_index("name")["reason"]
    assert reasons["b0"] == ""
    assert "phi has no effect" in reasons["b1, b2, b3, b4, b5, b6, b7"]


def accuracy(squeeze_ratio, pct3x3):
    """Rises with both; along lines of equal params squeeze ratios pay more."""
    return 0.3 + 0.1 * np.sqrt(squeeze_ratio) + 0.02 * pct3x3


def brute_force(params, value, **limits):
    """The share of less accurate designs of equal params, and their number among 100,000, drawn another way."""
    random = np.random.default_rng(99)
    designs = {"squeeze_ratio": random.uniform(0.125, 1, 100_000), "pct3x3": random.uniform(0.01, 0.99, 100_000)}
    frame = price("squeezenet", "cifar", designs, classes=10)
    kept = (frame["params"] - params).abs() <= 0.02 * params
    for cost, most in limits.items():
        kept &= frame[cost] <= most
    found = frame[kept.to_numpy(dtype=bool)]
    return (accuracy(found["squeeze_ratio"], found["pct3x3"]) < value).mean(), len(found)


def chosen(**values):
    """Choices as `published_choices` gives them."""
    costs = price("squeezenet", "cifar", values, classes=10)[["params"]]
    return pd.DataFrame(values).assign(params=costs["params"], reason="")


def test_a_percentile_is_that_of_brute_force():
    study = load_study("squeezenet_grid")
    record = make_record(study, images=2, seeds=1)
    surrogate = surrogate_of(study, accuracy)
    values = {"squeeze_ratio": [0.3, 0.5, 0.9], "pct3x3": [0.7, 0.5, 0.2]}
    found = percentiles(record, surrogate, chosen(**values))
    for row in found.to_dict(orient="records"):
        expected, count = brute_force(row["params"], accuracy(row["squeeze_ratio"], row["pct3x3"]))
        assert 0.02 < expected < 0.98
        assert row["below"] == pytest.approx(expected, abs=0.04)
        assert row["below_low"] <= row["below"] <= row["below_high"]
        assert row["below_high"] - row["below_low"] < 0.15
        assert row["equal"] == pytest.approx(count, rel=0.15)
    pd.testing.assert_frame_equal(found, percentiles(record, surrogate, chosen(**values)), check_exact=True)
    published = percentiles(record, surrogate)
    assert published["equal"][0] > 300
    assert published["below"][0] < 0.05, "narrow squeeze layers, where wide ones pay"


def test_designs_keep_the_limits_of_the_study():
    study = load_study("squeezenet_grid")
    limited = study.model_copy(update={"constraints": {"activations": Range(max=33_000)}})
    found = percentiles(
        make_record(limited, images=2, seeds=1),
        surrogate_of(study, accuracy),
        chosen(squeeze_ratio=[0.5], pct3x3=[0.5]),
    )
    expected, count = brute_force(found["params"][0], accuracy(0.5, 0.5), activations=33_000)
    _, everything = brute_force(found["params"][0], accuracy(0.5, 0.5))
    assert count < 0.9 * everything
    assert found["equal"][0] == pytest.approx(count, rel=0.15)
    assert found["below"][0] == pytest.approx(expected, abs=0.05)


def test_on_a_simplex_shares_are_drawn_evenly():
    study = load_study("compound_grid")

    def flat(alpha, beta, gamma):
        return 0.4 + 0.05 * np.log2(alpha) + 0.02 * np.log2(beta) + 0 * gamma

    found = percentiles(make_record(study, images=2, seeds=1), surrogate_of(study, flat))
    shares = np.random.default_rng(5).dirichlet(np.ones(3), 100_000)
    factors = {"alpha": 2 ** shares[:, 0], "beta": 2 ** (shares[:, 1] / 2), "gamma": 2 ** (shares[:, 2] / 2)}
    params = price("efficientnet", "cifar", factors, phi=1.0, classes=10)["params"].to_numpy(dtype=float)
    equal = np.abs(params - found["params"][0]) <= 0.02 * found["params"][0]
    own = 0.05 * found["share_depth"][0] + 0.01 * found["share_width"][0]
    below = (0.05 * shares[equal, 0] + 0.01 * shares[equal, 1] < own).mean()
    assert 0.05 < below < 0.95
    assert found["below"][0] == pytest.approx(below, abs=0.04)
    assert found["equal"][0] == pytest.approx(equal.sum(), rel=0.05)


def test_noise_makes_a_percentile_unsure():
    study = varied(squeeze_ratio=[0.2, 0.4, 0.6, 0.8, 1.0], pct3x3=[0.1, 0.25, 0.4, 0.55, 0.7])
    record, choices = make_record(study, images=2, seeds=1), chosen(squeeze_ratio=[0.5], pct3x3=[0.5])

    def peak(squeeze_ratio, pct3x3):
        return 0.4 - 0.1 * (squeeze_ratio - 0.6) ** 2 - 0.1 * (pct3x3 - 0.4) ** 2

    sure, unsure = (percentiles(record, surrogate_of(study, peak, noise), choices) for noise in (1e-4, 0.01))
    widths = [(found["below_high"] - found["below_low"])[0] for found in (sure, unsure)]
    assert widths[1] > 0.3
    assert widths[1] > 3 * widths[0]


def test_what_has_no_percentile(monkeypatch):
    study = load_study("squeeze_ratio")
    one = surrogate_of(study, lambda squeeze_ratio: squeeze_ratio)
    assert percentiles(make_record(study, images=2, seeds=1), one) is None
    narrow = varied(squeeze_ratio=[0.2, 0.4, 0.6], pct3x3=[0.3, 0.5, 0.7])
    left_out = percentiles(make_record(narrow, images=2, seeds=1), surrogate_of(narrow, accuracy))
    assert left_out["reason"].tolist() == ["squeeze_ratio = 0.125: the study covers 0.2 to 0.6"]
    assert left_out[["equal", "below", "below_low", "below_high"]].isna().all(axis=None)
    corner = chosen(squeeze_ratio=[1.0], pct3x3=[0.99])
    study = load_study("squeezenet_grid")
    record = make_record(study, images=2, seeds=1)
    monkeypatch.setattr(choice_analysis, "DESIGNS", 2_000)
    few = percentiles(record, surrogate_of(study, accuracy), corner)
    assert few["equal"][0] < 100
    assert math.isnan(few["below"][0])

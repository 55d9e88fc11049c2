"""Prices of many points: arrays against single points, ranges, conditions, fronts and budgets against brute force."""

import itertools
import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_spaces import choices, some_metaparameters

from explorer.errors import ExplorerError, Infeasible
from explorer.networks.quantities import computed, read_size
from explorer.pricing.designs import priced_designs
from explorer.pricing.enumeration import Coded, Continuum, SimplexAxis, Steps, column, enumeration
from explorer.pricing.fitting import fit
from explorer.pricing.prices import TASK, join, price, price_chunks
from explorer.pricing.selection import Where, front, ordered, pareto
from explorer.pricing.splitting import CHUNK, Splitting
from explorer.spaces import all_spaces, find_space

SPACES = list(all_spaces().values())
SQUEEZENET = find_space("squeezenet")
EFFICIENTNET = find_space("efficientnet")


def drawn_value(examples, ends, rng):
    """Draw from the space's range for a metaparameter, or from its examples."""
    if ends is None or rng.random() < 0.3:
        return examples[rng.integers(len(examples))]
    low, high, *_ = ends
    whole = isinstance(low, int) and isinstance(high, int)
    return int(rng.integers(low, high + 1)) if whole else float(rng.uniform(low, high))


def drawn_points(space, count, rng):
    """Random points over all metaparameters that can be set together, each with its settings."""
    examples, ranges = choices(space), space.point().ranges()
    names = some_metaparameters(space, rng)
    points = []
    while len(points) < count:
        values = {name: drawn_value(examples[name], ranges.get(name), rng) for name in names}
        try:
            points.append((values, space.point(**values)))
        except ExplorerError:  # some values cannot be given together
            continue
    return points


@pytest.mark.parametrize("count", [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("space", SPACES)
def test_random_points_cost_the_same_in_arrays(space, count):
    points = drawn_points(space, count, np.random.default_rng(0))
    columns = {name: [values[name] for values, _ in points] for name in points[0][0]}
    frame = price(space.name, None, columns)
    for (values, point), row in zip(points, frame.itertuples(), strict=True):
        try:
            cost = point.expand().cost
        except Infeasible as reason:
            assert row.infeasible == str(reason), values  # noqa: PT017 (most points are feasible)
            assert row.params is pd.NA
            continue
        assert row.infeasible == "", values
        assert (row.params, row.macs, row.activations) == (cost.params, cost.macs, cost.activations), values


def test_splits_over_several_chunks_are_put_back_in_place():
    rng = np.random.default_rng(1)
    count = 3 * CHUNK + 17
    columns = {"fires": rng.integers(1, 5, count), "base_e": rng.integers(1, 4, count), "pct3x3": rng.random(count)}
    frame = price("squeezenet", "cifar", columns, pools=(1,))
    for place in rng.integers(count, size=200):
        point = SQUEEZENET.point("cifar", pools=(1,), **{key: values[place].item() for key, values in columns.items()})
        assert frame["macs"][place] == point.expand().cost.macs


def test_an_error_in_a_later_task_is_the_users_error():
    columns = {"base_e": np.append(np.full(2 * TASK, 8), 0)}
    with pytest.raises(ExplorerError, match=r"squeezenet: base_e = 0: should be greater than or equal to 1"):
        price("squeezenet", "cifar", columns)


def test_splitting_ends_and_gives_every_place_once():
    rng = np.random.default_rng(2)
    kinds = rng.integers(0, 2, (100, 5000))  # a hundred conditions that nearly tell all points apart
    splitting, seen = Splitting(slice(0, 5000)), []
    for part in splitting:
        places = np.arange(5000)[part]
        unlike = [condition[places] for condition in kinds if np.ptp(condition[places])]
        if unlike:
            splitting.split(part, unlike[rng.integers(len(unlike))])
        else:
            seen.append(places)
    assert np.sort(np.concatenate(seen)).tolist() == list(range(5000))


@pytest.mark.parametrize("space", SPACES)
def test_all_quantities_match_single_points(space):
    names = ["params", "macs", "memory_access_bytes", "peak_activation_bytes", *space.derived]
    points = drawn_points(space, 200, np.random.default_rng(3))
    columns = {name: [values[name] for values, _ in points] for name in points[0][0]}
    frame = price(space.name, None, columns, quantities=names)
    for (_, point), row in zip(points, frame.to_dict("records"), strict=True):
        if row["infeasible"]:
            continue
        network = point.expand()
        own = {name: compute(network) for name, compute in computed().items()} | point.derive(network.cost)
        for name in names:
            assert row[name] == pytest.approx(own[name], rel=1e-12), name


@pytest.mark.parametrize("count", [300, pytest.param(3_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("space", SPACES)
def test_networks_priced_together_equal_single_ones(space, count):
    """Digests are the identity of stored runs, so they and the derived quantities are equal to the last bit."""

    def facts(network, derived):
        costs = {name: compute(network) for name, compute in computed().items()}
        return json.dumps([network.digest, network.input.channels, network.input.size, costs, derived])

    designs = [point for _, point in drawn_points(space, count, np.random.default_rng(4))]
    for point, found in zip(designs, priced_designs(designs), strict=True):
        try:
            single = point.expand()
            expected = facts(single, point.derive(single.cost))
        except Infeasible as reason:
            assert str(found) == str(reason)  # noqa: PT017 (most points are feasible)
            continue
        assert facts(found.network, found.derived) == expected
        assert (found.network.input, found.network.body) == (single.input, single.body)


def test_values_of_different_types_are_priced_apart():
    """An integer that no rule has checked, such as a default, must not become a real number."""
    points = [SQUEEZENET.point("cifar", dropout=0.25).model_copy(update={"dropout": rate}) for rate in (1, 0.5, 1.0)]
    digests = [found.network.digest for found in priced_designs(points)]
    assert digests == [point.expand().digest for point in points]
    assert len(set(digests)) == 3


def test_priced_networks_are_sent_as_plain_descriptions():
    (found,) = priced_designs([SQUEEZENET.point("cifar")])
    single = SQUEEZENET.point("cifar").expand()
    for network in (found.network, single):
        assert network.trace.parts
        copy = pickle.loads(pickle.dumps(network))  # noqa: S301 (ours)
        assert copy == single
        assert vars(copy).keys() == {"input", "body"}
        assert copy.digest == network.digest


def test_columns_of_every_kind():
    frame = price("efficientnet", None, [{"depth": None, "resolution": 224}, {"depth": 1.1, "resolution": None}])
    assert frame["params"].tolist() == [
        price("efficientnet")["params"][0],
        price("efficientnet", depth=1.1)["params"][0],
    ]
    frame = price(
        "squeezenet",
        None,
        {"batch_norm": np.array([True, False]), "pools": [(1, 4), [1, 4, 8]], "base_e": pd.Series([8, 9])},
    )
    assert frame["batch_norm"].tolist() == [True, False]
    assert frame["pools"].tolist() == ["1-4", "1-4-8"]
    assert frame.dtypes[["params", "macs"]].tolist() == [pd.Int64Dtype()] * 2
    with pytest.raises(ExplorerError, match="unknown quantity of squeezenet 'parms'; did you mean 'params'"):
        price("squeezenet", quantities=["parms"])


def values_of(space, **values):
    return {key: found for block in enumeration(space, None, values).blocks() for key, found in block.items()}


def test_points_come_in_the_order_of_nested_loops():
    found = enumeration(SQUEEZENET, None, {"base_e": "8..10", "freq": [3, 1], "bypass": ["simple", "none"]})
    blocks = list(found.blocks(most=5))
    assert [len(block["base_e"]) for block in blocks] == [5, 5, 2]
    rows = [
        (int(block["base_e"][i]), int(block["freq"][i]), block["bypass"].choices[block["bypass"].codes[i]])
        for block in blocks
        for i in range(len(block["base_e"]))
    ]
    assert rows == list(itertools.product([8, 9, 10], [3, 1], ["simple", "none"]))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8..11", [8, 9, 10, 11]),
        ("8..8", [8]),
        ("8..20..5", [8, 13, 18]),
        ("1_000..1_002", [1000, 1001, 1002]),
    ],
)
def test_whole_ranges(text, values):
    assert values_of(SQUEEZENET, base_e=text)["base_e"].tolist() == values


def test_rounding_errors_do_not_add_up_over_a_range():
    found = values_of(SQUEEZENET, squeeze_ratio="0.1..1.0..0.05")["squeeze_ratio"]
    assert found.tolist() == [round(0.1 + 0.05 * place, 2) for place in range(19)]
    assert values_of(EFFICIENTNET, phi="0..3")["phi"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert values_of(SQUEEZENET, squeeze_ratio="1e-3..3e-3..1e-3")["squeeze_ratio"].tolist() == [0.001, 0.002, 0.003]


@given(low=st.integers(0, 999), step=st.integers(1, 99), count=st.integers(1, 50), digits=st.integers(0, 4))
def test_steps_are_the_nearest_floats(low, step, count, digits):
    found = Steps("x", low, step, count, 10**digits, real=True).at(np.arange(count))["x"]
    assert found.tolist() == [float(f"{low + place * step}e-{digits}") for place in range(count)]


def test_a_list_is_one_value_where_values_are_lists():
    assert enumeration(SQUEEZENET, None, {"pools": [1, 4]}).fixed == {"pools": [1, 4]}
    assert enumeration(SQUEEZENET, None, {"pools": []}).size == 1
    assert enumeration(SQUEEZENET, None, {"pools": [[1, 4], [1]]}).size == 2
    stages = [list(stage) for stage in EFFICIENTNET.point().stages]
    assert enumeration(EFFICIENTNET, None, {"stages": stages}).size == 1
    assert enumeration(EFFICIENTNET, None, {"stages": [stages, stages[:3]]}).size == 2


def test_categorical_values_are_distinguished_by_type():
    found = column([True, 1, None, [1, 2], None])
    assert isinstance(found, Coded)
    assert found.choices == (True, 1, None, [1, 2])
    assert found.codes.tolist() == [0, 1, 2, 3, 2]


def test_samples_are_uniform_and_do_not_depend_on_blocks():
    found = enumeration(
        SQUEEZENET, None, {"base_e": "8..11", "squeeze_ratio": "0.2..0.6", "freq": [1, 3]}, sample=8000, seed=5
    )
    whole = next(found.blocks(8000))
    parts = list(found.blocks(999))
    for key, drawn in whole.items():
        assert drawn.tolist() == np.concatenate([part[key] for part in parts]).tolist()
    assert np.bincount(whole["base_e"])[8:] == pytest.approx(2000, abs=200)
    assert set(whole["freq"].tolist()) == {1, 3}
    assert 0.2 <= whole["squeeze_ratio"].min() < 0.21
    assert whole["squeeze_ratio"].mean() == pytest.approx(0.4, abs=0.01)
    other = enumeration(SQUEEZENET, None, {"base_e": "8..11"}, sample=8000, seed=6)
    assert next(other.blocks(8000))["base_e"].tolist() != whole["base_e"].tolist()


@given(steps=st.integers(1, 30), ratio=st.floats(1.01, 8), count=st.integers(1, 50), seed=st.integers(0, 99))
def test_the_product_is_exact_on_lattices_and_in_samples(steps, ratio, count, seed):
    axis = SimplexAxis(EFFICIENTNET.simplex, ratio, steps)
    for factors in (axis.at(np.arange(axis.size)), axis.draw(count, np.random.default_rng(seed))):
        product = factors["alpha"] * factors["beta"] ** 2 * factors["gamma"] ** 2
        assert np.abs(product / ratio - 1).max() < 1e-12


def test_a_lattice_combines_with_other_ranges():
    axis = SimplexAxis(EFFICIENTNET.simplex, 2.0, 4)
    found = enumeration(EFFICIENTNET, None, {"phi": [1.0, 2.0]}, simplex=axis)
    assert found.size == 15 * 2
    block = next(found.blocks())
    assert len(block["alpha"]) == len(block["phi"]) == 30
    with pytest.raises(ExplorerError, match="alpha, beta, gamma have no effect"):
        enumeration(EFFICIENTNET, None, {}, simplex=axis)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base_e": "8...512"}, "a range is low..high"),
        ({"base_e": "8.."}, "a range is low..high"),
        ({"base_e": "a..b"}, "a range is low..high"),
        ({"base_e": "512..8"}, "the low end 512 is above the high end 8; write base_e=8..512"),
        ({"base_e": "8..512..0"}, "the step should be greater than 0"),
        ({"base_e": "8..512..-8"}, "the step should be greater than 0"),
        ({"squeeze_ratio": "0.1..0.9"}, "real numbers need a step"),
        ({"squeeze_ratio": "0.1..0.9..1e-30"}, "too many digits for 64-bit numbers"),
        ({"base_e": "8.0..16.0..4"}, "base_e = 8.0: should be a valid integer"),
        ({"base_e": "-1..5"}, "base_e = -1: should be greater than or equal to 1"),
        ({"base_e": [4, 0]}, "base_e = 0: should be greater than or equal to 1"),
        ({"bypass": ["none", "simpel"]}, "did you mean 'simple'"),
        ({"bas_e": "1..2"}, "did you mean 'base_e'"),
        ({"base_e": []}, "at least one value is needed"),
        ({"base_e": "1..1000000", "incr_e": "0..1000"}, "1,001,000,000 points are too many"),
    ],
)
def test_mistakes_in_ranges_are_explained(values, message):
    with pytest.raises(ExplorerError) as error:
        enumeration(SQUEEZENET, None, values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def frame_of(count=500, seed=7):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "params": rng.integers(1, 40, count),
            "macs": rng.integers(1, 40, count),
            "ratio": rng.random(count),
            "base_e": rng.integers(1, 6, count),
        }
    )


@pytest.mark.parametrize(
    "text",
    [
        "params < 5",
        "params < 5e0 and macs <= 2e1",
        "not params < 5 or macs == 7 and ratio > .5",
        "2 < params <= macs",
        "macs / params >= 3 - ratio",
        "(params + macs) * 2 - base_e // 2 > 70 or params % 3 == 1",
        "-ratio ** 2 < -0.25",
        "params != macs",
    ],
)
def test_conditions_match_pandas(text):
    frame = frame_of()
    where = Where(text, frame.columns)
    mask = where.mask({name: frame[name].to_numpy() for name in frame}, len(frame))
    assert mask.tolist() == frame.eval(text).tolist()
    assert 0 < mask.sum() < len(frame)


def test_conditions_on_categories():
    values = {
        "bypass": Coded(np.array([0, 1, 0]), ("none", "simple")),
        "norm": Coded(np.array([1, 0, 1]), (False, True)),
    }
    values |= {"pools": (1, 4), "params": np.array([1, 2, 3])}

    def met(text):
        return Where(text, values).mask(values, 3).tolist()

    assert met("bypass == 'none'") == [True, False, True]
    assert met("'none' != bypass") == [False, True, False]
    assert met("norm and params > 1") == [False, False, True]
    assert met("norm == True") == [True, False, True]
    assert met("pools == '1-4'") == [True] * 3
    assert met("params > 10 ** 30") == [False] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parms < 5", "unknown name in --where 'parms'; did you mean 'params'?"),
        ("params <", "cannot be read"),
        ("params = 5", "write == for equal"),
        ("", "cannot be read"),
        ("@params < 5", "cannot be read"),
        ("params.size < 5", "'params.size' is not allowed"),
        ("params.__class__ == 1", "use names, numbers"),
        ("print(params)", "use names, numbers"),
        ("[x for x in params]", "use names, numbers"),
        ("params[0] < 5", "use names, numbers"),
        ("params < 9 ** 9 ** 9 ** 9", "cannot be computed"),
        ("params << 2 < 5", "use names, numbers"),
        ("params", "is not a condition"),
        ("params and macs < 5", "cannot be computed"),
        ("params < 'a'", "cannot be computed"),
        ("'a' + params < 5", "cannot be computed"),
        ("(" * 5000, "cannot be read"),
    ],
)
def test_conditions_that_are_refused(text, message):
    frame = frame_of()
    with pytest.raises(ExplorerError) as error:
        Where(text, frame.columns).mask({name: frame[name].to_numpy() for name in frame}, len(frame))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unmet_condition_reports_the_ranges_of_its_numbers():
    where = Where("params < 1 or ratio / base_e < 0 or bypass == 'none'", ["params", "ratio", "base_e", "bypass"])
    assert where.unmet() == f"no point meets --where {where.text!r}"
    kinds = {"base_e": 4, "bypass": Coded(np.array([0, 0]), ("simple",))}
    where.widen({"params": np.array([1000, 3000]), "ratio": np.array([0.5, 0.5]), **kinds})
    where.widen({"params": np.array([2000, 4000]), "ratio": np.array([0.5, 0.5]), **kinds})
    where.widen({"params": np.array([], int), "ratio": np.array([]), **kinds})
    assert where.unmet().endswith("; params is 1,000 to 4,000; ratio is 0.5")


def beaten(frame, row):
    alike = frame[frame["base_e"] == row.base_e]
    no_more = (alike["params"] <= row.params) & (alike["macs"] <= row.macs)
    less = (alike["params"] < row.params) | (alike["macs"] < row.macs)
    return (no_more & less).any()


@settings(deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(1, 120))
def test_fronts_match_brute_force(seed, count):
    frame = frame_of(count, seed)
    found = pareto(frame["base_e"].to_numpy(), frame["params"].to_numpy(), frame["macs"].to_numpy())
    assert sorted(found) == [place for place, row in enumerate(frame.itertuples()) if not beaten(frame, row)]


def stream(most, quantities=("params", "macs"), **values):
    found = enumeration(SQUEEZENET, "cifar", values)
    return price_chunks(SQUEEZENET, "cifar", found.blocks(most), quantities, found.fixed)


GRID = {"base_e": "4..40..4", "squeeze_ratio": "0.1..0.9..0.1", "fires": "2..5", "pools": [[1, 4], [1, 3]]}


def test_blocks_give_the_same_as_one_array():
    (whole,) = stream(10**6, **GRID)
    parts = join(list(stream(97, **GRID)))
    assert parts.codes.tolist() == whole.codes.tolist()
    assert parts.infeasible() == whole.infeasible()
    assert whole.infeasible().total() > 0
    for name in ("params", "macs"):
        assert parts.amounts[name].tolist() == whole.amounts[name].tolist()
    (front_of_whole,) = front([whole[whole.feasible]], "base_e")
    (front_of_parts,) = front((part[part.feasible] for part in stream(97, **GRID)), "base_e")
    for name in ("params", "macs"):
        assert front_of_parts.amounts[name].tolist() == front_of_whole.amounts[name].tolist()


def test_sorting_works_over_blocks():
    (whole,) = stream(10**6, base_e="4..40", freq="1..4")
    (found,) = ordered(stream(7, base_e="4..40", freq="1..4"), "-macs")
    assert found.amounts["macs"].tolist() == sorted(whole.amounts["macs"].tolist(), reverse=True)
    (first,) = ordered(stream(7, base_e="4..40", freq="1..4"), "params", 5)
    assert first.amounts["params"].tolist() == sorted(whole.amounts["params"].tolist())[:5]


@pytest.mark.parametrize("limits", [{"params": 60_000}, {"params": 90_000, "macs": 1_500_000}, {"activations": 25_000}])
def test_the_best_fit_matches_brute_force(limits):
    grid = {"base_e": "4..40..4", "squeeze_ratio": "0.1..0.9..0.1", "freq": [1, 2]}
    (whole,) = stream(10**6, ("params", "macs", "activations"), **grid)
    frame = pd.DataFrame(dict(whole.amounts))
    shares = pd.DataFrame({key: frame[key] / limit for key, limit in limits.items()})
    frame = frame.assign(least=shares.min(axis=1), mean=shares.mean(axis=1))[shares.max(axis=1) <= 1]
    best = frame.drop_duplicates(["params", "macs", "activations"]).nlargest(10, ["least", "mean"])
    found = fit("squeezenet", "cifar", limits=limits, **grid)
    assert len(found) == 10
    assert found[[f"{key}_share" for key in limits]].min(axis=1).tolist() == pytest.approx(best["least"].tolist())
    assert not found.duplicated(["params", "macs", "activations"]).any()
    for key, limit in limits.items():
        assert (found[key] <= limit).all()


@pytest.mark.parametrize("space", [space for space in SPACES if space.point("cifar").ranges()])
def test_the_second_round_improves_the_fit(space):
    limits = {"params": 400_000, "macs": 10_000_000}
    found = fit(space.name, "cifar", limits=limits, sample=3000, count=5)
    priced = price(space.name, "cifar", found[[*space.point("cifar").ranges()]])
    assert priced["params"].tolist() == found["params"].tolist()
    search = enumeration(
        space, "cifar", {key: str(ends) for key, ends in space.point("cifar").ranges().items()}, sample=3000
    )
    (first,) = price_chunks(space, "cifar", search.blocks(), ("params", "macs"))
    shares = np.array([first.amounts[key] / limit for key, limit in limits.items()])
    least = np.where(shares.max(axis=0) <= 1, shares.min(axis=0), 0).max()
    assert found[["params_share", "macs_share"]].min(axis=1)[0] >= least
    # Some families cannot use both limits.
    assert (found[["params_share", "macs_share"]].max(axis=1) > 0.8).all()


def test_a_budget_that_nothing_fits():
    with pytest.raises(ExplorerError, match=r"no point fits params <= 10; the closest one has params 1,\d\d\d "):
        fit("squeezenet", "cifar", limits={"params": 10}, sample=20_000)
    with pytest.raises(ExplorerError, match="at least one limit is needed"):
        fit("squeezenet", limits={})
    with pytest.raises(ExplorerError, match="none of the 4 points is feasible: conv1"):
        fit("squeezenet", limits={"params": 1e9}, input_size="1..4")


@pytest.mark.parametrize(
    ("text", "size"),
    [("500k", 5e5), ("20M", 2e7), ("1.5G", 1.5e9), ("5e5", 5e5), ("500_000", 5e5), ("7", 7), ("2K", 2000)],
)
def test_sizes(text, size):
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "5x", "-5", "0", "0k", "1e999", "nan", "inf", "5 0", "1..2"])
def test_sizes_that_cannot_be_read(text):
    with pytest.raises(ExplorerError, match="a limit must be a number above 0"):
        read_size(text)


def test_axes_know_their_ends():
    assert Steps("x", 1, 3, 4).extremes["x"].tolist() == [1, 10]
    assert Continuum("x", 1.0, 2.0).extremes["x"].tolist() == [1.0, 2.0]
    corners = SimplexAxis(EFFICIENTNET.simplex, 2.0, 20).extremes
    assert {key: values.max() for key, values in corners.items()} == {
        "alpha": 2,
        "beta": math.sqrt(2),
        "gamma": math.sqrt(2),
    }

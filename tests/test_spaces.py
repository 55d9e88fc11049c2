"""Contract tests for every design space; a new file in explorer/spaces/ is tested automatically."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from explorer.errors import ExplorerError, Infeasible
from explorer.networks.arrays import Disagreement
from explorer.networks.layers import Conv, Cost, Layer, Shape
from explorer.networks.network import Network, chain
from explorer.networks.verification import CostMismatch, fvcore_count, verify
from explorer.pricing.designs import priced_designs
from explorer.pricing.prices import price
from explorer.spaces import all_spaces, find_space

SPACES = list(all_spaces().values())
ANCHORS = [(space, anchor) for space in SPACES for anchor in space.anchors]
IMPOSSIBLE = [(space, *one) for space in SPACES for one in space.impossible]
PRESETS = [(space, preset) for space in SPACES for preset in space.presets]


def choices(space):
    """Small values for each metaparameter, from its schema."""
    schema = space.model_json_schema()["properties"]
    kinds = {"boolean": [False, True]}
    found = {
        name: field.get("enum") or kinds.get(field.get("type")) or space.model_fields[name].examples
        for name, field in schema.items()
    }
    missing = [name for name, values in found.items() if not values]
    assert not missing, f"{space.name}: {missing} have no examples"
    return found


def some_metaparameters(space, rng):
    """Metaparameters in random order, as many as can be set together; some replace others."""
    names = []
    for name in rng.permutation(list(space.model_fields)).tolist():
        try:
            space.point(**{other: choices(space)[other][0] for other in [*names, name]})
        except ExplorerError:
            continue
        names.append(name)
    return names


def random_points(space, count, seed=0):
    """Feasible design points drawn over all metaparameters at once."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        names = some_metaparameters(space, rng)
        values = {name: choices(space)[name][rng.integers(len(choices(space)[name]))] for name in names}
        try:
            network = space.point(**values).expand()
            _ = network.cost
        except Infeasible:
            continue
        found.append((values, network))
    return found


def random_columns(space, count, seed=0):
    """Columns of `count` design points drawn over all metaparameters at once."""
    rng = np.random.default_rng(seed)
    return {
        name: [choices(space)[name][place] for place in rng.integers(len(choices(space)[name]), size=count)]
        for name in some_metaparameters(space, rng)
    }


@pytest.mark.parametrize(("space", "anchor"), ANCHORS, ids=lambda value: getattr(value, "name", None))
def test_published_counts_are_exact(space, anchor):
    cost = space.point(anchor.preset, **anchor.metaparameters).expand().cost
    assert cost.params == anchor.params, anchor.source
    if anchor.macs is not None:
        assert cost.macs == anchor.macs, anchor.source


@pytest.mark.parametrize(("space", "rule", "settings"), IMPOSSIBLE)
def test_impossible_networks_name_the_layer_and_the_rule(space, rule, settings):
    with pytest.raises(Infeasible) as error:
        _ = space.point(**settings).expand().cost
    assert str(error.value).endswith(rule)


@pytest.mark.parametrize("space", SPACES)
def test_every_metaparameter_is_described_and_has_examples(space):
    assert space.anchors
    assert space.source
    for name, values in choices(space).items():
        assert space.model_fields[name].description, name
        assert len(values) > 1, name


def marks_of(space, preset):
    """Large networks are built with the slow tests."""
    return [pytest.mark.slow] if space.point(preset).expand().cost.params > 30_000_000 else []


@pytest.mark.parametrize(("space", "preset"), [pytest.param(*one, marks=marks_of(*one)) for one in PRESETS])
def test_presets_build_and_classify(space, preset):
    network = space.point(preset).expand()
    module = network.build().eval()
    images = torch.zeros(1, network.input.channels, network.input.size, network.input.size)
    with torch.inference_mode():
        assert module(images).shape == (1, network.trace.output.channels)


@pytest.mark.parametrize(("space", "preset"), PRESETS)
def test_ranges_are_metaparameters_with_values_that_are_possible(space, preset):
    for key, ends in space.point(preset).ranges().items():
        assert key in space.model_fields
        assert ends.low < ends.high
        for end in ends[:2]:
            space.point(preset, **{key: end})


def test_every_kind_of_layer_has_a_name_of_its_own():
    """Digests consist of names and settings, so layers of the same name would be taken for each other."""
    kinds, waiting = {}, [Layer]
    while waiting:
        layer = waiting.pop()
        waiting += layer.__subclasses__()
        if layer.__module__.startswith("explorer.") and "kind" in vars(layer):
            assert kinds.setdefault(layer.kind, layer) is layer
    assert len(kinds) > 20


def check_against_fvcore(space, count, seed):
    for values, network in random_points(space, count, seed):
        module = network.build()
        assert network.cost.params == sum(parameter.numel() for parameter in module.parameters()), values
        assert network.cost.macs == fvcore_count(module, network.input.dimensions).macs, values


@pytest.mark.parametrize("space", SPACES)
def test_cost_matches_fvcore_and_torch(space):
    check_against_fvcore(space, 8, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_cost_matches_fvcore_and_torch_on_many_points(space):
    check_against_fvcore(space, 200, seed=2)


@pytest.mark.parametrize("space", SPACES)
def test_output_shapes_match_the_module(space):
    for values, network in random_points(space, 4, seed=3):
        seen: list[tuple[int, ...]] = []
        module = network.build().eval()
        leaves = [node for _, node in network.rows(99)]
        modules = [part for part in module.body.modules() if not list(part.children())]
        modules = [part for part in modules if not isinstance(part, torch.nn.Identity)]
        for part in modules:
            part.register_forward_hook(lambda _, __, out, seen=seen: seen.append(tuple(out.shape[1:])))
        module(torch.zeros(1, network.input.channels, network.input.size, network.input.size))
        assert seen == [node.output.dimensions for node in leaves], values


@pytest.mark.parametrize("space", SPACES)
def test_modules_overwrite_nothing_that_is_still_needed(space):
    """A network computes the same where no module works in place."""
    for values, network in random_points(space, 4, seed=6):
        module = network.build()
        other = network.build()
        other.load_state_dict(module.state_dict())
        for part in other.modules():
            if getattr(part, "inplace", False):
                part.inplace = False
        images = torch.randn(4, *network.input.dimensions)
        for each in (module, other):
            each.train()
        torch.manual_seed(0)
        made = module(images.clone())
        made.sum().backward()
        torch.manual_seed(0)
        assert torch.allclose(made, other(images.clone()), atol=1e-5), values


@pytest.mark.parametrize("space", SPACES)
def test_the_source_of_every_layer_computes_what_its_module_does(space):
    """An export prints the source of a layer, and training may use another module in its place."""
    leaves = {
        (node.layer, node.input) for _, network in random_points(space, 4, seed=4) for _, node in network.rows(99)
    }
    for layer, shape in leaves:
        plain, module = layer.source(shape).made().eval(), layer.build(shape).eval()
        plain.load_state_dict(module.state_dict())
        images = torch.randn(2, *shape.dimensions)
        with torch.inference_mode():
            assert torch.allclose(plain(images.clone()), module(images.clone()), atol=1e-5), layer


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
@pytest.mark.parametrize("space", SPACES)
def test_arrays_cost_the_same_as_single_points(space, seed):
    columns = random_columns(space, 150, seed)
    frame = price(space.name, None, columns)
    for place in range(150):
        point = space.point(**{name: column[place] for name, column in columns.items()})
        row = frame.iloc[place]
        try:
            cost = point.expand().cost
        except Infeasible as reason:
            assert row["infeasible"] == reason.args[0]  # noqa: PT017 (most points are feasible)
            assert row[["params", "macs", "activations", "model_bytes"]].isna().all()
            continue
        assert (row["params"], row["macs"], row["activations"]) == (cost.params, cost.macs, cost.activations)
        assert row["model_bytes"] == 4 * cost.params


@pytest.mark.parametrize("space", SPACES)
def test_arrays_have_the_digests_and_derived_quantities_of_single_points(space):
    """Digests are the identity of stored runs, and plans compute them as arrays."""
    drawn = random_points(space, 12, seed=5)
    found = priced_designs([space.point(**values) for values, _ in drawn])
    for (values, network), priced in zip(drawn, found, strict=True):
        assert priced.network.digest == network.digest, values
        assert priced.derived == space.point(**values).derive(network.cost), values


def test_infeasible_points_of_arrays_have_their_reason():
    frame = price("squeezenet", None, {"pools": [(1, 4, 8), (1, 4, 12), (1, 4, 8)], "input_size": [224, 224, 9]})
    assert frame["infeasible"].tolist()[0] == ""
    assert frame["infeasible"].tolist()[1].startswith("pools: a pool after layer 12")
    assert "below one pixel" in frame["infeasible"].tolist()[2]


NO_COST = Cost()


@dataclass(frozen=True)
class Miscounted(Conv):
    """A convolution whose cost does not match its module."""

    more: Cost = NO_COST

    def cost(self, shape, out):
        return super().cost(shape, out) + self.more


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (Cost(params=1), "params: the description has 113, the module 112"),
        (Cost(macs=5), "FLOPs: the description has 6,917, fvcore counts 6,912"),
    ],
)
def test_a_wrong_count_is_found(more, message):
    def network(added):
        return Network(Shape(3, 8), chain(conv=Miscounted(4, 3, padding=1, more=added)))

    verify(network(Cost()))
    with pytest.raises(CostMismatch, match=message):
        verify(network(more))


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint8, np.int32, np.uint64, np.float32])
def test_narrow_arrays_do_not_overflow(kind):
    sizes = np.array([100, 120]).astype(kind)
    key = "input_size" if np.issubdtype(kind, np.integer) else "squeeze_ratio"
    values = sizes if key == "input_size" else (sizes / 128).astype(kind)
    frame = price("squeezenet", None, {key: values})
    costs = [find_space("squeezenet").point(**{key: value}).expand().cost.macs for value in values.tolist()]
    assert frame["macs"].tolist() == costs


def test_many_structures_in_one_call():
    frame = price("squeezenet", "cifar", {"fires": np.arange(8, 400, 9), "base_e": np.arange(8, 400, 9)})
    assert frame["params"].is_monotonic_increasing
    assert price("squeezenet", dropout=np.linspace(0, 0.9, 3000))["params"].eq(1_248_424).all()


def test_an_uncounted_operator_is_unknown():
    class Odd(torch.nn.Module):
        def forward(self, images):
            return images.cumsum(dim=1)

    assert fvcore_count(Odd(), (3, 8, 8)).unknown == ["aten::cumsum"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"squeez_ratio": 1}, "unknown metaparameter of squeezenet 'squeez_ratio'; did you mean 'squeeze_ratio'?"),
        ({"squeeze_ratio": 1.5}, "squeezenet: squeeze_ratio = 1.5: should be less than or equal to 1"),
        ({"squeeze_ratio": "wide"}, "squeezenet: squeeze_ratio = wide: should be a valid number"),
        ({"base_e": 1.5}, "squeezenet: base_e = 1.5: should be a valid integer"),
        ({"base_e": True}, "squeezenet: base_e = yes: should be a valid integer"),
        ({"bypass": "simpel"}, "unknown bypass of squeezenet 'simpel'; did you mean 'simple'?"),
        ({"bypass": "both"}, "unknown bypass of squeezenet 'both'; choose one of: complex, none, simple"),
        ({"preset": "cifar"}, "unknown metaparameter of squeezenet 'preset'; did you mean 'fires'?"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ExplorerError) as error:
        find_space("squeezenet").point(**settings)
    assert str(error.value) == message


def test_columns_are_validated():
    with pytest.raises(ExplorerError, match=r"squeeze_ratio = 1\.5: should be less than or equal to 1"):
        price("squeezenet", squeeze_ratio=[0.5, 1.5, 0.25])
    with pytest.raises(ExplorerError, match=r"base_e = 0: should be greater than or equal to 1"):
        price("squeezenet", base_e=np.array([4, 0, 9]))
    with pytest.raises(ExplorerError, match="columns must have the same length"):
        price("squeezenet", None, {"base_e": [1, 2], "freq": [1, 2, 3]})
    with pytest.raises(ExplorerError, match="freq: is missing from some points"):
        price("squeezenet", None, [{"base_e": 1}, {"base_e": 2, "freq": 1}])
    with pytest.raises(ExplorerError, match="at least one point is required"):
        price("squeezenet", None, [])
    with pytest.raises(ExplorerError, match="freq: is set twice"):
        price("squeezenet", None, [{"freq": 1}], freq=2)
    with pytest.raises(ExplorerError, match="at least one value"):
        price("squeezenet", base_e=[])


def test_unknown_preset():
    with pytest.raises(ExplorerError, match="unknown preset of squeezenet 'cifr'; did you mean 'cifar'"):
        find_space("squeezenet").point("cifr")


def test_unknown_space():
    with pytest.raises(ExplorerError, match="did you mean 'squeezenet'"):
        find_space("SqueezNet")


def test_chunks_disagree_about_structure_only():
    from explorer.networks.arrays import same, uniform

    assert uniform(np.array([True, True]))
    assert not uniform(np.array([False, False]))
    assert same(np.array([3, 3])) == 3
    with pytest.raises(Disagreement) as disagreement:
        uniform(np.array([True, False, True]))
    assert disagreement.value.groups.tolist() == [True, False, True]

"""Certificates: whose points they rest on, what their statistics say, and that studies go by them."""

import itertools
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from records import World, changed, make_record
from scipy import stats

from explorer.analysis import Accuracies, Findings
from explorer.analysis.ranks import fisher_interval
from explorer.certification.coverage import find_certificate, gaps
from explorer.certification.making import certificate_of, certificate_study
from explorer.certification.model import (
    FACTORS,
    Certificate,
    CertifiedPoint,
    CertifiedRun,
    Pairs,
    shipped_certificates,
)
from explorer.certification.statistics import (
    above_macs,
    accuracies,
    complete,
    epochs,
    rankers,
    separated_pairs,
    tau_difference,
)
from explorer.commands.cli import run
from explorer.commands.settings import read_varied
from explorer.errors import ExplorerError
from explorer.pricing.population import population
from explorer.reporting.study import report_files
from explorer.reporting.trust import not_certified, plainly, settled_by, trust
from explorer.spaces import find_space
from explorer.storage.ledger import Ledger
from explorer.sweeping import provenance
from explorer.training.recipe import Budget, Recipe


def made(ability, noise, *, points=32, seeds=2, fingerprint="f" * 64):
    """A certificate of points whose accuracies are abilities with noise that shrinks as the budget grows."""
    random = np.random.default_rng(0)
    runs = []
    for point, seed, factor in itertools.product(range(points), range(seeds), FACTORS):
        scores = ability[point] + noise / factor * random.normal(size=2 * factor)
        losses = 2 - scores
        runs.append(
            CertifiedRun(point=point, seed=seed, factor=factor, accuracies=tuple(scores), train_losses=tuple(losses))
        )
    return Certificate(
        name="certify_squeezenet",
        space="squeezenet",
        preset="cifar",
        data="proxy",
        data_fingerprint=fingerprint,
        recipe=Recipe(),
        budget=Budget(),
        validation_images=1000,
        seeds=seeds,
        command="",
        versions={},
        machine={},
        points=tuple(
            CertifiedPoint(
                label=f"point {number}",
                params=1000 + number,
                macs=5000 - number,
                metaparameters={"squeeze_ratio": 0.05 + 0.93 * number / points},
            )
            for number in range(points)
        ),
        runs=tuple(runs),
        pairs=(),
        unfinished=0,
    )


def concordance(first, second):
    """Kendall's tau without ties, counted pair by pair."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    return sum(np.sign((first[i] - first[j]) * (second[i] - second[j])) for i, j in pairs) / len(pairs)


def test_rankers_compare_every_seed_with_the_long_runs_of_the_others():
    ability = np.linspace(0.3, 0.6, 32)
    certificate = made(ability, 0.15, seeds=3)
    last = {
        (run.seed, run.factor): {r.point: r for r in certificate.runs if (r.seed, r.factor) == (run.seed, run.factor)}
        for run in certificate.runs
    }
    table = rankers(certificate).set_index(["ranker", "factor"])
    costs = rankers(certificate).set_index("ranker")["kendall"]
    assert above_macs(certificate, 1).estimate == pytest.approx(table.loc[("accuracy", 1), "kendall"] - costs["macs"])

    def column(seed, factor, score):
        return [score(last[seed, factor][point]) for point in range(32)]

    def final(run):
        return run.accuracies[-1]

    for factor, name in ((1, "accuracy"), (4, "accuracy"), (8, "ceiling")):
        pairs = [(column(s, factor, final), column(t, 8, final)) for s, t in itertools.permutations(range(3), 2)]
        expected = np.mean([concordance(one, other) for one, other in pairs])
        assert table.loc[(name, factor), "kendall"] == pytest.approx(expected)
        ranks = [np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1] for one, other in pairs]
        assert table.loc[(name, factor), "spearman"] == pytest.approx(np.mean(ranks))
        kept = [len(set(np.argsort(one)[-5:]) & set(np.argsort(other)[-5:])) for one, other in pairs]
        assert table.loc[(name, factor), "kept"] == pytest.approx(np.mean(kept))
    losses = [
        concordance(column(s, 1, lambda run: -np.mean(run.train_losses)), column(t, 8, final))
        for s, t in itertools.permutations(range(3), 2)
    ]
    assert table.loc[("training loss", 1), "kendall"] == pytest.approx(np.mean(losses))
    costs = table.reset_index().set_index("ranker")
    assert costs.loc["params", "kendall"] == -costs.loc["macs", "kendall"]
    assert costs.loc["params", "kendall"] > 0.8
    assert table.loc[("accuracy", 1), "kendall"] < table.loc[("accuracy", 4), "kendall"]


def test_epochs_are_those_before_the_rate_falls():
    certificate = made(np.linspace(0.3, 0.6, 32), 0.1)
    table = epochs(certificate)
    assert table["epoch"].tolist() == list(range(1, 13))  # of 16, the last quarter falls
    assert table["images"].tolist() == [10_000 * epoch for epoch in range(1, 13)]
    long = {(run.point, run.seed): run.accuracies for run in certificate.runs if run.factor == FACTORS[-1]}
    for epoch in (1, 12):
        pairs = [
            ([long[p, s][epoch - 1] for p in range(32)], [long[p, 1 - s][-1] for p in range(32)]) for s in range(2)
        ]
        assert table["kendall"][epoch - 1] == pytest.approx(np.mean([concordance(*pair) for pair in pairs]))


@pytest.mark.parametrize(
    ("name", "variance", "off"), [("kendall", lambda _: 0.437, 4), ("spearman", lambda r: 1 + r**2 / 2, 3)]
)
def test_intervals_hold_what_they_are_about(name, variance, off):
    """Simulated: pairs of 32 numbers with a known correlation, whose rank correlations have closed forms."""
    random = np.random.default_rng(1)
    for correlation in (0.3, 0.8, 0.95):
        known = 2 / np.pi * np.arcsin(correlation) if name == "kendall" else 6 / np.pi * np.arcsin(correlation / 2)
        drawn = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=(500, 32))
        measure = stats.kendalltau if name == "kendall" else stats.spearmanr
        held = [
            low <= known <= high
            for pair in drawn
            for found in [measure(pair[:, 0], pair[:, 1]).statistic]
            for low, high in [fisher_interval(found, variance(found), 32 - off)]
        ]
        assert np.mean(held) > 0.92


@pytest.mark.parametrize("simulations", [8, pytest.param(80, marks=pytest.mark.slow)])
def test_the_difference_of_two_rankers_is_scipys_and_its_interval_holds_it(simulations):
    """Normal scores of known correlation with the truth; Kendall's tau of a correlation r is 2 / pi arcsin(r)."""
    good, poor = 0.9, 0.7
    right = 2 / np.pi * (np.arcsin(good) - np.arcsin(poor))
    random = np.random.default_rng(8)
    held = 0
    for _ in range(simulations):
        truth, *noise = random.normal(size=(3, 32))
        first, second = (
            share * truth + np.sqrt(1 - share**2) * other for share, other in zip((good, poor), noise, strict=True)
        )
        found = tau_difference([(first, truth)], [(second, truth)])
        held += found.low <= right <= found.high
    scipys = [stats.kendalltau(scores, truth).statistic for scores in (first, second)]
    assert found.estimate == pytest.approx(scipys[0] - scipys[1])
    assert held >= 0.88 * simulations
    nothing = tau_difference([(first, truth)], [(first, truth)])
    assert (nothing.estimate, nothing.low, nothing.high) == (0, 0, 0)
    tied = np.round(first)
    found = tau_difference([(tied, truth)], [(second, truth)])
    assert found.estimate == pytest.approx(stats.kendalltau(tied, truth).statistic - scipys[1])


def test_the_interval_of_the_same_order_is_not_known():
    assert np.isnan(fisher_interval(1.0, 0.437, 30)).all()


def test_points_with_a_missing_run_are_left_out_and_too_few_are_an_error():
    certificate = made(np.linspace(0.3, 0.6, 8), 0.1, points=8)
    short = certificate.model_copy(update={"runs": certificate.runs[1:]})
    assert complete(short) == list(range(1, 8))
    assert accuracies(short)["point"].tolist() == list(range(1, 8))
    none = certificate.model_copy(update={"runs": certificate.runs[: 4 * 2 * len(FACTORS)]})
    with pytest.raises(ExplorerError, match="4 of 8 points are done at every budget; rank correlations need 5"):
        rankers(none)


def test_what_can_be_trusted_is_put_into_words():
    """MACs fall along the points of `made`: they order a growing ability wrongly and a falling one rightly."""
    runs_win = made(np.linspace(0.3, 0.6, 32), 0.01)
    assert trust(runs_win)[1].count("runs rank better") == 3
    assert re.fullmatch(
        r"Short runs rank squeezenet networks on proxy nearly as well as long ones: Kendall's tau is 0\.9\d, where "
        r"another seed of the long runs reaches 1\.00\.",
        plainly(runs_win),
    )
    pairs = tuple(Pairs(factor=factor, total=90, same=60 + factor, opposite=2, by_macs=55) for factor in FACTORS[:-1])
    macs_win = made(np.linspace(0.6, 0.3, 32), 0.5).model_copy(update={"pairs": pairs})
    _, second, third = trust(macs_win)
    assert "1x: " in second
    assert "FLOPs rank better" in second
    assert [int(number) for number in re.findall(r"\d+", third)] == [2, 90, 61, 2, 27, 55]


def test_separated_pairs_are_those_of_the_long_runs():
    """Long runs of many images separate pairs; short ones are the same runs, then noise, then turned around."""
    long = make_record(seeds=2, images=4000, world=World(pair=0.3))
    noise = make_record(seeds=2, images=20, random=1)
    around = long.runs.assign(correct=[~bits for bits in long.runs["correct"]], accuracy=1 - long.runs["accuracy"])
    turned = type(long)(**{**vars(long), "runs": around})
    same, nothing, opposite = separated_pairs([long, noise, turned, long])
    assert (same.factor, nothing.factor, opposite.factor) == FACTORS[:-1]
    assert same.total == same.same > 5
    assert nothing.same + nothing.opposite < same.total / 2
    assert opposite.opposite == same.total
    assert opposite.same == 0
    means = long.runs.groupby("point")["accuracy"].mean()
    macs = long.points.set_index("point")["macs"]
    crashed = long.runs.assign(state=["crashed"] + ["done"] * (len(long.runs) - 1))
    fewer = separated_pairs([long, noise, type(long)(**{**vars(long), "runs": crashed}), long])[0]
    points = sorted(means.index)
    assert points[0] == long.runs["point"].iloc[0]
    accuracies = Accuracies.of(long)
    counted = [pair for pair in itertools.combinations(points, 2) if accuracies.difference(*pair).separated]
    assert (same.total, fewer.total) == (len(counted), len([pair for pair in counted if points[0] not in pair]))
    assert same.by_macs == sum((means[i] - means[j]) * (macs[i] - macs[j]) > 0 for i, j in counted)


@pytest.mark.parametrize("space", ["squeezenet", "efficientnet"])
def test_a_population_is_spread_over_cost(space):
    points = population(space, "cifar", 32)
    assert points == population(space, "cifar", 32)
    networks = [find_space(space).point("cifar", **values).expand() for values in points]
    assert len({network.digest for network in networks}) == 32
    base = find_space(space).point("cifar").expand().cost.macs
    strata = Counter(int(8 * np.log(4 * network.cost.macs / base) / np.log(8)) for network in networks)
    assert strata == dict.fromkeys(range(8), 4)


def test_a_population_says_what_it_cannot_do():
    with pytest.raises(ExplorerError, match="points = 30: should be a multiple of 8, for 8 cost strata; use 32"):
        population("squeezenet", "cifar", 30)
    with pytest.raises(ExplorerError, match="seeds = 1: short runs are compared with long runs of different seeds"):
        certificate_study("squeezenet", "cifar", "proxy", seeds=1)


def test_studies_go_by_a_certificate_of_their_space_data_recipe_and_budget():
    record = make_record()
    certificate = made(np.linspace(0.3, 0.6, 32), 0.1)
    assert find_certificate(record, [certificate]) is certificate
    for other in (
        {"data_fingerprint": "e" * 64},
        {"space": "efficientnet"},
        {"preset": "v1_0"},
        {"recipe": Recipe(learning_rate=0.1)},
        {"budget": Budget(epochs=3)},
        {"runs": certificate.runs[len(certificate.runs) // 2 :]},
    ):
        assert find_certificate(record, [certificate.model_copy(update=other)]) is None
    page = rendered(record, certificate)
    assert trust(certificate)[0].replace("'", "&#39;") in page
    section = page.partition('<section id="trust">')[2].partition("</section>")[0]
    shown, _, folded = section.partition("<details>")
    assert plainly(certificate).replace("'", "&#39;") in shown
    assert trust(certificate)[0].replace("'", "&#39;") in folded
    without = rendered(record, None)
    assert not_certified(record, None) == ("Not certified: no certificate covers this space, data, recipe and budget.")
    assert not_certified(record, None) in without
    assert "How far to trust it, and how to settle it" in without
    assert settled_by(record, None)[0][:80] in without
    assert "certify squeezenet --preset cifar --data proxy --budget 10000x2" in without


def test_a_certificate_covers_multiples_of_its_budget_too():
    certificate = made(np.linspace(0.3, 0.6, 32), 0.1)
    record = make_record()
    longer = replace(record, study=record.study.model_copy(update={"budget": certificate.budget.times(4)}))
    assert find_certificate(longer, [certificate]) is certificate
    assert certificate.factor_of(longer) == 4
    assert "runs of 8 epochs of 10,000 images agree with runs of 16 epochs" in rendered(longer, certificate)
    own = certificate.model_copy(update={"budget": certificate.budget.times(4)})
    assert find_certificate(longer, [certificate, own]) is own, "the one of its own budget is preferred"
    longest = replace(record, study=record.study.model_copy(update={"budget": certificate.budget.times(8)}))
    assert find_certificate(longest, [certificate]) is None


def rendered(record, certificate):
    return report_files(Findings(record), certificate)["report.html"].decode()


def shipped(space):
    return next(one for one in shipped_certificates() if one.space == space)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("squeeze_ratio", ""),
        ("squeezenet_grid", ""),
        ("compound_grid", ""),  # alpha, beta and gamma act as depth, width and resolution
        ("bypass", "bypass = simple, complex (certified: none)"),
        ("compound_scaling", "depth = 4.4 (certified: 0.258 to 2.95)"),
        ("delayed_downsampling", "pools = 1-2-3, 1-2-4, 1-3-5, 1-3-6, 2 more (certified: 1-4-8)"),
    ],
)
def test_a_certificate_covers_what_its_points_varied(name, missing):
    record = make_record(name, images=2, seeds=1)
    said = not_certified(record, shipped(record.study.space))
    assert said == (f"Not certified: {missing}." if missing else "")
    assert bool(settled_by(record, shipped(record.study.space))) == bool(missing)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"vary": {"squeeze_ratio": [0.1, 0.5, 0.9]}}, []),
        ({"vary": {"squeeze_ratio": [0.1, 1.0]}}, []),  # a little beyond
        ({"vary": {"squeeze_ratio": [0.1, 0.5]}, "fixed": {"pct3x3": 0.25}}, ["pct3x3"]),
        ({"vary": {"squeeze_ratio": [0.1, 0.5], "fires": [8, 10]}}, ["fires"]),
        ({"vary": {"squeeze_ratio": [0.1, 0.5], "batch_norm": [True, False]}}, ["batch_norm"]),
        ({"vary": {"squeeze_ratio": [0.1, 0.5]}, "fixed": {"bypass": "simple"}}, ["bypass"]),
    ],
)
def test_gaps_are_values_that_no_point_of_the_certificate_comes_near(changes, missing):
    """The points of `made` vary the squeeze ratio from 0.05 to 0.95 and nothing else."""
    record = make_record(changed("squeeze_ratio", claims=[], plot={}, **changes), images=2, seeds=1)
    assert [gap.key for gap in gaps(made(np.linspace(0.3, 0.6, 32), 0.1), record)] == missing


def test_a_certificate_that_covers_all_of_a_study_is_preferred():
    record = make_record("bypass", images=2, seeds=1)
    small = made(np.linspace(0.3, 0.6, 32), 0.1)
    points = tuple(
        one.model_copy(update={"metaparameters": {"squeeze_ratio": 0.125, "bypass": kind}})
        for one, kind in zip(small.points, itertools.cycle(["none", "simple", "complex"]), strict=False)
    )
    shorter = small.model_copy(update={"points": points, "budget": Budget(epochs=1)})
    assert find_certificate(record, [small]) is small
    assert find_certificate(record, [small, shorter]) is shorter
    assert not_certified(record, shorter) == ""
    assert settled_by(record, shorter) == []


def test_the_commands_that_settle_it_are_those_of_the_study():
    record = make_record("bypass", images=2, seeds=1)
    typed = "python -m explorer sweep bypass --epochs 2 --data cifar10 --data-dir 'my data' --epochs=2"
    longer, certificate = settled_by(replace(record, command=typed), shipped("squeezenet"))
    assert "`python -m explorer sweep bypass --data cifar10 --data-dir 'my data' --epochs 8`" in longer
    assert (
        "`python -m explorer certify squeezenet --preset cifar --data proxy --budget 10000x2 --data-dir 'my data' "
        "--vary bypass=none,simple,complex`" in certificate
    )
    in_python = replace(record, command="explorer.sweep in Python")
    assert "sweep bypass --data proxy --images 10000 --seeds 1 --epochs 8`" in settled_by(in_python, None)[0]
    pools = make_record("delayed_downsampling", images=2, seeds=1)
    assert "--vary 'pools=[[1,2,3],[1,2,4]," in settled_by(pools, shipped("squeezenet"))[1]
    depth = make_record("compound_scaling", images=2, seeds=1)
    assert "--vary depth=0.257531..4.4`" in settled_by(depth, shipped("efficientnet"))[1]


def test_a_population_varies_more_on_request():
    vary = read_varied(["bypass=none,simple,complex", "squeeze_ratio=0.1..0.3", "pools=[[1,2,3],[1,4,8]]"])
    points = population("squeezenet", "cifar", 32, vary)
    assert {point["bypass"] for point in points} == {"none", "simple", "complex"}
    assert all(0.1 <= point["squeeze_ratio"] <= 0.3 for point in points)
    assert {tuple(point["pools"]) for point in points} == {(1, 2, 3), (1, 4, 8)}
    study = certificate_study("squeezenet", "cifar", "proxy", vary=vary)
    assert study.name == "certify_squeezenet@bypass-pools-squeeze_ratio"
    assert certificate_study("squeezenet", "cifar", "proxy").name == "certify_squeezenet"
    with pytest.raises(ExplorerError, match="did you mean 'bypass'"):
        population("squeezenet", "cifar", 32, {"bypas": ["none"]})


def test_a_certificate_is_stored_and_made_in_the_small(tmp_path, capsys, monkeypatch):
    """The whole command on the proxy data set, twice: the second time nothing is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "commit", lambda: "abc")  # the code may be edited while the test runs
    assert run(["certify", "squeezenet", "--quick", "--workers", "2"]) == 0
    first = capsys.readouterr().out
    assert "64 runs to train" in first
    assert "8 points only show that everything works" in first
    folder = tmp_path / "reports" / "certify_squeezenet@images256-epochs1"
    assert {path.name for path in folder.iterdir()} >= {
        "report.html",
        "certificate.json",
        "rankers.csv",
        "figures",
        "summary.json",
    }
    page = (folder / "report.html").read_text()
    assert run(["certify", "squeezenet", "--quick", "--workers", "2"]) == 0
    assert "0 runs to train, 64 stored already" in capsys.readouterr().out
    assert (folder / "report.html").read_text() == page
    (stored,) = map(Certificate.model_validate_json, Ledger("explorer.db").certificates.all())
    assert stored == Certificate.model_validate_json((folder / "certificate.json").read_text())
    assert len(stored.runs) == 8 * 2 * 4
    assert {len(done.accuracies) for done in stored.runs if done.factor == 8} == {8}
    assert not stored.is_enough
    names = Ledger("explorer.db").studies.names()
    records = [Ledger("explorer.db").studies.load(name) for name in sorted(names, key=lambda name: (len(name), name))]
    assert certificate_of(records) == stored


def test_the_certificates_of_six_spaces_ship():
    assert {(found.space, found.data) for found in shipped_certificates()} == {
        *((space, "cifar10") for space in ("resnet", "mobilenet_v2", "shufflenet_v2", "vit")),
        ("squeezenet", "cifar10"),
        ("squeezenet", "proxy"),
        ("efficientnet", "cifar10"),
        ("efficientnet", "proxy"),
    }


@pytest.mark.parametrize("certificate", shipped_certificates(), ids=lambda certificate: certificate.name)
def test_what_ships_is_about_the_defaults_and_made_by_this_code(certificate):
    assert certificate.recipe == Recipe()
    # They cover the default budget: it is one of the compared budgets, below that of the long runs.
    assert Budget() in [certificate.budget.times(factor) for factor in (1, 2)]
    assert certificate.is_enough
    assert certificate.unfinished == 0
    points = population(certificate.space, certificate.preset, len(certificate.points))
    networks = [find_space(certificate.space).point(certificate.preset, **values).expand() for values in points]
    assert [point.macs for point in certificate.points] == [network.cost.macs for network in networks]
    assert [point.params for point in certificate.points] == [network.cost.params for network in networks]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("certify squeezenot", "squeezenet"),
        ("certify squeezenet --budget 5", "budget 5: must be IMAGESxEPOCHS, such as 10000x2"),
        ("certify squeezenet --budget 0x2", "budget 0x2: images"),
        ("certify squeezenet --points 33", "points = 33: should be a multiple of 8, for 8 cost strata; use 32"),
        ("certify squeezenet --seeds 1", "seeds = 1"),
        ("certify squeezenet --quick --budget 500x1", "--quick has its own budget"),
        ("certify squeezenet --preset cifer", "cifar"),
    ],
)
def test_mistakes_are_one_line(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(words.split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.db"))

"""The forms of studies: their points against brute force, and a form that only this file defines."""

import itertools
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from records import changed, make_record

from explorer.analysis import Findings
from explorer.errors import ExplorerError
from explorer.reporting.study import report_files
from explorer.study.files import builtin_studies, load_study
from explorer.study.form import DesignPoint, Form
from explorer.study.forms import FORMS
from explorer.study.model import Study
from explorer.study.plan import plan, quick

OLD = Path(__file__).parent / "fixtures" / "ledger_v1"
EFFICIENTNET = {"name": "s", "title": "t", "space": "efficientnet", "preset": "cifar"}
SQUEEZENET = EFFICIENTNET | {"space": "squeezenet"}

values = st.lists(st.sampled_from([1, 2, 3, 4, 5]), min_size=1, max_size=4, unique=True)
grids = st.dictionaries(st.sampled_from(["fires", "freq", "base_e"]), values, max_size=3)


def study_of(**tables):
    return Study.model_validate(SQUEEZENET | tables)


@given(grids)
def test_a_grid_has_every_combination(vary):
    points = list(study_of(vary=vary).design_points())
    expected = [dict(zip(vary, row, strict=True)) for row in itertools.product(*vary.values())]
    assert [point.metaparameters for point in points] == expected
    assert [point.label for point in points] == [", ".join(map(str, row.values())) for row in expected]
    assert {point.series for point in points} == {""}
    assert study_of(vary=vary).size == len(expected)
    assert study_of(vary=vary).varied == vary


listed = st.lists(
    st.dictionaries(st.sampled_from(["stem_width", "input_size", "stem_stride"]), st.integers(1, 9), min_size=1),
    min_size=1,
    max_size=5,
)


@given(listed, st.lists(st.sampled_from(["", "a", "b"]), min_size=5, max_size=5), grids)
def test_listed_points_are_combined_with_the_grid(points, series, vary):
    rows = [point | ({"series": name} if name else {}) for point, name in zip(points, series, strict=False)]
    study = study_of(points=rows, vary=vary)
    found = list(study.design_points())
    expected = [
        (point | dict(zip(vary, row, strict=True)), name)
        for point, name in zip(points, series, strict=False)
        for row in itertools.product(*vary.values())
    ]
    assert [(point.metaparameters, point.series) for point in found] == expected
    assert study.size == len(expected)
    for point in found:
        own = " ".join(f"{key} {value}" for key, value in point.metaparameters.items() if key not in vary)
        assert point.label == ", ".join([own, *(str(point.metaparameters[key]) for key in vary)])
    keys = dict.fromkeys(key for row, _ in expected for key in row)
    assert study.varied == {key: list(dict.fromkeys(row.get(key) for row, _ in expected)) for key in keys}


@given(st.integers(1, 12), st.floats(1.1, 8), st.lists(st.sampled_from([0.5, 1.0]), max_size=2, unique=True))
def test_a_lattice_has_every_share(steps, ratio, phis):
    tables = {"simplex": {"steps": steps, "ratio": ratio}} | ({"vary": {"phi": phis}} if phis else {})
    study = Study.model_validate(EFFICIENTNET | tables)
    shares = [
        (i / steps, j / steps, (steps - i - j) / steps) for i in range(steps, -1, -1) for j in range(steps - i, -1, -1)
    ]
    expected = [(row, phi) for row in shares for phi in phis or [None]]
    points = list(study.design_points())
    assert study.size == len(points) == len(expected)
    for point, (row, phi) in zip(points, expected, strict=True):
        factors = [point.metaparameters[key] for key in ("alpha", "beta", "gamma")]
        assert factors == pytest.approx([ratio ** row[0], ratio ** (row[1] / 2), ratio ** (row[2] / 2)])
        assert point.metaparameters.get("phi") == phi
        text = "-".join(f"{100 * share:.3g}" for share in row)
        assert point.label == (text if phi is None else f"{text}, {phi}")


def test_drawn_points_are_on_the_simplex_and_differ():
    study = Study.model_validate(EFFICIENTNET | {"simplex": {"draw": 7, "ratio": 4.0}, "vary": {"phi": [0.5, 1.0]}})
    points = [point.metaparameters for point in study.design_points()]
    assert study.size == len(points) == 14
    for point in points:
        assert point["alpha"] * point["beta"] ** 2 * point["gamma"] ** 2 == pytest.approx(4, rel=1e-13)
    assert [point["phi"] for point in points] == [0.5, 1.0] * 7
    assert len({point["alpha"] for point in points}) == 7


def test_shares_lead_back_to_the_factors():
    form = load_study("compound_grid").form
    for point in form.design_points():
        columns = form.columns(point.metaparameters)
        assert list(columns) == [axis.name for axis in form.axes] == ["share_depth", "share_width", "share_resolution"]
        assert "-".join(f"{100 * share:.0f}" for share in columns.values()) == point.label
        assert form.metaparameters(columns) == pytest.approx(point.metaparameters)


def test_thinning_keeps_the_ends_and_spreads_evenly():
    def thin(vary, most):
        return study_of(vary=vary).thinned(most).varied

    assert thin({"a": list(range(9))}, 5) == {"a": [0, 2, 4, 6, 8]}
    assert thin({"a": list(range(9)), "b": [1, 2]}, 6) == {"a": [0, 4, 8], "b": [1, 2]}
    assert thin({"a": [1, 2]}, 24) == {"a": [1, 2]}
    assert thin({"a": [1, 2, 3]}, 1) == {"a": [1]}


def test_thinning_a_lattice_and_listed_points():
    assert load_study("compound_grid").thinned(24) == load_study("compound_grid")
    assert load_study("compound_grid").thinned(14).size == 10  # 3 steps; 4 steps would be 15
    assert [point.series for point in load_study("compound_scaling").thinned(4).design_points()] == [
        "depth only",
        "width only",
        "resolution only",
        "compound",
    ]
    drawn = changed("compound_grid", simplex={"draw": 100})
    assert drawn.thinned(30).size == 30
    assert drawn.thinned(200) == drawn


@given(st.integers(1, 40), grids)
def test_thinning_leaves_at_most_the_number_asked_for(most, vary):
    for tables in ({}, {"points": [{"stem_width": width} for width in range(1, 30)]}):
        assert study_of(vary=vary, **tables).thinned(most).size <= most


DIGESTS = {
    "bypass": "54385bf4bba7cf08aca2c3134571bc3f050606bbb800f39935f135d3540db7f2",
    "compound_grid": "343d7d33b17dc9ebe5d57615bbab847fbae8a02c8253868c10d2aecb48ed8342",
    "compound_scaling": "abe4cd7250e50b831bf3cff4d51870dee30bad48328e4bbcb34428cf4fb0535b",
    "delayed_downsampling": "f29abd4bf4c81d6182064d38f83005a9293248a87ddf8070814837c3401e5a8f",
    "fire_growth": "b8a6cd89b5ef6debe55f30ceed74259ed75f773a4d0fbf445128ce879b00d7ee",
    "pct3x3": "2c6fe6ada6f0102757ad56f9a95b5eb3ee57bb749f75248ba5942986d094260d",
    "squeeze_ratio": "9a715938d2895791084a72d821df0b6d3cfeae7e7247dd0db1434da8763c2bf4",
    "squeezenet_grid": "cd52c4c92838c063df27a8ace59d70329387adfd1b443dbbfec97951c3af4406",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_built_in_studies_keep_their_stored_digests(name):
    assert load_study(name).digest == DIGESTS[name]


def test_other_studies_keep_their_digests():
    """From before forms were objects; the first from before there were forms other than grids."""
    assert load_study("squeeze_ratio").override(epochs=4).digest[:12] == "b1d4d2fc8f30"
    assert load_study(OLD / "squeezes.toml").digest[:12] == "f74499c92c23"
    assert load_study(OLD / "depths.toml").digest[:12] == "62fe0590eddf"
    points = {"points": [{"series": "a", "depth": 2.0}, {"width": 1.5}], "vary": {"divisor": [4, 8]}}
    assert Study.model_validate(EFFICIENTNET | points).digest[:12] == "42f9dc0bdddb"
    simplex = {"simplex": {"draw": 7, "ratio": 4.0, "seed": 3}, "vary": {"phi": [0.5, 1.0]}}
    assert Study.model_validate(EFFICIENTNET | simplex).digest[:12] == "c287a320eadb"
    lists = {"fixed": {"fires": 4}, "vary": {"pools": [[1, 2], [1, 4]], "bypass": ["none", "simple"]}}
    assert study_of(**lists).digest[:12] == "be5cabfd4295"


@pytest.mark.parametrize("name", builtin_studies())
def test_studies_stored_with_the_tables_of_all_forms_are_read(name):
    study = load_study(name)
    stored = {"simplex": None, "points": []} | json.loads(study.model_dump_json())
    assert Study.model_validate_json(json.dumps(stored)) == study


class Draws(BaseModel):
    """The table `[random]` of a study file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    over: str
    low: float
    high: float
    count: Annotated[int, Field(ge=1)]


class Random(Form):
    """A metaparameter drawn from a range."""

    table = "random"
    random: Draws

    def own_points(self):
        drawn = np.random.default_rng(0).uniform(self.random.low, self.random.high, self.random.count)
        return [DesignPoint({self.random.over: value}, f"draw {number}") for number, value in enumerate(drawn.tolist())]

    def fewer(self, most):
        fewer = self.random.model_copy(update={"count": min(most, self.random.count)})
        return self.model_copy(update={"random": fewer})


TOY = """
title = "What does it do?"
space = "squeezenet"
preset = "cifar"

[random]
over = "squeeze_ratio"
low = 0.1
high = 0.9
count = 40
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMS, "random", Random)

    def read(text=TOY):
        (tmp_path / "toy.toml").write_text(text)
        return load_study(tmp_path / "toy.toml")

    return read


def test_a_new_form_is_loaded_planned_thinned_and_stored(toy):
    study = toy()
    ratios = [point.metaparameters["squeeze_ratio"] for point in plan(study, 10)]
    assert len(ratios) == study.size == 40
    assert 0.1 <= min(ratios) < max(ratios) <= 0.9
    assert list(study.varied) == ["squeeze_ratio"]
    assert quick(study, 10, 1000).size == 24
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert study.override(seeds=1).form == study.form
    assert toy(TOY + "[vary]\npct3x3 = [0.25, 0.5]\n").size == 80


def test_mistakes_in_the_table_of_a_new_form_are_explained(toy):
    for wrong, message in {
        TOY.replace("count", "cuont"): "unknown key 'cuont'; did you mean 'count'?",
        TOY.replace("[random]", "[randm]"): "unknown key 'randm'; did you mean 'random'?",
        TOY.replace("40", "0"): "random.count = 0: should be greater than or equal to 1",
        TOY.replace("0.9", "1.9"): "squeezenet: squeeze_ratio = ",
        TOY + "[[points]]\nfreq = 1\n": "points and random cannot be combined",
        TOY + "[vary]\nsqueeze_ratio = [0.5]\n": "random.squeeze_ratio: is also in [vary]",
    }.items():
        with pytest.raises(ExplorerError) as error:
            toy(wrong)
        assert message in str(error.value)


def test_a_new_form_has_a_report(toy):
    files = report_files(Findings(make_record(toy(), images=50)))
    page = files["report.html"].decode()
    assert "draw 3" in page
    assert "squeeze_ratio: 0." in page
    assert "Gaussian process" in page, "its axes are numbers"
    assert "figures/curve.svg" in files

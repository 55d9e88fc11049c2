import pytest

from explorer.errors import ExplorerError
from explorer.networks.identity import identity
from explorer.spaces import all_spaces
from explorer.study.files import builtin_studies, load_study
from explorer.study.model import Study
from explorer.study.plan import quick as cut_down
from explorer.training.recipe import Recipe

GOOD = """
title = "A question"
space = "squeezenet"
preset = "cifar"
[vary]
squeeze_ratio = [0.25, 0.5]
"""


def read(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_study(path)


def test_built_in_studies_have_a_header():
    assert set(builtin_studies()) >= {"squeeze_ratio", "pct3x3", "bypass", "delayed_downsampling"}
    for name, path in builtin_studies().items():
        study = load_study(name)
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# ")
        for field in ("Source:", "Cost:", "Expected:", "Command:"):
            assert any(line.startswith(f"# {field}") for line in lines), (name, field)
        if study.form.grows:
            assert f"# Command:  python -m explorer search {name} --time 30min" in lines
            continue
        assert f"# Command:  python -m explorer sweep {name}" in lines
        points, runs = study.size, study.size * study.seeds
        assert any(f"{points} points, {runs} runs" in line for line in lines), name


def test_the_studies_ask_what_the_paper_asked():
    assert load_study("squeeze_ratio").varied == {"squeeze_ratio": [step / 8 for step in range(1, 9)]}
    assert load_study("pct3x3").varied == {"pct3x3": [0.01, *(step / 8 for step in range(1, 8)), 0.99]}
    assert load_study("bypass").varied == {"bypass": ["none", "simple", "complex"]}


def test_a_file_is_a_study_named_after_it(tmp_path):
    study = read(tmp_path, GOOD)
    assert (study.name, study.seeds, study.budget.epochs) == ("mine", 3, 2)
    assert study.text == GOOD
    assert [point.metaparameters["squeeze_ratio"] for point in study.design_points()] == [0.25, 0.5]


def test_a_study_survives_storage(tmp_path):
    for study in [read(tmp_path, GOOD), *map(load_study, builtin_studies())]:
        assert Study.model_validate_json(study.model_dump_json()) == study


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("squeezenet", "squeezent"), "unknown space 'squeezent'; did you mean 'squeezenet'?"),
        (('"cifar"', '"cifr"'), "unknown preset of squeezenet 'cifr'; did you mean 'cifar'?"),
        (("title", "titel"), "unknown key 'titel'; did you mean 'title'?"),
        (('title = "A question"', ""), "title: this key is required"),
        (
            ("squeeze_ratio =", "squeeze_rato ="),
            "unknown metaparameter of squeezenet 'squeeze_rato'; did you mean 'squeeze_ratio'?",
        ),
        (("0.25", "1.25"), "squeezenet: squeeze_ratio = 1.25: should be less than or equal to 1"),
        (("0.25", '"a"'), "squeezenet: squeeze_ratio = a: should be a valid number"),
        (("[0.25, 0.5]", "[]"), "vary.squeeze_ratio = : list should have at least 1 item after validation, not 0"),
        (("[0.25, 0.5]", "0.5"), "vary.squeeze_ratio = 0.5: should be a valid list"),
        (("0.25", "0.5"), "vary.squeeze_ratio = ['0.5', '0.5']: a value appears twice"),
        (("[vary]", "seeds = 0\n[vary]"), "seeds = 0: should be greater than or equal to 1"),
        (("[vary]", 'seeds = "3"\n[vary]'), "seeds = 3: should be a valid integer"),
        (("[vary]", "[budget]\nepoch = 2\n[vary]"), "unknown key 'epoch'; did you mean 'epochs'?"),
        (
            ("[vary]", "[recipe]\nlearning_rat = 2.0\n[vary]"),
            "unknown key 'learning_rat'; did you mean 'learning_rate'?",
        ),
        (("[vary]", "[recipe]\nlearning_rate = -2\n[vary]"), "recipe.learning_rate = -2: should be greater than 0"),
        (
            ("[vary]", "[constraints]\nparam = {max = 3}\n[vary]"),
            "unknown key of constraints 'param'; did you mean 'params'?",
        ),
        (("[vary]", "[constraints]\nmacs = 6\n[vary]"), "constraints.macs = 6: should be a table, { key = value }"),
        (("[vary]", "[constraints]\nparams = {mx = 3}\n[vary]"), "unknown key 'mx'; did you mean 'max'?"),
        (("[vary]", "[fixed]\nsqueeze_ratio = 0.5\n[vary]"), "vary.squeeze_ratio: is also in [fixed]"),
        (("[vary]", '[plot]\npublished = "squeezenet_fig"\n[vary]'), "did you mean 'squeezenet_fig3'?"),
        (("[vary]", "[recipe]\nlearning_rate = inf\n[vary]"), "recipe.learning_rate = inf: should be a finite number"),
        (
            ("squeeze_ratio = [0.25, 0.5]", "classes = [3, 4]"),
            "vary.classes: the data determine the number of classes",
        ),
        (("squeeze_ratio = [0.25, 0.5]", 'preset = ["v1_0"]'), "unknown metaparameter of squeezenet 'preset'"),
        (("[vary]", 'name = "x"\n[vary]'), "name: not a key of a study file"),
        (("[vary]", 'form = "grid"\n[vary]'), "form: not a key of a study file"),
        (("[vary]", "[vary"), "not valid TOML"),
    ],
)
def test_mistakes_name_file_key_value_and_rule(tmp_path, change, message):
    with pytest.raises(ExplorerError) as error:
        read(tmp_path, GOOD.replace(*change))
    assert str(error.value).startswith(f"{tmp_path / 'mine.toml'}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_and_unreadable_studies(tmp_path):
    with pytest.raises(ExplorerError, match="unknown study 'squeze_ratio'; did you mean 'squeeze_ratio'"):
        load_study("squeze_ratio")
    with pytest.raises(ExplorerError, match="cannot be read: No such file"):
        load_study(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ExplorerError, match="cannot be read"):
        load_study(tmp_path / "bytes.toml")


def test_an_override_makes_another_study():
    study = load_study("squeeze_ratio")
    assert study.override(data="proxy", seeds=3) == study
    other = study.override(data="cifar10", seeds=5, epochs=8, images=2_000)
    assert other.name == "squeeze_ratio@cifar10-images2000-epochs8-seeds5"
    assert (other.data, other.seeds, other.budget.epochs, other.budget.images) == ("cifar10", 5, 8, 2_000)
    assert study.override(data="/some/where/my photos/").name == "squeeze_ratio@my_photos"
    digests = [study.override(**change).digest for change in ({}, {"seeds": 5}, {"epochs": 8}, {"images": 100})]
    assert len(set(digests)) == 4


def test_seeds_that_depend_on_claims_make_another_study_with_the_same_name_before_the_suffix():
    study = load_study("squeeze_ratio")
    other = load_study("squeeze_ratio", data="cifar10", until_decided=True)
    assert other.name == "squeeze_ratio@cifar10-until-decided"
    assert study.override(until_decided=True).digest not in {study.digest, study.override(seeds=5).digest}
    assert study.override(until_decided=False).digest == study.digest
    assert "until_decided" not in identity(study)


def test_a_file_may_add_seeds_until_its_claims_are_decided(tmp_path):
    text = load_study("squeeze_ratio").text
    assert read(tmp_path, text.replace("seeds = 3", "seeds = 5\nuntil_decided = true")).until_decided
    quick = cut_down(read(tmp_path, text.replace("seeds = 3", "seeds = 5\nuntil_decided = true")), 10, 5_000)
    assert (quick.until_decided, quick.seeds) == (False, 1)
    with pytest.raises(ExplorerError, match=r"seeds = 2: --until-decided"):
        read(tmp_path, text.replace("seeds = 3", "seeds = 2\nuntil_decided = true"))
    with pytest.raises(ExplorerError, match=r"this study has none; add \[\[claims\]\]"):
        read(tmp_path, text.partition("[[claims]]")[0].replace("seeds = 3", "until_decided = true"))


def test_the_digest_covers_what_determines_results(tmp_path):
    study = read(tmp_path, GOOD)
    assert read(tmp_path, "# comment\n" + GOOD.replace("A question", "Another")).digest == study.digest
    assert read(tmp_path, GOOD.replace("0.25", "0.125")).digest != study.digest


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"epochs": 0}, {"images": 1}])
def test_overrides_are_validated(wrong):
    with pytest.raises(ExplorerError, match=f"{next(iter(wrong))} = {next(iter(wrong.values()))}: should be greater"):
        load_study("squeeze_ratio").override(**wrong)


SCALED = """
title = "A question"
space = "efficientnet"
preset = "cifar"
"""


def test_a_target_with_a_tolerance_is_a_range(tmp_path):
    text = SCALED + "[vary]\nphi = [1.0]\n[constraints]\nactual_ratio = { target = 2, tolerance = 0.1 }\n"
    limits = read(tmp_path, text).constraints["actual_ratio"]
    assert (limits.min, limits.max) == pytest.approx((1.8, 2.2))
    with pytest.raises(ExplorerError, match=r"should have min, max or both, or a target with a tolerance"):
        read(tmp_path, text.replace(", tolerance = 0.1", ""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing varies; add one of the tables vary, points, simplex"),
        ("[simplex]\nsteps = 5\n[[points]]\nphi = 1.0\n", "points and simplex cannot be combined"),
        ("[simplex]\nsteps = 5\n", "alpha, beta, gamma have no effect; set phi = 1.0 or another power"),
        ("[[points]]\n", "points: point 1 is empty"),
        ("[[points]]\nphi = 1.0\n[[points]]\nphi = 1.0\n", "points: point 2 is a duplicate"),
        ("[[points]]\nserie = 'a'\nphi = 1.0\n", "'serie'; did you mean 'series'?"),
        ("[[points]]\nseries = true\nphi = 1.0\n", "points: series = yes: should be text"),
        ("[vary]\nphi = [1.0]\n[constraints]\nparams = { min = 2, max = 1 }\n", "min 2 is above max 1"),
        (
            "[vary]\nphi = [1.0]\n[constraints]\nparams = { target = 2, tolerance = -0.5 }\n",
            "tolerance -0.5 must not be negative",
        ),
        ("[simplex]\nratio = 2.0\n", "should have either steps, for a lattice, or draw, for random points"),
        ("[simplex]\nstep = 5\n", "did you mean 'steps'?"),
        ("[simplex]\nsteps = 5\n[vary]\nalpha = [1.1]\n", "simplex.alpha: is also in [vary]"),
        ("[[points]]\nwidht = 1.0\n", "unknown metaparameter of efficientnet 'widht'; did you mean 'width'?"),
        ("[[points]]\nclasses = 10\n", "points.classes: the data determine the number of classes"),
        ("[vary]\nphi = [1.0]\n[constraints]\nactual_ration = { max = 1 }\n", "did you mean 'actual_ratio'?"),
    ],
)
def test_mistakes_in_points_are_explained(tmp_path, text, message):
    with pytest.raises(ExplorerError) as error:
        read(tmp_path, SCALED + text)
    assert message in str(error.value)


def test_only_a_space_with_factors_has_a_simplex(tmp_path):
    with pytest.raises(ExplorerError, match="simplex: squeezenet has no scaling factors with a fixed product"):
        read(tmp_path, SCALED.replace("efficientnet", "squeezenet") + "[simplex]\nsteps = 5\n")


def test_a_space_may_change_the_default_recipe_and_a_study_may_change_it_back(tmp_path):
    clipped = read(tmp_path, 'title = "t"\nspace = "vgg"\npreset = "cifar"\n[vary]\nwidth = [4, 8]\n')
    assert clipped.recipe == Recipe(clip_norm=1.0)
    assert read(tmp_path, GOOD).recipe == Recipe()
    back = read(tmp_path, f"{clipped.text}[recipe]\nclip_norm = 0\nflip = false\n")
    assert back.recipe == Recipe(flip=False)
    stored = Study.model_validate_json(back.model_dump_json())
    assert (stored, stored.digest) == (back, back.digest)
    assert back.override(seeds=5).recipe == back.recipe


def test_the_recipes_of_spaces_are_valid():
    for space in all_spaces().values():
        assert Recipe(**space.recipe)

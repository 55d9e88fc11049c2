"""Keys of runs and studies are stored for ever: what a later version adds must not change those that do not use it."""

from dataclasses import dataclass, replace
from typing import Annotated

import pytest

from explorer.networks.identity import Later
from explorer.spaces import find_space
from explorer.study.files import load_study
from explorer.study.model import Study
from explorer.training.recipe import Budget, Recipe
from explorer.training.run import Numerics, Run


class LaterRecipe(Recipe):
    blur: Annotated[float, Later(neutral=0.0)] = 0.0


class LaterBudget(Budget):
    rungs: Annotated[tuple[int, ...], Later(neutral=())] = ()


@dataclass(frozen=True)
class LaterNumerics(Numerics):
    compiled: Annotated[bool, Later(neutral=False)] = False


class LaterStudy(Study):
    teacher: Annotated[str | None, Later(neutral=None)] = None


def run(**changes):
    network = find_space("squeezenet").point("cifar").expand()
    first = Run(network, "f" * 64, Recipe(), Budget(), 3, Numerics(2, "2.13.0", "cpu", "bfloat16"))
    return replace(first, **changes)


def study(kind=Study, **changes):
    return kind.model_validate(load_study("squeeze_ratio").model_dump() | changes)


def test_a_run_has_the_key_that_the_first_version_gave_it():
    assert run().key == "f4aafbe459f494a5415e703a6b37aeeb2d854e316ee903c96ade11714f0fbc78"


@pytest.mark.parametrize(
    ("neutral", "used"),
    [
        ({"recipe": LaterRecipe()}, {"recipe": LaterRecipe(blur=0.5)}),
        ({"budget": LaterBudget()}, {"budget": LaterBudget(rungs=(1, 2))}),
        (
            {"numerics": LaterNumerics(2, "2.13.0", "cpu", "bfloat16")},
            {"numerics": LaterNumerics(2, "2.13.0", "cpu", "bfloat16", compiled=True)},
        ),
    ],
)
def test_a_later_setting_changes_the_key_of_a_run_only_where_it_is_used(neutral, used):
    assert run(**neutral).key == run().key
    assert run(**used).key != run().key


def test_a_later_setting_changes_the_digest_of_a_study_only_where_it_is_used():
    assert study(LaterStudy).digest == study().digest
    assert study(LaterStudy, teacher="resnet").digest != study().digest
    for recipe, same in ((LaterRecipe(), True), (LaterRecipe(blur=0.5), False)):
        assert (study().model_copy(update={"recipe": recipe}).digest == study().digest) is same


def test_other_settings_always_count():
    assert run(recipe=Recipe(momentum=0.8)).key != run().key
    assert study(seeds=5).digest != study().digest

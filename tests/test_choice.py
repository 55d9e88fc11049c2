"""Points and runs by what people call them."""

import pytest
from records import broken, make_record

from explorer.analysis import measured, summarise
from explorer.errors import ExplorerError
from explorer.exporting.choice import best_point, called, find_point, find_run
from explorer.study.model import Study


def record_of(**changes):
    values = {"name": "s", "title": "t", "space": "squeezenet", "preset": "cifar", "seeds": 2}
    return make_record(Study.model_validate(values | changes), seeds=2, images=50)


@pytest.mark.parametrize(
    "name", ["squeeze_ratio", "compound_scaling", "compound_grid", "bypass", "delayed_downsampling"]
)
def test_every_point_is_found_by_its_number_and_its_labels(name):
    record = make_record(name, seeds=1, images=20)
    names = dict(zip(record.points["label"], record.points["point"], strict=True))
    assert len(names) == len(record.points)
    sources = record.points["same_as"].fillna(record.points["point"])
    for point, label, series, source in zip(names.values(), names, record.points["series"], sources, strict=True):
        assert find_point(record, f"point{point}") == source
        assert find_point(record, f"{series}: {label}" if series else label) == source
        if str(point) not in names:
            assert find_point(record, str(point)) == source
    # And as figures name what is one network.
    for label, point in measured(summarise(record))[["label", "point"]].itertuples(index=False):
        assert find_point(record, label) == point


def test_a_number_that_is_another_point_s_label_too_is_told():
    record = record_of(vary={"freq": [1, 2, 3]})
    with pytest.raises(ExplorerError, match="point '1' of s matches point0, point1; give one of these"):
        find_point(record, "1")
    assert find_point(record, "0") == 0
    assert find_point(record, "3") == 2
    assert find_point(record, "point1") == 1


def test_a_study_of_one_point_has_no_label():
    record = record_of()
    assert find_point(record, "0") == 0
    assert called(record, 0) == "point 0"
    with pytest.raises(ExplorerError, match=r"unknown point of s 'x'; give a number from 0 to 0$"):
        find_point(record, "x")


def test_the_best_point_is_the_most_accurate_of_those_that_are_done():
    record = make_record("squeeze_ratio", seeds=2, images=500)
    means = record.runs.groupby("point")["accuracy"].mean()
    best = best_point(record)
    assert means[best] == means.max()
    without = broken(record, best, (0, 1))
    assert best_point(without) == means.drop(best).idxmax()
    with pytest.raises(ExplorerError, match=r"seed 0 has not finished \(failed: the loss is not finite\); no other"):
        find_run(without, best, 0)
    partly = broken(record, best, (0,), state="missing", reason="")
    with pytest.raises(ExplorerError, match=r"seed 0 has not finished \(missing\); finished: seed 1"):
        find_run(partly, best, 0)
    assert find_run(partly, best, 1) == record.runs.set_index(["point", "seed"]).loc[(best, 1), "key"]

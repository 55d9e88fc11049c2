"""Texts beside marks: none covers a mark, a line or another text, and one without room is left out."""

import itertools

import numpy as np
import pytest

from explorer.drawing.placing import place, sampled

FRAME = np.array([0.0, 0.0, 300.0, 200.0])
SIZE = np.array([40.0, 11.0])


def boxes(marks, found, size=SIZE):
    return [
        (*(mark + one.offset - size / 2), *(mark + one.offset + size / 2))
        for mark, one in zip(marks, found, strict=True)
        if one
    ]


def is_over(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("corners", [True, False])
def test_optional_texts_cover_nothing(seed, corners):
    marks = np.random.default_rng(seed).uniform((5, 5), (295, 195), (60, 2))
    line = sampled(np.array([[0.0, 0.0], [300.0, 200.0]]))
    taken = np.array([100.0, 50.0, 160.0, 90.0])
    found = place(
        marks,
        np.full(60, 4.0),
        [SIZE] * 30 + [None] * 30,
        frame=FRAME,
        obstacles=[line],
        boxes=[taken],
        optional=[True] * 60,
        corners=corners,
    )
    drawn = boxes(marks, found)
    assert 5 < len(drawn) <= 30
    assert not any(found[30:])
    assert not any(is_over(one, other) for one, other in itertools.combinations([*drawn, taken], 2))
    for left, bottom, right, top in drawn:
        assert FRAME[0] - 1 <= left < right <= FRAME[2] + 1
        assert FRAME[1] - 1 <= bottom < top <= FRAME[3] + 1
        for places in (marks, line):
            assert not ((places > (left, bottom)) & (places < (right, top))).all(axis=1).any()


def test_a_text_that_must_be_is_placed_and_the_optional_ones_make_way():
    marks = np.array([[150.0, 100.0], [150.0, 104.0], [150.0, 96.0]])
    found = place(
        marks, np.full(3, 4.0), [SIZE] * 3, frame=np.array([120.0, 85, 180, 120]), optional=[True, True, False]
    )
    assert found[2] is not None
    assert found[:2] == [None, None]


def test_sides_and_distances_are_said():
    (one,) = place(np.array([[150.0, 100.0]]), np.array([4.0]), [SIZE], frame=FRAME)
    assert (one.side, one.far) == (0, False)
    assert one.offset == pytest.approx([0, 4 + 2 + 5.5])
    (one,) = place(np.array([[150.0, 100.0]]), np.array([4.0]), [SIZE], frame=FRAME, corners=True)
    assert one.side == -1
    wall = [sampled(np.array([[110.0, y], [190.0, y]])) for y in range(86, 115, 2)]
    (one,) = place(np.array([[150.0, 100.0]]), np.array([4.0]), [SIZE], frame=FRAME, obstacles=wall)
    assert one.far

"""Claims: what a study file may claim, and how measurements decide it."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records import broken, changed, make_record

from explorer.analysis import Findings
from explorer.analysis.claims import judge
from explorer.errors import ExplorerError
from explorer.reporting.notes import evidence
from explorer.study.files import builtin_studies, load_study


def measured(record, accuracies):
    """The record with these accuracies by point; equal accuracies have the same correct images."""

    def measure(run):
        images = len(run["correct"])
        bits = np.arange(images) < round((accuracies[run["point"]] + 0.002 * (run["seed"] - 1)) * images)
        return run | {"correct": bits, "accuracy": float(bits.mean())}

    return replace(record, runs=pd.DataFrame([measure(run) for run in record.runs.to_dict(orient="records")]))


def verdicts(name, accuracies, **changes):
    record = measured(make_record(name, images=2000), accuracies)
    return [judged.verdict for judged in judge(Findings(replace(record, **changes)))]


def test_every_built_in_study_has_claims_or_says_why_not():
    for name, path in builtin_studies().items():
        study = load_study(name)
        assert study.claims or "makes no claim" in path.read_text(), name
        assert all(claim.source for claim in study.claims)


def test_claims_are_not_part_of_the_study_digest():
    study = load_study("squeeze_ratio")
    assert study.claims
    assert study.model_copy(update={"claims": []}).digest == study.digest


RISE = [0.3, 0.36, 0.4, 0.43, 0.45, 0.46, 0.46, 0.46]


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        (RISE, ["supported", "supported"]),
        ([0.42, 0.36, *RISE[2:]], ["refuted", "supported"]),
        ([0.359, *RISE[1:]], ["undecided", "supported"]),
        ([*RISE[:6], 0.46, 0.5], ["supported", "refuted"]),
        ([*RISE[:6], 0.46, 0.471], ["supported", "undecided"]),
        ([*RISE[:6], 0.4, 0.3], ["supported", "supported"]),
    ],
)
def test_falling_and_levelling_off(accuracies, expected):
    assert verdicts("squeeze_ratio", accuracies) == expected


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.4, 0.5, 0.45], ["supported", "supported", "supported"]),
        ([0.4, 0.401, 0.35], ["undecided", "refuted", "supported"]),
        ([0.5, 0.4, 0.45], ["refuted", "refuted", "refuted"]),
    ],
)
def test_one_point_above_another(accuracies, expected):
    assert verdicts("bypass", accuracies) == expected


@pytest.mark.parametrize(
    ("simple", "expected", "said"),
    [
        (0.42, "supported", "A loss of up to 1 point counts as none."),
        (0.4, "supported", "simple minus none: +0.0"),
        (0.396, "supported", "simple minus none"),
        (0.391, "undecided", "simple minus none"),
        (0.38, "refuted", "simple minus none: \N{MINUS SIGN}2.0"),
    ],
)
def test_no_worse_allows_a_loss_within_the_margin(simple, expected, said):
    claim = {
        "form": "no worse",
        "claim": "A simple bypass costs nothing.",
        "source": "a test",
        "points": {"bypass": "simple"},
        "than": {"bypass": "none"},
    }
    record = measured(make_record(changed("bypass", claims=[claim]), images=2000), [0.4, simple, 0.45])
    findings = Findings(record)
    (judged,) = judge(findings)
    assert judged.verdict == expected
    assert said in evidence(judged, findings)


def test_a_claim_about_several_pairs_needs_all_of_them():
    record = make_record("delayed_downsampling", images=2000)
    labels = dict(zip(record.points["label"], record.points["point"], strict=True))
    accuracies = dict.fromkeys(range(7), 0.4) | {labels["1-4-8"]: 0.5}
    assert verdicts("delayed_downsampling", accuracies)[0] == "supported"
    assert verdicts("delayed_downsampling", accuracies | {labels["1-3-5"]: 0.5})[0] == "undecided"
    assert verdicts("delayed_downsampling", accuracies | {labels["1-3-5"]: 0.6})[0] == "refuted"


def test_an_order_is_judged_by_its_rank_correlation():
    record = make_record("delayed_downsampling", images=2000)
    rank = record.points["activations"].rank(method="first") / 20
    assert verdicts("delayed_downsampling", rank.to_dict())[1] == "supported"
    assert verdicts("delayed_downsampling", (0.5 - rank).to_dict())[1] == "refuted"
    mixed = {point: 0.3 + 0.1 * (number % 2) for number, point in enumerate(rank.sort_values().index)}
    assert verdicts("delayed_downsampling", mixed)[1] == "undecided"


def test_best_at_equal_cost_compares_within_groups_without_shared_networks():
    record = make_record("compound_scaling", images=2000)
    compound = set(record.points.loc[record.points["series"] == "compound", "point"])
    best = {point: 0.5 if point in compound else 0.4 for point in record.points["point"]}
    # The base network belongs to all four series, so its accuracy does not matter.
    assert verdicts("compound_scaling", best | {0: 0.9}) == ["supported"]
    (depth,) = record.points.loc[record.points["label"] == "depth 2.1", "point"]
    assert verdicts("compound_scaling", best | {depth: 0.5}) == ["undecided"]
    assert verdicts("compound_scaling", best | {depth: 0.6}) == ["refuted"]


def test_claims_are_undecided_without_measurements_or_with_one_seed():
    record = measured(make_record("bypass", images=500), [0.4, 0.5, 0.45])
    lost = Findings(broken(record, 0, (0, 1, 2)))
    simple, _, last = judge(lost)
    assert simple.verdict == "undecided"
    assert evidence(simple, lost) == "Not measured: none."
    assert last.verdict == "supported"
    single = Findings(make_record("bypass", images=500, seeds=1))
    assert {judged.verdict for judged in judge(single)} == {"undecided"}
    assert "unknown" in evidence(judge(single)[0], single)


def test_a_claim_is_not_supported_while_one_of_its_points_is_missing():
    record = measured(make_record("squeeze_ratio", images=2000), [*RISE[:6], 0.4, 0.3])
    found = Findings(broken(record, 7, (0, 1, 2)))
    levels = judge(found)[1]
    assert levels.verdict == "undecided"
    assert evidence(levels, found).endswith("Not measured: 1.0.")
    refuted = Findings(broken(measured(record, [*RISE[:6], 0.5, 0.5]), 7, (0, 1, 2)))
    assert judge(refuted)[1].verdict == "refuted", "one point is enough to contradict it"


def test_a_network_is_not_compared_with_itself():
    study = load_study("squeeze_ratio")
    vary = {"squeeze_ratio": [0.25, 0.5, 0.75, 0.7500001]}
    record = make_record(changed(study, vary=vary), images=500)
    assert (record.points["state"] == "merged").sum() == 1
    levels = judge(Findings(record))[1]
    assert levels.comparisons == ()
    assert levels.verdict == "undecided"


def test_a_claim_about_a_metaparameter_that_a_thinned_study_fixes_is_undecided():
    record = make_record("squeeze_ratio", images=100)
    without = replace(record, points=record.points.rename(columns={"squeeze_ratio": "other"}))
    assert {judged.verdict for judged in judge(Findings(without))} == {"undecided"}


def test_the_evidence_names_points_and_intervals():
    found = Findings(measured(make_record("squeeze_ratio", images=2000), RISE))
    falls, levels = (evidence(judged, found) for judged in judge(found))
    assert falls.startswith("0.25 minus 0.125: +6.0 (+")
    assert levels.startswith("A gain of up to 1 point counts as none. 0.75 minus 0.875: +0.0 (")


def claimed(tmp_path, text):
    base = load_study("squeeze_ratio").text.partition("[[claims]]")[0]
    path = tmp_path / "mine.toml"
    path.write_text(f'{base}\n[[claims]]\nclaim = "c"\nsource = "s"\n{text}\n')
    return load_study(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('form = "fals"', "unknown form of a claim 'fals'; did you mean 'falls'?"),
        (
            'form = "falls"\nover = "squeeze_ratio"\nbelow = 0.25\nmargin = 1',
            "unknown key 'margin'; choose one of: below",
        ),
        ('form = "falls"\nover = "squeze_ratio"\nbelow = 0.25', "'squeze_ratio'; did you mean 'squeeze_ratio'?"),
        (
            'form = "falls"\nover = "squeeze_ratio"\nbelow = 0.26',
            "unknown value of squeeze_ratio '0.26'; did you mean '0.25'?",
        ),
        ('form = "falls"\nover = "squeeze_ratio"', "below: this key is required"),
        ('form = "rises with"\ncost = "param"', "'param'; did you mean 'params'?"),
        (
            'form = "above"\nhigher = { label = "0.24" }\nlower = { label = "0.25" }',
            "unknown label of a point '0.24'; did you mean '0.25'?",
        ),
        ('form = "best at equal cost"\nseries = "a"\ncost = "macs"', "unknown series 'a'"),
    ],
)
def test_errors_in_claims_name_the_file_the_value_and_the_nearest_choice(tmp_path, text, message):
    with pytest.raises(ExplorerError) as error:
        claimed(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'mine.toml'}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_near_guessing_and_in_a_trial_run_nothing_is_decided():
    assert verdicts("bypass", [0.1, 0.13, 0.12]) == ["undecided"] * 3
    record = measured(make_record("bypass", images=2000), [0.1, 0.13, 0.3])
    simple, complex_, last = judge(Findings(record))
    assert simple.verdict == "undecided", "13 and 10 % are separated, but both are near guessing"
    assert evidence(simple, Findings(record)).endswith("points (both near guessing).")
    assert (complex_.verdict, last.verdict) == ("supported", "refuted")
    trial = changed("bypass", budget={"images": 500, "epochs": 1})
    found = Findings(make_record(trial, images=500, seeds=1))
    assert {(one.verdict, evidence(one, found)) for one in judge(found)} == {
        ("undecided", "Trial runs cannot decide claims.")
    }
    flat = measured(make_record("squeeze_ratio", images=2000), [0.11] * 8)
    assert {one.verdict for one in judge(Findings(flat))} == {"undecided"}, "levelling off at guessing is no result"


def test_where_no_image_of_a_few_differs_claims_are_undecided():
    for images in (1, 4, 27):
        record = measured(make_record("squeeze_ratio", images=images), [1.1] * 8)
        assert {one.verdict for one in judge(Findings(record))} == {"undecided"}


def test_busy_seconds_count_overlaps_once():
    record = make_record("bypass", images=10)
    ends = ["00:00:10", "00:00:12", "00:00:13", "00:01:00", "00:01:05", "00:01:05", "00:01:30", "00:01:31", "00:02:00"]
    seconds = [10, 10, 1, 5, 5, 10, 3, 1, 0.5]
    runs = record.runs.assign(finished=[f"2026-01-01T{end}+00:00" for end in ends], seconds=seconds)
    found = Findings(replace(record, runs=runs)).effort
    assert found.core_seconds == pytest.approx(sum(seconds))
    clock = np.zeros(12_000, bool)
    for end, length in zip(ends, seconds, strict=True):
        stop = 60 * int(end[3:5]) + int(end[6:])
        clock[round(100 * (stop - length)) : 100 * stop] = True
    assert found.busy_seconds == pytest.approx(clock.sum() / 100)
    macs = record.points.set_index("point")["macs"].sum() * 3
    budget = record.study.budget
    assert found.macs == pytest.approx(3 * macs * budget.images * budget.epochs)
    assert found.last == pd.Timestamp("2026-01-01T00:02:00Z")
    assert Findings(broken(broken(broken(record, 0, (0, 1, 2)), 1, (0, 1, 2)), 2, (0, 1, 2))).effort is None
    assert math.isfinite(found.peak_memory_bytes)

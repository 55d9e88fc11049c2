"""The `README.md` of an export. It describes the network, how to use it and how accurate it is."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from scipy import stats

from explorer.exporting.bundle import BEST, CODE, FACTS, ONNX, PREDICT, WEIGHTS, exact_costs
from explorer.exporting.choice import point_name

README = "README.md"
MARK = "Exported by cnn-design-explorer"
FILES = {
    CODE: "the network as torch code (`build`), its classes (`labels`), and preparation of photos (`prepare`)",
    WEIGHTS: "its trained weights",
    PREDICT: "prints the most likely classes of photos",
    ONNX: "network and weights for other tools, with the classes and the preparation of images as metadata",
    FACTS: "everything known about the run",
    BEST: "the best points of the study",
}


def may_write_readme(folder: Path) -> bool:
    """Whether the folder has no `README.md`, or only one from an earlier export."""
    path = folder / README
    return not path.exists() or (path.is_file() and MARK.encode() in path.read_bytes())


def readme_file(facts: Mapping[str, Any], files: Collection[str]) -> bytes:
    """Return the content of `README.md`, given the content of `export.json` and the file names."""
    point, data = facts["point"], facts["data"]
    cost, prepared = exact_costs(facts), facts["preprocessing"]["prepare"]
    rows = [("validation", facts["validation"], "the best point of a study looks better here than it is")]
    if facts["test"]:
        rows.append(("test", facts["test"], "read once, after all choices"))
    accuracies = "\n".join(
        f"| {kind} | {fact['images']:,} | {fact['accuracy']:.1%} | {_interval(fact)} | {note} |"
        for kind, fact, note in rows
    )
    listed = "\n".join(f"- `{name}`: {FILES[name]}" for name in FILES if name in files)
    text = f"""# {facts["study"]}, {point_name(**point)}, seed {facts["seed"]}

A {facts["space"]} network with {cost}, trained on {data["name"]} ({len(data["classes"])} classes; fingerprint
{data["fingerprint"][:12]}). {MARK} {facts["versions"]["explorer"]}.

## Use

You need Python 3.11 or newer with torch, numpy, pillow and safetensors, but not the explorer:

    pip install torch numpy pillow safetensors
    python predict.py photo.jpg

In your own code:

    import torch
    from safetensors.torch import load_file
    from network import build, labels, prepare

    model = build()
    model.load_state_dict(load_file("weights.safetensors"))
    with torch.inference_mode():
        logits = model.eval()(prepare("photo.jpg"))
    print(labels[logits.argmax()])

For several photos at once, pass `torch.cat([prepare(path) for path in paths])`.

{textwrap.fill(prepared, 120)}

## Accuracy

| images | count | accuracy | 95 % interval | |
|---|---|---|---|---|
{accuracies}

The Wilson intervals apply to this one model and to images like those it was measured on. The network picks one of its
classes for every photo, even for a photo of something else.

## Files

{listed}
"""
    return text.encode("utf-8", "backslashreplace")


def _interval(fact: Mapping[str, Any]) -> str:
    right = round(fact["accuracy"] * fact["images"])
    interval = stats.binomtest(right, fact["images"]).proportion_ci(method="wilson")
    return f"{interval.low:.1%} to {interval.high:.1%}"

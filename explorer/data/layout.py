"""Tell which sub-folders of a folder of images are splits and which are classes.

Images for testing must never be trained on, so ambiguous folders are rejected.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from explorer.data.listing import holds_images, images_below
from explorer.errors import ExplorerError

SPELLINGS = {
    "training": {"train", "training", "trn"},
    "validation": {"val", "valid", "validation", "dev", "eval", "evaluation"},
    "test": {"test", "testing", "tests", "tst", "holdout", "heldout"},
}
"""Words that name a split, in any case. Names such as `train_set`, `TestImages` and `val2017` are recognised too."""
FILLERS = {"set", "data", "dataset", "split", "folder", "image", "images", "img", "imgs", "photos", "pictures"}
MOST_STRAY = 0.1
"""A folder's sub-folders count as its content if at most this share of its images lies outside them."""
_SPLITS = {word: split for split, words in SPELLINGS.items() for word in words}


@dataclass(frozen=True)
class Layout:
    """Where the images of a data set are."""

    training: Path
    """Contains the class folders."""
    classes: tuple[str, ...]
    """Names of the class folders, sorted."""
    is_split: bool
    """Whether the images are already sorted into splits. If not, a tenth of each class becomes the test images."""
    validation: Path | None = None
    test: Path | None = None
    notes: tuple[str, ...] = ()
    """Notes about content that is not read, one per line."""


def split_of(name: str) -> str | None:
    """Return `training`, `validation` or `test` if the folder name means that split, otherwise None."""
    words = [word for word in _words(name) if word not in FILLERS]
    joined = "".join(words)
    return _SPLITS.get(joined) or _SPLITS.get(joined.removesuffix("set"))


def find_layout(path: Path) -> Layout:
    """Find the class folders in the training split if there is one, otherwise in `path`.

    Links are not resolved, because the splits that belong to a linked folder are next to the link.

    Raises:
        ExplorerError: There are fewer than two classes, or folders could be either splits or classes.
    """
    names = class_folders(path)
    splits = {split: [name for name in names if split_of(name) == split] for split in SPELLINGS}
    others = [name for name in names if split_of(name) is None]
    for split, found in splits.items():
        if len(found) > 1:
            raise ExplorerError(
                f"a data set has one {split} folder, but {path} has {_listed(found)}; merge them or remove one"
            )
    training, validation, test = (path / found[0] if found else None for found in splits.values())
    held_out = [*splits["validation"], *splits["test"]]
    if training is None or not _is_split(training, held_out, others):
        return Layout(path, _classes(path), is_split=False)
    classes = _classes(training)
    notes = [
        f"{path / name} is next to the training folder, so its images are not read"
        for name in others
        if holds_images(path / name)
    ]
    if validation is not None and not class_folders(validation):
        if holds_images(validation):
            notes.append(f"{validation} has no class folders, so validation images are taken from {training.name}")
        validation = None
    if test is not None and not class_folders(test) and holds_images(test):
        notes.append(f"{test} has no class folders, so there are no test images")
    for part in filter(None, (validation, test)):
        for name in class_folders(part):
            if name not in classes:
                raise ExplorerError(
                    f"{part} must have the same classes as {training}, which has no {_listed([name])}; rename or "
                    "remove it"
                )
    return Layout(training, classes, is_split=True, validation=validation, test=test, notes=tuple(notes))


def _is_split(training: Path, held_out: list[str], others: list[str]) -> bool:
    """Whether a folder named like a training split really is one, and not a class with that name."""
    below = class_folders(training)
    others = [name for name in others if holds_images(training.parent / name)]
    if not others:
        return bool(held_out or below)
    if held_out:
        return bool(below)
    # If the classes are vehicles such as plane, ship and train, the class named train may have sub-folders too.
    if len(below) > 1 and not holds_images(training, deep=False):
        raise ExplorerError(
            f"{training} may be a training split with the classes {_listed(below)}, or a class next to "
            f"{_listed(others)}; rename it, or move the other folders away"
        )
    return False


def _classes(root: Path) -> tuple[str, ...]:
    """Return the class folders of `root`; raise `ExplorerError` for fewer than two or for names of splits."""
    names = class_folders(root)
    if len(names) == 1 and len(class_folders(root / names[0])) > 1 and split_of(names[0]) is None:
        raise ExplorerError(
            f"a folder of images needs a sub-folder for each of at least 2 classes, but {root} has 1; "
            f"did you mean {root / names[0]}?"
        )
    held_out = [name for name in names if split_of(name) in {"validation", "test"}]
    if held_out:
        raise ExplorerError(
            f"{root} has {_listed(held_out)}, which {'are names' if len(held_out) > 1 else 'is the name'} of held-out "
            "images, among its class folders; move the classes to train into a folder named train, or rename it"
        )
    alike, shared = _alike(root, names)
    if alike:
        raise ExplorerError(
            f"{root} has {_listed(alike)}, which may be splits and not classes, because they share the sub-folders "
            f"{_listed(shared)}; name splits train and test, or put the images directly into a folder for each class"
        )
    pair = _split_pair(names)
    if pair:
        raise ExplorerError(
            f"{root} has {pair[0]!r} and {pair[1]!r}, which look like splits, among its class folders; sort the images "
            "into train/CLASS and test/CLASS"
        )
    if len(names) < 2:  # noqa: PLR2004 -- a classifier needs two
        raise ExplorerError(
            f"a folder of images needs a sub-folder for each of at least 2 classes, but {root} has {len(names)}; "
            "sort the images into such folders"
        )
    return names


def _alike(root: Path, names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return the folders that share names of sub-folders with another folder, and those names.

    Such folders may be splits in another language, folds (`fold1/cat`, `fold2/cat`) or classes (`cat/indoor`,
    `dog/indoor`). They cannot be told apart.
    """
    inner = {name: _parts(root / name) for name in names}
    counts = Counter(part for parts in inner.values() for part in parts)
    shared = sorted(part for part, count in counts.items() if count > 1)
    return [name for name, parts in inner.items() if not parts.isdisjoint(shared)], shared


def _parts(folder: Path) -> set[str]:
    """Return the lower-case names of the sub-folders with images if several of them hold nearly all images.

    Names such as `images` are left out. So are splits, which have an error of their own.
    """
    parts = [name for name in class_folders(folder) if holds_images(folder / name)]
    if len(parts) < 2:  # noqa: PLR2004 -- a split has two classes
        return set()
    images = images_below(folder)
    if sum(path.parent == folder for path in images) > MOST_STRAY * len(images):
        return set()
    return {name.casefold() for name in parts if split_of(name) is None and not _is_filler(name)}


def _is_filler(name: str) -> bool:
    words = _words(name)
    return bool(words) and FILLERS.issuperset(words)


def _split_pair(names: tuple[str, ...]) -> tuple[str, str] | None:
    """Return two names that differ only in the split, such as `cats_train` and `cats_test`."""
    seen: dict[tuple[str, ...], str] = {}
    for name in names:
        words = _words(name)
        if len(words) > 1 and any(word in _SPLITS for word in words):
            rest = tuple("" if word in _SPLITS else word for word in words)
            if rest in seen:
                return seen[rest], name
            seen[rest] = name
    return None


def class_folders(path: Path) -> tuple[str, ...]:
    """Return the sorted names of the visible sub-folders; raise `ExplorerError` if `path` cannot be read."""
    try:
        return tuple(
            sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        )
    except OSError as error:
        raise ExplorerError(f"a folder of images must be readable, but {path} is not: {error.strerror}") from None


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", spaced)]


def _listed(names: list[str] | tuple[str, ...]) -> str:
    shown = [repr(name) for name in names[:5]] + ([f"{len(names) - 5} more"] if names[5:] else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)

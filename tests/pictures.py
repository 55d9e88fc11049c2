"""Folders of small images."""

from PIL import Image


def paint(path, colour=(10, 20, 30), size=(8, 8), mode="RGB"):
    """One image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def fill(folder, classes=("cat", "dog"), count=20, start=0):
    """Images in class folders: red says which class, green which image."""
    for shade, name in enumerate(classes):
        for index in range(start, start + count):
            paint(folder / name / f"{index:03d}.png", (100 * shade, index, 0))

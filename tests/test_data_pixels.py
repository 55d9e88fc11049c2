"""Every kind of image is scaled by the range of its format, or refused by name."""

import numpy as np
import pytest
from pictures import fill
from PIL import Image

from explorer.data import find_source
from explorer.data.photo import BACKGROUND
from explorer.data.pixels import read_square
from explorer.errors import ExplorerError

RAMP = np.linspace(0, 1, 32 * 32).reshape(32, 32)
BYTES = np.rint(RAMP * 255).astype(int)


def read(path, image, **options):
    image.save(path, **options)
    return read_square(path).astype(int)


def refusal(path, image):
    image.save(path)
    with pytest.raises(ExplorerError) as error:
        read_square(path)
    assert "\n" not in str(error.value)
    assert f"but {path} is not (" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("high", [1, 255])
def test_floating_point_images_are_scaled(tmp_path, high):
    found = read(tmp_path / "x.tif", Image.fromarray((RAMP * high).astype(np.float32)))
    assert np.abs(found - BYTES[..., None]).max() <= 1
    assert found.min() == 0
    assert found.max() == 255


def test_a_black_floating_point_image_is_black(tmp_path):
    assert read(tmp_path / "x.tif", Image.fromarray(np.zeros((32, 32), np.float32))).max() == 0


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 65_535), (0, np.nan), (0, np.inf), (-300, 0)])
def test_floating_point_images_of_other_ranges_are_refused(tmp_path, low, high):
    values = np.full((32, 32), low, np.float32)
    values[0, 0] = high
    assert "floating-point values from" in refusal(tmp_path / "x.tif", Image.fromarray(values))


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_16_bit_images_keep_their_upper_bits(tmp_path, name):
    values = (RAMP * 65_535).astype(np.uint16)
    np.testing.assert_array_equal(read(tmp_path / name, Image.fromarray(values))[..., 0], values >> 8)


def test_16_bit_colours_keep_their_upper_bits(tmp_path):
    """Pillow writes none, so this is a PNG made by hand."""
    import struct
    import zlib

    values = (np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2) * 65_535).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    np.testing.assert_array_equal(read_square(tmp_path / "x.png"), values >> 8)


@pytest.mark.parametrize("high", [1, 255, 1023, 4095])
def test_16_bit_images_with_fewer_bits_are_refused(tmp_path, high):
    image = Image.fromarray((RAMP * high).astype(np.uint16))
    assert f"16-bit values of at most {high:,}, which would be almost black" in refusal(tmp_path / "x.png", image)


@pytest.mark.parametrize("high", [1, 200, 2**31 - 1])
def test_32_bit_integers_are_refused(tmp_path, high):
    values = (RAMP * high).astype(np.int32)
    assert "32-bit integers from 0 to" in refusal(tmp_path / "x.tif", Image.fromarray(values))


def test_one_bit_and_grey_images_are_black_and_white(tmp_path):
    values = (np.indices((32, 32)).sum(axis=0) % 2).astype(bool)
    for mode, name in (("1", "x.png"), ("L", "y.bmp"), ("1", "z.tif")):
        found = read(tmp_path / name, Image.fromarray((values * 255).astype(np.uint8)).convert(mode))
        np.testing.assert_array_equal(found, np.stack([values * 255] * 3, axis=2))


def test_colours_for_printing_are_converted(tmp_path):
    red = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert read(tmp_path / "x.tif", red)[0, 0].tolist() == [255, 0, 0]
    found = read(tmp_path / "x.jpg", red, quality=95)
    assert found[0, 0, 0] > 240
    assert found[0, 0, 1:].max() < 15


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("ink", [0, 255])
def test_drawings_on_a_transparent_ground_stay_visible(tmp_path, mode, ink):
    """Whether they are black or white."""
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[...] = (ink, ink, ink, 0)  # the hidden colour is that of the ink, as programs often save it
    pixels[8:24, 8:24, 3] = 255
    image = Image.fromarray(pixels)
    if mode == "P":
        image = Image.fromarray((pixels[..., 3] > 0).astype(np.uint8), "L").convert("P")
        image.putpalette([ink] * 6)
        found = read(tmp_path / "x.png", image, transparency=bytes([0, 255]))
    else:
        found = read(tmp_path / "x.png", image.convert(mode))
    assert found[16, 16].tolist() == [ink] * 3
    assert tuple(found[0, 0]) == BACKGROUND


def test_a_transparent_colour_is_ground_too(tmp_path):
    image = Image.new("RGB", (32, 32), (1, 2, 3))
    image.paste((250, 250, 250), (8, 8, 24, 24))
    found = read(tmp_path / "x.png", image, transparency=(1, 2, 3))
    assert tuple(found[0, 0]) == BACKGROUND
    assert found[16, 16].tolist() == [250] * 3


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tif"])
def test_of_several_frames_the_first_is_read(tmp_path, name):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    found = read(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    assert found[0, 0, 0] > 240
    assert found[0, 0, 1:].max() < 15


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.gif", "x.webp", "x.tif", "x.bmp"])
def test_damaged_images_are_named(tmp_path, name):
    rng = np.random.default_rng(0)
    path = tmp_path / name
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    for content in (b"", b"no image", whole[:20], whole[: len(whole) // 2], bytes(100) + whole[100:200]):
        path.write_bytes(content)
        with pytest.raises(ExplorerError, match=rf"but .*{name} is not \(.+\); replace or remove it"):
            read_square(path)


def test_an_image_of_too_many_pixels_is_named_and_a_large_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000)
    assert read(tmp_path / "x.png", Image.new("RGB", (64, 64)))[0, 0].tolist() == [0, 0, 0]
    assert "exceeds limit" in refusal(tmp_path / "y.png", Image.new("RGB", (100, 100)))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fill(tmp_path / "pets")
    return tmp_path / "pets"


def test_files_left_out_are_counted_once(root, tmp_path):
    for number in range(10):
        (root / ("cat", "dog")[number % 2] / f"{number}.HEIC").touch()
    for name in ("cat/notes", "dog/readme", "dog/.hidden", ".DS_Store"):
        (root / name).touch()
    assert find_source(str(root)).prepare().notes == ("12 files ignored (.heic 10, no suffix 2)",)
    fill(tmp_path / "more", count=2)
    (root / "cat" / "more").symlink_to(tmp_path / "more")
    expected = f"12 files ignored (.heic 10, no suffix 2); 1 linked folder not followed ({root}/cat/more)"
    assert find_source(str(root)).prepare().notes == (expected,)


def test_loops_of_links_end(root):
    (root / "cat" / "again").symlink_to(root)
    dataset = find_source(str(root)).prepare()
    assert len(dataset.labels) == 36
    assert "1 linked folder not followed" in dataset.notes[0]


def test_many_kinds_of_files_are_summed(root):
    for letter in "abcdefghij":
        (root / "cat" / f"x.{letter}").touch()
    (note,) = find_source(str(root)).prepare().notes
    assert note == "10 files ignored (.a 1, .b 1, .c 1, .d 1, .e 1, .f 1, others 4)"


def test_what_looks_like_an_image_and_cannot_be_read_is_named(root):
    import os

    os.mkfifo(root / "cat" / "pipe.png")
    with pytest.raises(ExplorerError, match=r"every image must be a file, but .*pipe\.png is not"):
        find_source(str(root)).prepare()


def test_films_and_vector_drawings_are_no_images(root):
    for name in ("film.mpg", "drawing.eps", "drawing.wmf"):
        (root / "cat" / name).write_bytes(b"x")
    assert "3 files ignored" in find_source(str(root)).prepare().notes[0]


def test_names_may_have_any_bytes(tmp_path, monkeypatch):
    import os

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    latin = os.fsdecode(b"caf\xe9")
    fill(tmp_path / latin, (latin, "dog"))
    (tmp_path / latin / "dog" / "000.png").rename(tmp_path / latin / "dog" / f"{latin}.png")
    dataset = find_source(str(tmp_path / latin)).prepare()
    assert (dataset.name, dataset.classes) == ("caf\ufffd", ("caf\ufffd", "dog"))
    assert len(dataset.labels) == 36

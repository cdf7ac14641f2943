"""Good images of every kind decode to what is displayed; bad ones give one line and a code."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL import ImageFile

from residency.data.images import (
    ImageError,
    array_image,
    file_picture,
    inside,
    open_image,
    read_image,
)
from residency.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 64, 3), dtype=np.uint8)


def picture(path: Path, mode: str = "RGB", **options) -> Path:
    PIL.Image.fromarray(PIXELS).convert(mode).save(path, **options)
    return path


def code_of(path, **options) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(path, **options)
    assert "\n" not in str(caught.value)
    return caught.value.code


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    image = open_image(picture(tmp_path / f"a.{suffix}"))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), PIXELS)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("jpg", "RGB"), ("jpg", "CMYK"), ("jpg", "L"), ("webp", "RGB"), ("png", "1"), ("png", "LA")],
)
def test_other_formats_and_modes_become_rgb(tmp_path, suffix, mode):
    image = open_image(picture(tmp_path / f"a.{suffix}", mode))
    assert (image.mode, image.size) == ("RGB", (64, 40))
    expected = np.asarray(PIL.Image.fromarray(PIXELS).convert("L")).mean()
    assert abs(np.asarray(image).mean() - expected) < 20


def test_palette_and_single_frame_gif_keep_their_colours(tmp_path):
    two = np.zeros((8, 8, 3), np.uint8)
    two[:, 4:] = (200, 10, 60)
    for name in ("a.gif", "a.png"):
        PIL.Image.fromarray(two).convert("P", palette=PIL.Image.Palette.ADAPTIVE).save(
            tmp_path / name
        )
        assert np.array_equal(np.asarray(open_image(tmp_path / name)), two)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    values = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    PIL.Image.fromarray(values).save(tmp_path / "a.png")
    image = np.asarray(open_image(tmp_path / "a.png"))[..., 0]
    assert (image.min(), image.max()) == (0, 255)
    assert (image == 255).mean() < 0.01
    assert np.array_equal(image, np.rint(values * (255 / 4095)))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_tiff_is_scaled_by_its_own_range(tmp_path, kind):
    values = np.linspace(100, 3000, 32 * 32).reshape(32, 32).astype(kind)
    PIL.Image.fromarray(values).save(tmp_path / "a.tiff")
    image = np.asarray(open_image(tmp_path / "a.tiff"))[..., 0]
    expected = (values.astype(float) - values.min()) * (255 / float(values.max() - values.min()))
    assert np.array_equal(image, np.rint(expected))


def test_deep_tiff_is_scaled_by_its_declared_range(tmp_path):
    values = np.full((8, 8), 1000, np.uint16)
    values[0] = 500
    PIL.Image.fromarray(values).save(tmp_path / "a.tiff", tiffinfo={280: 0, 281: 4000})
    image = np.asarray(open_image(tmp_path / "a.tiff"))[..., 0]
    assert set(np.unique(image)) == {32, 64}
    PIL.Image.fromarray(values).save(tmp_path / "b.tiff", tiffinfo={280: 0, 281: 900})
    assert code_of(tmp_path / "b.tiff") == "range"


def test_unsigned_32_bit_and_inverted_grey(tmp_path):
    path = tmp_path / "a.tiff"
    values = np.zeros((8, 8), np.uint32)
    values[0, 0], values[1, 1] = 2**31, 2**32 - 1
    PIL.Image.fromarray(values.view(np.int32)).save(path)
    entry = struct.pack("<HHI", 339, 3, 1)  # the sample format: 2 is signed, 1 unsigned
    path.write_bytes(path.read_bytes().replace(entry + b"\2", entry + b"\1"))
    image = np.asarray(open_image(path))[..., 0]
    assert (image[0, 0], image[1, 1], image[2, 2]) == (128, 255, 0)
    PIL.Image.fromarray(values.astype(bool).astype(np.uint16)).save(path, tiffinfo={262: 0})
    image = np.asarray(open_image(path))[..., 0]
    assert (image[0, 0], image[2, 2]) == (0, 255)  # white is zero


def test_nan_and_infinity_are_refused(tmp_path):
    values = np.ones((8, 8), np.float32)
    for bad in (np.nan, np.inf):
        values[2, 3] = bad
        PIL.Image.fromarray(values).save(tmp_path / "a.tiff")
        assert code_of(tmp_path / "a.tiff") == "nan"


def test_transparency_is_composited_on_the_background(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0] = 250  # red, hidden where alpha is 0
    pixels[:4, :, 3] = 255
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    black = np.asarray(open_image(tmp_path / "a.png"))
    white = np.asarray(open_image(tmp_path / "a.png", background="white"))
    assert black[0, 0].tolist() == white[0, 0].tolist() == [250, 0, 0]
    assert black[7, 7].tolist() == [0, 0, 0]
    assert white[7, 7].tolist() == [255, 255, 255]


def test_exif_orientation_is_applied(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(open_image(path)), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.bmp", "a.webp", "a.gif"])
@pytest.mark.parametrize("keep", [0.5, 0.97])
def test_truncated_files_are_refused(tmp_path, name, keep):
    data = picture(tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
    assert code_of(tmp_path / name) in ("truncated", "corrupt", "format")


def test_jpeg_without_its_last_bytes_is_truncated_even_where_a_library_allows_it(
    tmp_path, monkeypatch
):
    path = picture(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-8])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert code_of(path) == "truncated"


def test_png_with_a_wrong_checksum_is_corrupt(tmp_path):
    path = picture(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[29] ^= 0xFF  # the checksum of IHDR
    path.write_bytes(bytes(data))
    assert code_of(path) in ("corrupt", "format")


def test_files_that_are_no_image_say_what_they_are(tmp_path):
    cases = {
        b"": ("empty", "is empty"),
        b"<!DOCTYPE html><html>404</html>": ("format", "HTML"),
        b"\n<svg xmlns='x'/>": ("format", "SVG"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n": ("format", "PostScript"),
        b"version https://git-lfs.github.com/spec/v1\n": ("format", "LFS"),
        b"\x00\x01\x02": ("format", "another format"),
    }
    for data, (code, says) in cases.items():
        path = tmp_path / "a.png"
        path.write_bytes(data)
        assert code_of(path) == code
        with pytest.raises(ImageError, match=says):
            open_image(path)


def test_size_is_judged_by_the_header(tmp_path):
    path = tmp_path / "a.png"
    for width, height, code in (
        (10_000, 10_000, "pixels"),
        (20_000, 20_000, "pixels"),
        (1, 1, "tiny"),
        (3000, 1, "tiny"),
        (4010, 20, "aspect"),
    ):
        path.write_bytes(png(width, height))
        assert code_of(path) == code
    assert code_of(picture(tmp_path / "b.png"), max_pixels=2000) == "pixels"


def test_several_frames_are_refused(tmp_path):
    frames = [PIL.Image.fromarray(PIXELS), PIL.Image.fromarray(PIXELS[::-1].copy())]
    for name in ("a.gif", "a.tiff", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert code_of(tmp_path / name) == "frames"


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    assert code_of(tmp_path / "fifo.png") == "not_a_file"
    assert code_of(tmp_path) == "not_a_file"
    assert code_of(tmp_path / "none.png") == "missing"
    assert code_of("a\0b.png") == "unreadable"


def test_paths_stay_inside_their_folder(tmp_path):
    root, other = tmp_path / "root", tmp_path / "root_evil"
    root.mkdir()
    other.mkdir()
    picture(root / "a.png")
    secret = picture(other / "b.png")
    (root / "link.png").symlink_to(secret)
    assert inside(root, "a.png") == (root / "a.png").resolve()
    for name in ("../root_evil/b.png", str(secret), "link.png", "a\0.png", str(root / "a.png")):
        with pytest.raises(ImageError, match="leads out of") as caught:
            inside(root, name)
        assert caught.value.code == "escape"
    assert file_picture(root, "a.png").load().size == (64, 40)
    with pytest.raises(ImageError, match="leads out of"):
        file_picture(root, "link.png").load()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow on damaged TIFF tags
def test_mutated_files_give_an_image_or_one_line(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "a.bin"
    refused = 0
    for kind in ("jpeg", "png", "tiff", "webp", "bmp", "gif"):
        buffer = io.BytesIO()
        PIL.Image.fromarray(PIXELS).save(buffer, kind)
        for _ in range(40):
            data = np.frombuffer(buffer.getvalue(), np.uint8).copy()
            data[rng.integers(0, min(len(data), 200), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(data.tobytes())
            try:
                assert open_image(path).mode == "RGB"
            except ImageError as error:
                refused += 1
                assert "\n" not in str(error)
    assert 40 < refused < 240


def test_arrays_must_be_eight_bit():
    assert np.array_equal(np.asarray(array_image(PIXELS)), PIXELS)
    assert np.asarray(array_image(PIXELS[..., 0]))[..., 2].tolist() == PIXELS[..., 0].tolist()
    for bad in (PIXELS.astype(np.uint16), PIXELS[..., :2], PIXELS[0, 0]):
        with pytest.raises(DataError, match="must be uint8"):
            array_image(bad)


def test_bytes_are_decoded_under_the_same_rules(tmp_path):
    path = picture(tmp_path / "a.png")
    assert np.array_equal(np.asarray(read_image(path.read_bytes(), "row 3")), PIXELS)
    for data, code in (
        (b"", "empty"),
        (b"<html>", "format"),
        (path.read_bytes()[:500], "truncated"),
    ):
        with pytest.raises(ImageError, match="row 3") as caught:
            read_image(data, "row 3")
        assert caught.value.code == code
    with pytest.raises(ImageError) as caught:
        read_image(png(20_000, 20_000), "row 3")
    assert caught.value.code == "pixels"

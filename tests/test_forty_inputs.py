"""Forty bad inputs through a whole data set: each comes out under its code, and none stops the look.

The numbers are those of our list of bad inputs. What lies in a picture is met here, by a data set that
names all of them; what lies elsewhere is met by the test that `ELSEWHERE` names, whose existence is
checked. A code that begins with `ok` is a picture that is read, and what is said about it.

 1- 3 cut JPEG           image_truncated       20-21 EPS, SVG           image_format
 4- 5 empty, HTML        image_empty, _format  22    FIFO, folder       image_not_a_file
 6    wrong checksum     image_corrupt         23-24 links, `..`        image_escape
 7    CMYK               ok cmyk               25    missing            image_missing
 8- 9 16, 32 bits        bit_depth              26-27 twice, in two splits: duplicate_id, leak
10    NaN                image_nan             28-31 JSON               json_encoding, json, _value, _depth
11    three frames       image_frames          32-36 answers            see ELSEWHERE
12-13 transparency       ok alpha              37-38 DICOM              dicom_*, truncated
14    1 bit, L, LA       ok, ok alpha          39    NIfTI              nan, size, orientation
15    EXIF orientation   ok turned             40    npz with code, zip bomb, pickles
16-17 too many pixels    image_pixels          18-19 one pixel, a strip: image_tiny, image_aspect
"""

import importlib
import io
import json
import os
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from PIL import ImageFile

from residency.data.check import check
from residency.data.index import Index
from residency.dataset import open_dataset

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (48, 64, 3), np.uint8)
DEEP = RNG.integers(0, 4096, (48, 64)).astype(np.uint16)


def saved(image, kind, **options):
    stream = io.BytesIO()
    image = image if isinstance(image, PIL.Image.Image) else PIL.Image.fromarray(image)
    image.save(stream, kind, **options)
    return stream.getvalue()


def header_only(width, height):
    """A PNG of a few bytes that promises a size."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def pictures():
    whole = saved(PIXELS, "JPEG")
    png = bytearray(saved(PIXELS, "PNG"))
    png[-20] ^= 255
    nan = np.full((48, 64), 0.5, np.float32)
    nan[3, 3] = np.nan
    colours = PIL.Image.fromarray(PIXELS)
    clear = np.dstack([PIXELS, np.zeros((48, 64), np.uint8)])
    exif = PIL.Image.Exif()
    exif[274] = 6
    palette = colours.quantize(16)
    return {
        "1 half.jpg": (whole[: len(whole) // 2], "image_truncated"),
        "2 end.jpg": (whole[:-8], "image_truncated"),
        "4 zero.jpg": (b"", "image_empty"),
        "5 html.jpg": (b"<!DOCTYPE html><html>404</html>", "image_format"),
        "6 crc.png": (bytes(png), "image_corrupt"),
        "7 cmyk.jpg": (saved(colours.convert("CMYK"), "JPEG"), "ok cmyk"),
        "8 deep.png": (saved(DEEP, "PNG"), "ok deep"),
        "9 int.tiff": (saved(DEEP.astype(np.int32) * 9, "TIFF"), "ok deep"),
        "10 nan.tiff": (saved(nan, "TIFF"), "image_nan"),
        "11 frames.gif": (
            saved(colours, "GIF", save_all=True, append_images=[colours.rotate(90)] * 2),
            "image_frames",
        ),
        "12 palette.png": (saved(palette, "PNG", transparency=0), "ok alpha"),
        "13 clear.png": (saved(clear, "PNG"), "ok alpha"),
        "14 bit.png": (saved(colours.convert("1"), "PNG"), "ok"),
        "14 grey.png": (saved(colours.convert("L"), "PNG"), "ok"),
        "14 la.png": (saved(colours.convert("LA"), "PNG"), "ok alpha"),
        "15 exif.jpg": (saved(colours, "JPEG", exif=exif), "ok turned"),
        "16 bomb.png": (header_only(10_000, 10_000), "image_pixels"),
        "17 bomb.png": (header_only(20_000, 20_000), "image_pixels"),
        "18 one.png": (saved(PIXELS[:1, :1], "PNG"), "image_tiny"),
        "19 strip.png": (saved(np.zeros((3, 3000, 3), np.uint8), "PNG"), "image_aspect"),
        "20 eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "image_format"),
        "21 svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_format"),
        "22 fifo.png": (None, "image_not_a_file"),
        "22 folder.png": (None, "image_not_a_file"),
        "23 link.png": (None, "image_escape"),
        "24 ../../etc/passwd": (None, "image_escape"),
        "24 /etc/passwd": (None, "image_escape"),
        "24 ../pictures_evil/a.png": (None, "image_escape"),
        "24 %2e%2e/a.png": (None, "image_missing"),
        "25 missing.png": (None, "image_missing"),
        "lfs.png": (b"version https://git-lfs.github.com/spec/v1\n", "image_format"),
    }


CASES = pictures()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("forty") / "pictures"
    root.mkdir()
    (root.parent / "pictures_evil").mkdir()
    (root.parent / "pictures_evil" / "a.png").write_bytes(saved(PIXELS, "PNG"))
    os.mkfifo(root / "22 fifo.png")
    (root / "22 folder.png").mkdir()
    (root / "23 link.png").symlink_to(root.parent / "pictures_evil" / "a.png")
    rows = []
    for name, (data, _) in CASES.items():
        if data is not None:
            (root / name).write_bytes(data)
        path = name.partition(" ")[2] if name.startswith("24") else name
        rows.append({"id": name, "image": path, "caption": "A thing.", "split": "train"})
    (root / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return open_dataset(str(root / "rows.jsonl"))


@pytest.fixture(scope="module")
def found(dataset):
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # 3: some libraries switch this on for the process
    try:
        samples = dataset.splits["train"]
        entries = dict(Index.open(dataset, "train").entries())
        return {samples[row].id.partition("/")[2]: entry for row, entry in entries.items()}
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


@pytest.mark.parametrize("name", CASES)
def test_a_picture_comes_out_under_its_code(found, name):
    code, entry = CASES[name][1], found[name]
    if code.startswith("ok"):
        assert entry.defects == ()
        assert " ".join(("ok", *entry.marks)) == code
        assert entry.sizes == ((48, 64) if "turned" in code else (64, 48),)
    else:
        assert [one for one, _ in entry.defects] == [code]
        assert "\n" not in entry.defects[0][1]


def test_check_counts_all_of_them_and_says_how_odd_ones_are_read(dataset):
    findings = check(dataset)
    bad = [code for _, code in CASES.values() if not code.startswith("ok")]
    counted = {one.code: one.count for one in findings.problems if one.code != "duplicate"}
    assert counted == {code: bad.count(code) for code in bad} | {"bit_depth": 2}
    said = " ".join(findings.notes)
    assert "1 images are CMYK" in said
    assert "3 images have transparency" in said
    assert "1 images are turned" in said


ELSEWHERE = {
    3: "test_images.test_jpeg_without_its_last_bytes_is_truncated_even_where_a_library_allows_it",
    8: "test_images.test_sixteen_bit_grey_is_scaled_and_not_clipped",
    9: "test_images.test_deep_tiff_is_scaled_by_its_declared_range",
    24: "test_images.test_paths_stay_inside_their_folder",  # a sibling `root_evil/`, a NUL
    26: "test_datasets.test_check_finds_every_kind_of_problem",  # duplicate_id, repeated
    27: "test_datasets.test_check_finds_every_kind_of_problem",  # leak
    28: "test_formats_boxes.test_files_that_are_no_text",
    29: "test_formats_boxes.test_a_bad_line_of_json_has_a_code_and_a_place",
    30: "test_formats_boxes.test_a_bad_line_of_json_has_a_code_and_a_place",
    31: "test_formats_boxes.test_a_bad_line_of_json_has_a_code_and_a_place",
    32: "test_mixture.test_missing_negatives_are_listed_and_named "
    "test_mixture.test_impossible_mixtures_are_named",
    33: "test_datasets.test_check_finds_every_kind_of_problem "  # label_outside
    "test_bad_inputs.test_table_faults "  # options that repeat an entry
    "test_trees.test_labels_that_begin_alike_share_what_they_begin_with",
    34: "test_formats_boxes.test_a_bad_annotation_of_coco_costs_its_image_alone "
    "test_formats_boxes.test_voc_faults "  # NaN
    "test_datasets.test_check_finds_every_kind_of_problem",  # box_outside, fractions
    35: "test_formats.test_a_row_that_cannot_be_used_says_why "  # placeholder
    "test_rows.test_control_text_in_data_stays_text",
    36: "test_formats.test_a_row_that_cannot_be_used_says_why "  # empty_answer
    "test_rows.test_a_row_that_is_too_long_fails_by_default "
    "test_trainer.test_dropped_samples_are_counted_and_whole_batches_may_vanish",
    37: "test_medical_dicom.test_faults_have_codes",
    38: "test_medical_dicom.test_rescale_then_window_then_inversion "
    "test_medical_dicom.test_an_unknown_or_missing_codec_is_named "
    "test_medical_dicom.test_only_listed_attributes_are_known_and_people_are_hashed",
    39: "test_medical_volumes.test_nifti_faults",
    40: "test_bad_inputs.test_npz_that_would_run_code_is_refused "
    "test_bad_inputs.test_npz_zip_bomb_is_refused_by_its_header "
    "test_bad_inputs.test_card_faults "  # YAML that names a Python object
    "test_store.test_only_safetensors_are_read test_store.test_pointers_and_truncated_weights",
}
BESIDE = {
    "BOM, CRLF, trailing spaces": "test_formats.test_captions_in_a_table",
    "mixed types, integer answers": "test_formats.test_integers_and_spaces_in_keys_are_forgiven",
    "ragged CSV": "test_readers_tables.test_rows_of_another_width_are_counted",
    "headerless, semicolon CSV": "test_readers_tables.test_a_table_is_read_however_it_was_saved "
    "test_bad_inputs.test_a_table_may_be_saved_with_semicolons",
    "big-endian NIfTI": "test_medical_volumes.test_scaling_and_byte_order",
    "masks of another shape": "test_medical_volumes.test_masks_that_do_not_belong",
    "blank split keys": "test_readers.test_iu_xray_blank_split_key_is_read_from_the_entries",
    "misspelt splits": "test_formats_splits.test_a_row_whose_split_is_not_known_is_bad",
    "conversatons": "test_readers_text.test_llava_med_counts_what_is_misspelt_broken_or_absent",
    "LFS pointers": "test_bad_inputs.test_lfs_pointer_named_npz",
    "changed between check and train": "test_formats_bad"
    ".test_an_index_reads_a_row_once_until_its_file_changes",
}


def test_every_number_has_a_test():
    here = {int(name.split()[0]) for name in CASES if name[0].isdigit()}
    assert here | set(ELSEWHERE) == set(range(1, 41))


@pytest.mark.parametrize("what", [*ELSEWHERE, *BESIDE], ids=str)
def test_the_tests_that_are_named_exist(what):
    for place in {**ELSEWHERE, **BESIDE}[what].split():
        module, _, name = place.partition(".")
        assert callable(getattr(importlib.import_module(module), name))

"""DICOM: the order of the steps against reference arrays, faults by code, and nothing that identifies."""

import os
from pathlib import Path

import numpy as np
import pytest

from residency.data.dicom import is_dicom, read_header
from residency.data.dicom_pixels import eight_bit, measured
from residency.data.identity import salt_file, stand_in
from residency.data.images import ImageError, dicom_image, open_image
from residency.data.windows import PRESETS, Window, preset, shown
from residency.errors import UsageError

pydicom = pytest.importorskip("pydicom")
SHARED = Path(os.environ.get("RESIDENCY_SHARED_DATA", "../shared/data")) / "dicom"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="RESIDENCY_SHARED_DATA has no DICOM files")
NAME, BIRTH, PATIENT = "Tester^Nobody", "19010203", "ID-0042"
CT = "1.2.840.10008.5.1.4.1.1.2"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture(autouse=True)
def salt(monkeypatch):
    monkeypatch.setenv("RESIDENCY_SALT", "a test")


def write(path: Path, pixels: np.ndarray, *, kind=CAPTURE, **attributes) -> Path:
    """An uncompressed file of `pixels` ([f] h w [3]), with a person's name and date in it."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = kind
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = kind, pydicom.uid.generate_uid()
    data.PatientName, data.PatientBirthDate, data.PatientID = NAME, BIRTH, PATIENT
    data.InstitutionName = "Nowhere Hospital"
    colour = pixels.shape[-1] == 3
    shape = pixels.shape[:-1] if colour else pixels.shape
    data.Rows, data.Columns = shape[-2:]
    if len(shape) == 3:
        data.NumberOfFrames = shape[0]
    data.SamplesPerPixel = 3 if colour else 1
    if colour:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    data.PixelData = pixels.tobytes()
    for name, value in attributes.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def table(first: int, values: list[int], bits: int):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values), first, bits])
    item.add_new("LUTData", "US", values)
    return pydicom.Sequence([item])


def code_of(path: Path, **options) -> str:
    with pytest.raises(ImageError) as caught:
        dicom_image(path, **options) if options else open_image(path)
    message = str(caught.value)
    assert not any(secret in message for secret in (NAME, BIRTH, PATIENT, "Nowhere"))
    return caught.value.code


RAMP = np.arange(-1000, 1048, dtype=np.int16).reshape(32, 64)


def test_windows_are_those_of_the_standard(tmp_path):
    from pydicom.pixels import apply_voi_lut

    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        data = pydicom.Dataset()
        data.WindowCenter, data.WindowWidth, data.VOILUTFunction = 40, 400, function
        data.PhotometricInterpretation, data.BitsStored = "MONOCHROME2", 8
        data.PixelRepresentation = 0
        values = np.linspace(-300, 400, 500)
        expected = apply_voi_lut(values, data)
        ours = shown(values, Window(40.0, 400.0, function)).astype(float)
        assert np.abs(ours - expected).max() <= 0.5 + 1e-6, function
    with pytest.raises(UsageError, match="shows nothing"):
        shown(values, Window(0.0, 0.0))
    assert set(shown(np.array([0.0, 9.0]), Window(5.0, 1.0))) == {0, 255}
    assert preset("lung") == PRESETS["lung"] == Window(-600.0, 1500.0)
    with pytest.raises(UsageError, match="Did you mean 'lung'"):
        preset("lungs")


def test_rescale_then_window_then_inversion(tmp_path):
    stored = (RAMP + 1000).astype(np.uint16)
    known = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    known |= {"WindowCenter": [40, 99], "WindowWidth": [400, 9]}
    plain = eight_bit(write(tmp_path / "a.dcm", stored, kind=CT, **known))
    expected = shown(stored * 2.0 - 1000, Window(40.0, 400.0))
    assert np.array_equal(plain, expected)
    assert np.array_equal(measured(tmp_path / "a.dcm"), (stored * 2.0 - 1000).astype(np.float32))
    path = write(tmp_path / "b.dcm", stored, PhotometricInterpretation="MONOCHROME1", **known)
    assert np.array_equal(eight_bit(path), 255 - expected)
    path = write(tmp_path / "c.dcm", stored, PresentationLUTShape="INVERSE", **known)
    assert np.array_equal(eight_bit(path), 255 - expected)
    lung = eight_bit(tmp_path / "a.dcm", window=preset("lung"))
    assert np.array_equal(lung, shown(stored * 2.0 - 1000, PRESETS["lung"]))


def test_a_declared_window_is_not_stretched_again(tmp_path):
    narrow = np.full((8, 8), 100, np.uint16)
    narrow[0] = 110
    path = write(tmp_path / "a.dcm", narrow, WindowCenter=128, WindowWidth=256)
    assert set(np.unique(eight_bit(path))) == {100, 110}


def test_without_a_window_ct_uses_soft_tissue_and_others_their_own_range(tmp_path):
    ct = write(tmp_path / "ct.dcm", RAMP, kind=CT, RescaleSlope=1, RescaleIntercept=0)
    assert np.array_equal(eight_bit(ct), shown(RAMP, PRESETS["abdomen"]))
    other = eight_bit(write(tmp_path / "mr.dcm", RAMP, PixelPaddingValue=-1000))
    assert (other[0, 0], other[0, 1], other[-1, -1]) == (0, 0, 255)
    grey = np.full((8, 8), 90, np.uint8)
    assert np.array_equal(eight_bit(write(tmp_path / "sc.dcm", grey)), grey)


def test_lookup_tables_come_before_windows(tmp_path):
    stored = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = write(
        tmp_path / "a.dcm", stored, VOILUTSequence=table(10, [0, 1000, 4095], 12), WindowCenter=9,
        WindowWidth=2,
    )  # fmt: skip
    image = eight_bit(path)
    assert (image[0, 0], image[1, 2], image[1, 3], image[7, 7]) == (
        0,
        0,
        round(1000 / 4095 * 255),
        255,
    )
    modality = table(0, list(range(100, 164)), 16)
    path = write(tmp_path / "b.dcm", stored, ModalityLUTSequence=modality)
    assert np.array_equal(measured(path), stored + 100)


def test_frames_are_chosen_by_number(tmp_path):
    frames = np.stack([np.full((8, 8), 10 * k, np.uint8) for k in range(3)])
    path = write(tmp_path / "a.dcm", frames)
    assert code_of(path) == "frames"
    assert np.asarray(dicom_image(path, frame=2)).max() == 20
    with pytest.raises(UsageError, match="frames 0 to 2, not 3"):
        dicom_image(path, frame=3)
    assert read_header(path).frames == 3


def test_colour_and_ybr(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = 200
    assert np.array_equal(eight_bit(write(tmp_path / "a.dcm", pixels)), pixels)
    ybr = np.tile(np.array([76, 85, 255], np.uint8), (8, 8, 1))  # pure red
    path = write(tmp_path / "b.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(eight_bit(path)[0, 0].astype(int) - [254, 0, 0]).max() <= 2


def test_faults_have_codes(tmp_path):
    path = write(tmp_path / "a.dcm", RAMP)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert code_of(path) == "truncated"
    path.write_bytes(whole[:140])
    assert code_of(path) in {"dicom_corrupt", "dicom_pixels"}
    path.write_bytes(whole[132:])
    assert not is_dicom(path) and code_of(path) == "dicom"
    path.write_bytes(whole)
    assert code_of(path, max_pixels=100) == "pixels"
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    assert code_of(path) == "dicom_pixels"
    path = write(tmp_path / "b.dcm", RAMP, Rows=0)
    assert code_of(path) == "dicom_pixels"


def test_an_unknown_or_missing_codec_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dcm", RAMP)
    data = pydicom.dcmread(path)
    data.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    data.save_as(path)
    monkeypatch.setattr(
        type(pydicom.pixels.get_decoder(pydicom.uid.JPEG2000Lossless)), "is_available", False
    )
    with pytest.raises(ImageError, match=r"JPEG 2000.*residency\[medical\]") as caught:
        open_image(path)
    assert caught.value.code == "dicom_codec"


def test_only_listed_attributes_are_known_and_people_are_hashed(tmp_path, recwarn, caplog):
    path = write(
        tmp_path / "a.dcm", RAMP, Modality="US", PixelSpacing=[0.5, 0.25], BodyPartExamined=NAME,
        StudyInstanceUID="1.2.3",
    )  # fmt: skip
    recwarn.clear()
    caplog.clear()
    header = read_header(path)
    assert (header.size, header.spacing_mm, header.modality) == ((64, 32), (0.5, 0.25), "US")
    assert header.ids["patient"] == stand_in(f" {PATIENT} ") != stand_in("ID-0043")
    text = repr(header) + caplog.text + "".join(str(one.message) for one in recwarn)
    for secret in (NAME, BIRTH, PATIENT, "Nowhere", "1.2.3", "TESTER"):
        assert secret not in text
    assert header.ids["series"] == ""
    assert "burned-in" in header.warnings[0]
    path = write(tmp_path / "b.dcm", RAMP, Modality="MR", BodyPartExamined="HEAD")
    assert "face" in read_header(path).warnings[0]
    path = write(tmp_path / "c.dcm", RAMP, Modality="CR", BurnedInAnnotation="YES")
    assert "declares burned-in" in read_header(path).warnings[0]
    path = write(tmp_path / "d.dcm", RAMP, Modality="US", BurnedInAnnotation="NO")
    assert read_header(path).warnings == ()


def test_the_salt_is_made_once_and_kept_by_its_owner(tmp_path, monkeypatch):
    from residency.data import identity

    monkeypatch.delenv("RESIDENCY_SALT")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    identity._kept_salt.cache_clear()
    first = stand_in("7")
    assert salt_file().stat().st_mode & 0o077 == 0
    identity._kept_salt.cache_clear()
    assert stand_in("7") == first
    salt_file().write_bytes(b"another")
    identity._kept_salt.cache_clear()
    assert stand_in("7") != first
    identity._kept_salt.cache_clear()


def test_mutated_files_give_an_image_or_one_line(tmp_path):
    rng = np.random.default_rng(0)
    whole = write(
        tmp_path / "a.dcm", RAMP[:, :32].copy(), WindowCenter=40, WindowWidth=400,
        VOILUTSequence=table(10, [0, 1000, 4095], 12),
    ).read_bytes()  # fmt: skip
    path = tmp_path / "b.dcm"
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(132, 1000, 4):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            assert open_image(path).mode == "RGB"
        except ImageError as error:
            assert "\n" not in str(error) and NAME not in str(error)


@shared
@pytest.mark.shared_data
def test_bone_is_bright_and_air_dark_in_a_monochrome1_radiograph():
    grey = np.asarray(open_image(SHARED / "single" / "RG1_J2KI.dcm"))[..., 0].astype(float)
    spine, air, lung = grey[900:1400, 900:960], grey[60:160, 10:90], grey[550:620, 1300:1500]
    assert spine.mean() > lung.mean() + 50 > air.mean() + 100
    assert air.mean() < 70


@shared
@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MR_truncated", "truncated"),
        ("badVR", "dicom_corrupt"),
        ("JPEG-lossy", "dicom_codec"),
        ("no_meta", "dicom"),
        ("rtplan", "dicom_pixels"),
        ("SC_rgb_rle_2frame", "frames"),
    ],
)
def test_real_files_that_cannot_be_used(name, code):
    if name == "JPEG-lossy":
        decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGExtended12Bit)
        if "pylibjpeg" in decoder.available_plugins:
            pytest.skip("a codec for 12-bit JPEG is installed")
    assert code_of(SHARED / "single" / f"{name}.dcm") == code


@shared
@pytest.mark.shared_data
@pytest.mark.parametrize(
    "name",
    ["693_UNCI", "CT_small", "ExplVR_BigEnd", "JPEG2000", "MR_small", "SC_rgb_jpeg", "US1_UNCI",
     "SC_ybr_full_422_uncompressed", "bad_sequence", "examples_palette", "mlut_18", "vlut_04"],
)  # fmt: skip
def test_real_files_of_every_kind(name):
    image = np.asarray(open_image(SHARED / "single" / f"{name}.dcm"))
    assert image.shape[2] == 3 and image.max() - image.min() > 100

"""Formats and encodings of stills: what is read, and read alike."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from tifffile import TiffFile, imwrite

import datasets
from datasets import DataError, Folder
from datasets.arrays import read_array
from datasets.still import mask_values, read_image, read_mask
from datasets.tiff import numbers_of
from segloss_tests.stills import make_folder, save
from segloss_tests.tiffs import write_tiff

LABELS = {"background": 0, "vessel": 255}
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 16)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8)
TRUTH = RNG.integers(0, 2, (12, 16)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.gif", {}),
        ("a.bmp", {}),
        ("a.webp", {"lossless": True}),
        ("a.jp2", {"irreversible": False}),
        ("a.pgm", {}),
        ("a.tif", {"compression": "tiff_lzw"}),
    ],
)
def test_formats_keep_their_values(tmp_path, name, options):
    path = save(tmp_path / name, GREY, **options)
    assert np.array_equal(read_image(path, 1)[0, ..., 0], GREY)
    assert np.array_equal(read_image(path, 3)[0], np.repeat(GREY[..., None], 3, 2))
    assert np.array_equal(read_mask(path, coloured=False)[0], GREY)


def test_grey_of_16_bits_in_other_formats(tmp_path):
    deep = RNG.integers(0, 65536, (12, 16)).astype(np.uint16)
    save(tmp_path / "a.jp2", deep)
    (tmp_path / "a.pgm").write_bytes(b"P5 16 12 65535\n" + deep.astype(">u2").tobytes())
    for name in ("a.jp2", "a.pgm"):
        found = read_image(tmp_path / name, 1)
        assert found.dtype == np.uint16
        assert np.array_equal(found[0, ..., 0], deep)


def test_drive_as_it_is_published(tmp_path):
    save(tmp_path / "training/images/21_training.tif", COLOUR)
    save(tmp_path / "training/1st_manual/21_manual1.gif", TRUTH * 255)
    images, masks = "training/images/{name}_training.tif", "training/1st_manual/{name}_manual1.*"
    adapter = Folder(str(tmp_path), LABELS, images, masks)
    (case,) = adapter.cases()
    assert case.id == "21"
    assert np.array_equal(adapter.read(case).mask[0], TRUTH)


def test_a_file_that_is_there_is_not_missing(tmp_path):
    make_folder(tmp_path, count=2)
    (tmp_path / "masks/case1.png").rename(tmp_path / "masks/case1.svg")
    with pytest.raises(DataError, match=r"no mask .*; found case1\.svg: this ending is not read, so convert it"):
        Folder(str(tmp_path), LABELS).cases()
    (tmp_path / "masks/case1.svg").rename(tmp_path / "masks/case1.mat")
    with pytest.raises(DataError, match=r"found case1\.mat: name this ending in data\.masks, .* data\.mask_key"):
        Folder(str(tmp_path), LABELS).cases()
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".xcf"))
    with pytest.raises(DataError, match=r"no image fits .*; found case0\.xcf, case1\.xcf: this ending is not read"):
        Folder(str(tmp_path), LABELS).cases()


def test_a_further_format_does_not_push_out_what_was_read_before(tmp_path):
    make_folder(tmp_path, count=1)
    save(tmp_path / "images/case0.gif", GREY)
    np.save(tmp_path / "masks/case0.npy", TRUTH)
    (case,) = Folder(str(tmp_path), {"a": 0, "b": 1, "c": 2}).cases()
    assert (case.image.name, case.mask.name) == ("case0.png", "case0.png")
    (case,) = Folder(str(tmp_path), LABELS, "images/{name}.gif", "masks/{name}.npy").cases()
    assert (case.image.name, case.mask.name) == ("case0.gif", "case0.npy")


def test_a_gif_means_grey_levels_before_indices(tmp_path):
    values = np.array([0, 2, 5], np.uint8)[RNG.integers(0, 3, (12, 16))]
    save(tmp_path / "image.png", GREY)
    case = datasets.Case("x", "x", tmp_path / "image.png", save(tmp_path / "a.gif", values))
    assert {*np.unique(np.asarray(Image.open(case.mask)))} == {0, 1, 2}  # as its writer has numbered them
    found = Folder(str(tmp_path), {"background": 0, "a": 1, "b": 2, "c": 5}).read(case)
    assert np.array_equal(found.mask[0], np.select([values == 2, values == 5], [2, 3], 0))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.jp2"])
def test_compression_that_changes_labels_is_refused(tmp_path, name):
    path = save(tmp_path / name, GREY, **({"irreversible": True, "quality_layers": [20]} if name == "a.jp2" else {}))
    assert read_image(path, 3).shape == (1, 12, 16, 3)
    with pytest.raises(DataError, match="whose compression changes labels; write masks as PNG"):
        read_mask(path, coloured=False)


def test_a_tiff_that_is_a_jpeg_within_is_no_mask(tmp_path):
    path = save(tmp_path / "a.tif", GREY, compression="jpeg")
    assert np.abs(read_image(path, 1)[0, ..., 0].astype(int) - GREY).max() > 0
    with pytest.raises(DataError, match=r"a\.tif: a TIFF of jpeg, whose compression changes labels; write masks as"):
        read_mask(path, coloured=False)


def test_labels_that_a_reader_would_stretch_are_refused(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 3\n\x00\x03")
    with pytest.raises(DataError, match="a PPM of values up to 3, which are stretched; write masks as PNG"):
        read_mask(tmp_path / "a.pgm", coloured=False)


def test_several_pictures_of_a_gif(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.gif: holds 2 pictures"):
        read_image(tmp_path / "a.gif", 1)


def test_a_large_image_is_read_and_a_larger_one_refused_as_such(tmp_path, monkeypatch):
    Image.new("1", (14000, 14000)).save(tmp_path / "large.png")
    assert read_image(tmp_path / "large.png", 1).shape == (1, 14000, 14000, 1)
    monkeypatch.setattr("datasets.still_file.LARGEST", 10**8)
    with pytest.raises(DataError, match=r"14000x14000 pixels; stills of at most 100000000 are read, so divide"):
        read_image(tmp_path / "large.png", 1)


# Arrays


def test_arrays_of_numpy(tmp_path):
    for number in range(2):
        np.savez_compressed(tmp_path / f"slice{number}.npz", image=GREY / 255, label=TRUTH.astype(float))
    options = {"channels": 1, "image_key": "image", "mask_key": "label"}
    adapter = Folder(str(tmp_path), {"background": 0, "organ": 1}, "{name}.npz", "{name}.npz", **options)
    case, _ = adapter.cases()
    found = adapter.read(case)
    assert np.array_equal(found.image.array[0, ..., 0], (GREY / 255).astype(np.float32))
    assert np.array_equal(found.mask[0], TRUTH)
    unnamed = Folder(str(tmp_path), {"background": 0, "organ": 1}, "{name}.npz", "{name}.npz", mask_key="label")
    with pytest.raises(DataError, match=r"holds 2 arrays, image, label; name one by data\.image_key"):
        unnamed.read(case)


def test_nothing_pickled_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match="holds pickled objects, which are not read"):
            read_image(tmp_path / name, 1)


def test_a_header_of_an_array_that_promises_too_much_allocates_nothing(tmp_path):
    np.save(tmp_path / "a.npy", TRUTH)
    content = (tmp_path / "a.npy").read_bytes().replace(b"(12, 16)", b"(120000, 16)").replace(b"     \n", b" \n")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"1920000 bytes by its header, but it holds at most \d+"):
        read_image(tmp_path / "a.npy", 1)


@pytest.mark.parametrize("compressed", [False, True])
def test_structures_of_matlab_as_in_crackforest(tmp_path, compressed):
    save(tmp_path / "image/001.jpg", COLOUR)
    truth = {"Segmentation": TRUTH.astype(np.uint16) + 1, "Boundaries": TRUTH > 0}
    (tmp_path / "groundTruth").mkdir()
    savemat(tmp_path / "groundTruth/001.mat", {"groundTruth": truth}, do_compression=compressed)

    def adapter(key):
        labels = {"background": 1, "crack": 2}
        return Folder(str(tmp_path), labels, "image/{name}.jpg", "groundTruth/{name}.mat", mask_key=key)

    (case,) = adapter("groundTruth.Segmentation").cases()
    assert np.array_equal(adapter("groundTruth.Segmentation").read(case).mask[0], TRUTH)
    with pytest.raises(DataError, match=r"groundTruth is a structure of Segmentation, Boundaries; name one, as"):
        adapter(None).read(case)
    with pytest.raises(DataError, match=r"has no field 'Crack', but Segmentation, Boundaries"):
        adapter("groundTruth.Crack").read(case)


@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_of_matlab_are_those_that_scipy_reads(tmp_path, compressed):
    kinds = [*"bBhHiIqQfd"]
    truth = {f"of_{kind}": RNG.integers(0, 100, (3, 5)).astype(kind) for kind in kinds} | {"flags": TRUTH > 0}
    truth["cell"] = np.empty((1, 1), object)
    truth["cell"][0, 0] = {"deep": {"x": np.arange(24.0).reshape(2, 3, 4)}}
    savemat(tmp_path / "a.mat", truth, do_compression=compressed)
    scipy = loadmat(tmp_path / "a.mat")
    for name in [f"of_{kind}" for kind in kinds] + ["flags"]:
        found = read_array(tmp_path / "a.mat", name)
        assert np.array_equal(found, scipy[name])
        assert found.dtype == truth[name].dtype
    assert np.array_equal(read_array(tmp_path / "a.mat", "cell.deep.x"), np.arange(24.0).reshape(2, 3, 4))
    savemat(tmp_path / "old.mat", {"x": TRUTH * 1.0}, format="4")
    assert np.array_equal(read_array(tmp_path / "old.mat"), TRUTH)


def test_matlab_7_3_is_named(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    with pytest.raises(DataError, match=r"MATLAB v7\.3, which is not read; save it again with .*'-v7'"):
        read_image(tmp_path / "a.mat", 1)


# Bands


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [2, 4, 5, 12])
def test_bands_of_a_tiff(tmp_path, dtype, bands):
    pixels = RNG.integers(0, 200, (6, 8, bands)).astype(dtype)
    write_tiff(tmp_path / "a.tif", [pixels])
    found = read_image(tmp_path / "a.tif", bands)
    assert found.dtype == dtype
    assert np.array_equal(found[0], pixels)
    with pytest.raises(DataError, match=f"has {bands} channels, but data.channels is 7"):
        read_image(tmp_path / "a.tif", 7)


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_deflate"])
def test_two_bands_however_they_are_packed(tmp_path, compression, predictor):
    """As Pillow writes grey with alpha, by libtiff."""
    pixels = RNG.integers(0, 250, (20, 31, 2)).astype(np.uint8)
    tags = {317: predictor} if "_" in compression else {}
    Image.fromarray(pixels, "LA").save(tmp_path / "a.tif", compression=compression, tiffinfo=tags)
    assert np.array_equal(read_image(tmp_path / "a.tif", 2)[0], pixels)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.bmp"])
def test_a_palette_of_one_colour_says_nothing(tmp_path, name):
    """Pillow writes one of black with indices that were given none."""
    image = Image.fromarray(TRUTH)
    image.putpalette([0] * 768)
    image.save(tmp_path / name)
    assert np.array_equal(mask_values(tmp_path / name, None)[0], TRUTH)


def test_bands_of_ink_are_refused(tmp_path):
    """ITK would make RGBA of them."""
    Image.fromarray(RNG.integers(0, 250, (20, 31, 4)).astype(np.uint8), "CMYK").save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="photometric interpretation 5, such as CMYK; expected bands of grey"):
        read_image(tmp_path / "a.tif", 4)


def test_strips_that_a_tiff_does_not_list_are_not_black(tmp_path):
    """Pillow reads the strips there are; a header of 120 rows lists those of 12."""
    Image.fromarray(RNG.integers(1, 250, (12, 16)).astype(np.uint8)).save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    rows, more = (struct.pack("<HHIHH", 257, kind, 1, number, 0) for kind, number in ((4, 12), (4, 120)))
    if rows not in content:
        rows, more = (struct.pack("<HHIHH", 257, 3, 1, number, 0) for number in (12, 120))
    assert content.count(rows) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(rows, more))
    with pytest.raises(DataError, match="1 of the 10 strips that 16x120 pixels take"):
        read_image(tmp_path / "a.tif", 1)


def test_a_tile_that_ends_beyond_the_file_is_not_filled_with_the_next_one(tmp_path):
    path = write_tiff(tmp_path / "a.tif", [RNG.random((16, 32)).astype(np.float32)], tile=(16, 16))
    with TiffFile(path) as file:
        first, second = file.pages[0].dataoffsets
    content = path.read_bytes()
    listed = struct.pack("<II", first, second)
    assert content.count(listed) == 1
    path.write_bytes(content.replace(listed, struct.pack("<II", len(content) - 8, second)))
    with pytest.raises(DataError, match="pixels end beyond the file: cut short"):
        read_image(path, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_strips_of_no_rows_are_one(tmp_path, dtype):
    pixels = RNG.integers(0, 250, (12, 16, 1)).astype(dtype)
    assert np.array_equal(read_image(write_tiff(tmp_path / "a.tif", [pixels], tags={278: 0}), 1)[0], pixels)


def test_a_tiff_that_lists_no_strip(tmp_path):
    """The JPEG in a TIFF of before 1995 has a tag of its own."""
    Image.new("RGB", (16, 16), (90, 90, 90)).save(tmp_path / "a.jpg")
    jpeg, path = (tmp_path / "a.jpg").read_bytes(), tmp_path / "a.tif"
    tags = {256: 16, 257: 16, 258: 8, 259: 6, 262: 6, 277: 3, 513: 8 + 2 + 12 * 8 + 4, 514: len(jpeg)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + jpeg)
    assert np.array_equal(read_image(path, 3)[0], np.full((16, 16, 3), 90))
    for dtype in (np.uint8, np.float32):
        write_tiff(path, [np.zeros((16, 16), dtype)], tags={273: None})
        with pytest.raises(DataError, match=r"a\.tif: .*damaged or cut short"):
            read_image(path, 1)


LAYOUTS = [
    {"order": ">"},
    {"big": True},
    {"big": True, "order": ">"},
    {"big": True, "apart": True},
    {"apart": True},
    {"tile": (16, 16)},
    {"tile": (16, 16), "apart": True},
    {"tile": (16, 32), "predictor": 2},
    {"predictor": 2, "order": ">"},
    {"predictor": 1, "tags": {262: 1}},
    {"tags": {279: None}},
    {"tags": {279: 0}},
    {"tags": {279: 60000}},
    {"tags": {278: None, 279: None}, "apart": True},
]


@pytest.mark.parametrize("layout", [*LAYOUTS, {"predictor": 3}, {"predictor": 3, "tile": (16, 16), "order": ">"}])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
def test_numbers_of_a_tiff_however_they_lie(tmp_path, layout, bands):
    for dtype in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"):
        if layout.get("predictor") == 3 and dtype[0] != "f":
            continue
        pixels = (RNG.integers(-(2**62), 2**62, (37, 29, bands)) >> (62 - 8 * int(dtype[1]) + 1)).astype(dtype)
        path = write_tiff(tmp_path / "a.tif", [pixels], **layout)
        assert np.array_equal(numbers_of(path), pixels), dtype
        found = read_image(path, bands)[0]
        assert np.array_equal(found, pixels.astype(found.dtype)), dtype
        assert found.dtype == {"u1": np.uint8, "u2": np.uint16}.get(dtype, np.float32)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("side", range(10))
def test_a_tiff_is_turned_by_its_own_orientation(tmp_path, bands, dtype, side):
    pixels = RNG.integers(0, 250, (9, 14, bands)).astype(dtype)
    found = read_image(write_tiff(tmp_path / "a.tif", [pixels], tags={274: side}), bands)[0]
    # by the standard: where the first row and the first column of what is stored are seen
    turns = {2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: x.swapaxes(0, 1)}
    turns |= {6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).swapaxes(0, 1), 8: np.rot90}
    assert np.array_equal(found, turns.get(side, np.array)(pixels))


def test_deep_colours_are_turned_by_exif_too(tmp_path):
    pixels = RNG.integers(0, 65536, (9, 14, 3)).astype(np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    exif = Image.Exif()
    exif[274] = 6
    content, kept = path.read_bytes(), b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    kept = struct.pack(">I", len(kept) - 4) + kept + struct.pack(">I", zlib.crc32(kept))
    path.write_bytes(content[:33] + kept + content[33:])
    assert np.array_equal(read_image(path, 3)[0], pixels)
    assert np.array_equal(read_image(path, 3, turned=True)[0], np.rot90(pixels, -1))


def test_an_exif_orientation_that_says_nothing_is_not_told(tmp_path):
    exif = Image.Exif()
    exif[274] = 0
    save(tmp_path / "images/a.jpg", COLOUR, exif=exif)
    save(tmp_path / "masks/a.png", TRUTH * 255)
    adapter = Folder(str(tmp_path), LABELS)
    assert adapter.read(adapter.cases()[0]).remarks == ()


def test_a_tiff_of_many_bands_is_read_with_its_mask_and_its_smaller_copies(tmp_path):
    large = RNG.integers(0, 60000, (12, 16, 5)).astype(np.uint16)
    save(tmp_path / "masks/a.png", TRUTH * 255)
    for pages, said in (([large], 0), ([large, large[::2, ::2]], 1)):
        write_tiff(tmp_path / "images/a.tif", pages)
        adapter = Folder(str(tmp_path), LABELS, channels=5)
        found = adapter.read(adapter.cases()[0])
        assert np.array_equal(found.image.array[0], large)
        assert [remark.what for remark in found.remarks] == ["pyramid TIFF(s) read from their first page"][:said]
    write_tiff(tmp_path / "images/a.tif", [large, large])
    with pytest.raises(DataError, match="holds 2 pictures; expected one a file"):
        adapter.read(adapter.cases()[0])


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint32, np.float16, np.float64])
def test_a_mask_of_numbers_that_pillow_does_not_read(tmp_path, dtype):
    values = np.array([[0, -1 if np.dtype(dtype).kind != "u" else 2**32 - 1], [7, 0]]).astype(dtype)
    write_tiff(tmp_path / "masks/a.tif", [values])
    save(tmp_path / "images/a.png", GREY[:2, :2])
    adapter = Folder(str(tmp_path), {"background": 0, "a": 7, "b": [-1, 2**32 - 1]})
    assert adapter.read(adapter.cases()[0]).mask[0].tolist() == [[0, 2], [1, 0]]
    if np.dtype(dtype).kind == "f":
        with pytest.raises(DataError, match=r"0\.5 in 1 of 4 pixels is no label"):
            read_mask(write_tiff(tmp_path / "a.tif", [np.where(values == 7, 0.5, 0).astype(dtype)]), coloured=False)


@pytest.mark.parametrize("tags", [{262: 5}, {259: 7}, {339: 6}, {262: 0, 339: 2}, {262: None}, {258: 96}])
def test_bands_that_are_not_read_are_said(tmp_path, tags):
    pixels = RNG.integers(0, 200, (6, 8, 4)).astype(np.uint8)
    with pytest.raises(DataError, match=r"a\.tif: .*convert it"):
        read_image(write_tiff(tmp_path / "a.tif", [pixels], tags=tags), 4)


@pytest.mark.parametrize("tags", [{317: 4, 259: 8}, {317: 3, 259: 8}, {259: 8}, {259: 5}, {259: 50000}])
def test_bands_that_are_not_as_their_tags_say_are_damaged(tmp_path, tags):
    pixels = RNG.integers(0, 200, (6, 8, 4)).astype(np.uint8)
    with pytest.raises(DataError, match=r"a\.tif: .*(damaged|cut short).*replace the file"):
        read_image(write_tiff(tmp_path / "a.tif", [pixels], tags=tags), 4)


def test_numbers_of_12_bits(tmp_path):
    """Two in three bytes, the highest bits first; as a scan and as a mask."""
    pixels = RNG.integers(0, 4096, (6, 8)).astype(np.uint16)
    first, second = pixels[:, ::2], pixels[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).reshape(6, 12)
    path = write_tiff(tmp_path / "a.tif", [packed.astype(np.uint8)], tags={256: 8, 258: 12})
    assert np.array_equal(read_image(path, 1)[0, ..., 0], pixels)
    assert np.array_equal(read_mask(path, coloured=False)[0], pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("bands", [1, 2])
def test_grey_whose_0_is_white(tmp_path, dtype, bands):
    pixels = RNG.integers(0, np.iinfo(dtype).max, (6, 8, bands), dtype=dtype)
    path = write_tiff(tmp_path / "a.tif", [pixels], tags={262: 0})
    assert np.array_equal(numbers_of(path), ~pixels)


@pytest.mark.parametrize("code", [34925, 50000])
def test_other_lossless_packings(tmp_path, code):
    """As tifffile writes them by liblzma and libzstd; Pillow's libtiff reads the grey of 8 bits."""
    pixels = np.zeros((600, 500, 5), np.uint16)
    pixels[200:300, 100:400] = RNG.integers(0, 60000, (100, 300, 5))
    imwrite(tmp_path / "a.tif", pixels, compression=code, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(read_image(tmp_path / "a.tif", 5)[0], pixels)
    grey = (pixels[..., 0] >> 8).astype(np.uint8)
    imwrite(tmp_path / "b.tif", grey, compression=code, photometric="minisblack")
    assert np.array_equal(read_image(tmp_path / "b.tif", 1)[0, ..., 0], np.asarray(Image.open(tmp_path / "b.tif")))
    imwrite(tmp_path / "c.tif", grey * 0, compression=code, photometric="minisblack")  # a byte holds thousands
    assert not read_mask(tmp_path / "c.tif", coloured=False).any()


def test_a_mask_of_one_value_whose_further_band_is_not(tmp_path):
    """Labels that were drawn as alpha, of 8 bits or more."""
    for dtype in (np.uint8, np.uint16):
        pixels = np.dstack([np.full((4, 4, 3), 9), np.arange(16).reshape(4, 4)]).astype(dtype)
        write_tiff(tmp_path / "a.tif", [pixels], tags={338: 2})
        with pytest.raises(DataError, match=r"a\.tif: one colour, but alpha from 0 to 15: are its labels in the alpha"):
            read_mask(tmp_path / "a.tif", coloured=False)


def test_a_second_band_that_is_not_read_is_said(tmp_path):
    write_tiff(tmp_path / "images/a.tif", [RNG.integers(0, 9, (6, 8, 2)).astype(np.uint8)])
    save(tmp_path / "masks/a.png", np.zeros((6, 8), np.uint8))
    for channels, expected in ((1, 1), (3, 1), (2, 0)):
        reader = datasets.Folder(str(tmp_path), {"background": 0, "x": 1}, channels=channels)
        remarks = reader.read(reader.cases()[0]).remarks
        assert len(remarks) == expected
        if expected:
            assert remarks[0].what == "image(s) with 2 bands that are no alpha, of which 1 are read"


def test_bands_of_an_array_and_of_a_png(tmp_path):
    np.save(tmp_path / "a.npy", RNG.random((9, 8, 6)))
    assert read_image(tmp_path / "a.npy", 6).shape == (1, 9, 8, 6)
    np.save(tmp_path / "b.npy", RNG.random((3, 9, 8)))
    with pytest.raises(DataError, match=r"shape \(3, 9, 8\); expected \(rows, columns\[, channels\]\)"):
        read_image(tmp_path / "b.npy", 3)
    rgba = np.concatenate([COLOUR, GREY[..., None]], -1)
    assert np.array_equal(read_image(save(tmp_path / "c.png", rgba), 4)[0], rgba)


# Masks that say the same


def encodings(folder, truth):
    """One mask of 0 and 255 in every encoding."""
    white = truth * np.uint8(255)
    save(folder / "grey.png", white)
    Image.fromarray(white).convert("1").save(folder / "bit.png")
    save(folder / "rgb.png", np.repeat(white[..., None], 3, 2))
    save(folder / "rgba.png", np.concatenate([np.repeat(white[..., None], 3, 2), np.full_like(white[..., None], 9)], 2))
    save(folder / "grey_alpha.png", np.stack([white, np.full_like(white, 255)], -1))
    save(folder / "float.tif", white.astype(np.float32))
    save(folder / "deep.png", white.astype(np.uint16))
    save(folder / "rgb.webp", np.repeat(white[..., None], 3, 2), lossless=True)
    save(folder / "own.gif", white)
    palette = Image.fromarray(truth, mode="P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(folder / "palette.png")
    return sorted(folder.iterdir())


def test_masks_of_mixed_encodings_are_one_kind(tmp_path):
    paths = encodings(tmp_path / "masks", TRUTH)
    assert len(paths) == 10
    for path in paths:
        save(tmp_path / f"images/{path.stem}{path.suffix[1:]}.png", GREY)
        path.rename(path.with_stem(path.stem + path.suffix[1:]))
    adapter = Folder(str(tmp_path), LABELS)
    assert len(adapter.cases()) == 10
    for case in adapter.cases():
        assert np.array_equal(adapter.read(case).mask[0], TRUTH), case.mask
    coloured = Folder(str(tmp_path), {"background": [[0, 0, 0]], "vessel": [[255, 255, 255]]})
    for case in coloured.cases():
        if case.id not in ("deeppng", "floattif"):  # no colours of 8 bits
            assert np.array_equal(coloured.read(case).mask[0], TRUTH), case.mask


def test_indices_and_bits_keep_their_own_values_where_these_are_classes(tmp_path):
    for path in encodings(tmp_path / "masks", TRUTH):
        if path.name in ("bit.png", "palette.png"):
            save(tmp_path / f"images/{path.name}", GREY)
        else:
            path.unlink()
    adapter = Folder(str(tmp_path), {"background": 0, "vessel": 1, "other": 255}, masks="masks/{name}.png")
    for case in adapter.cases():
        assert np.array_equal(adapter.read(case).mask[0], TRUTH)


def test_grey_of_2_bits_is_read_by_its_own_numbers_too(tmp_path):
    values = (np.arange(12 * 16).reshape(12, 16) % 4).astype(np.uint8)
    Image.fromarray(values * 85).save(tmp_path / "8bit.png")
    packed = (values.reshape(12, 4, 4) << np.array([6, 4, 2, 0], np.uint8)).sum(-1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 16, 12, 2, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "2bit.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    save(tmp_path / "image.png", GREY)
    case = datasets.Case("x", "x", tmp_path / "image.png", tmp_path / "2bit.png")
    own = Folder(str(tmp_path), {"a": 0, "b": 1, "c": 2, "d": 3})
    stretched = Folder(str(tmp_path), {"a": 0, "b": 85, "c": 170, "d": 255})
    assert np.array_equal(own.read(case).mask[0], values)
    assert np.array_equal(stretched.read(case).mask[0], values)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bit.png", r"label 1 \(\d+ pixels\) \(a 1-bit image: its foreground is 1\), but"),
        ("palette.png", r"label 1 \(\d+ pixels\) \(an image with a palette: its values are indices\), but"),
        ("other.png", r"label 5 \(\d+ pixels\), but"),
    ],
)
def test_values_are_reported_as_the_file_has_them(tmp_path, name, says):
    encodings(tmp_path, TRUTH)
    save(tmp_path / "other.png", TRUTH * 5)
    save(tmp_path / "image.png", GREY)
    adapter = Folder(str(tmp_path), {"background": 0, "vessel": 7, "other": 8}, ignore=[254])
    with pytest.raises(DataError, match=says):
        adapter.read(datasets.Case("x", "x", tmp_path / "image.png", tmp_path / name))


def test_masks_that_are_no_labels(tmp_path):
    save(tmp_path / "float.tif", TRUTH / np.float32(2))
    with pytest.raises(DataError, match=r"0\.5 in \d+ of 192 pixels is no label"):
        read_mask(tmp_path / "float.tif", coloured=False)
    save(tmp_path / "colour.png", COLOUR)
    with pytest.raises(DataError, match=r"an image of colours \(RGB\), such as \[\d+, \d+, \d+\] in \d+ pixels"):
        read_mask(tmp_path / "colour.png", coloured=False)
    hidden = np.zeros((12, 16, 4), np.uint8)
    hidden[..., 3] = TRUTH * 255
    save(tmp_path / "alpha.png", hidden)
    with pytest.raises(DataError, match="are its labels in the alpha channel, which is not read"):
        read_mask(tmp_path / "alpha.png", coloured=False)


def test_colours_become_grey_where_that_is_asked_for(tmp_path):
    path = save(tmp_path / "images/a.png", COLOUR)
    save(tmp_path / "masks/a.png", TRUTH * 255)
    adapter = Folder(str(tmp_path), LABELS, channels=1, to_grey=True)
    expected = np.asarray(Image.open(path).convert("L")).astype(int)
    assert np.abs(adapter.read_image(path).array[0, ..., 0].astype(int) - expected).max() <= 1
    with pytest.raises(DataError, match=r"has colours, but data.channels is 1; .* data.to_grey: true"):
        Folder(str(tmp_path), LABELS, channels=1).read_image(path)
    with pytest.raises(ValueError, match="to_grey: is for channels: 1"):
        Folder(str(tmp_path), LABELS, to_grey=True)

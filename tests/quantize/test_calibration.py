"""Calibration samples from every kind of file: what is read is what the file says, in order, in shape, in the pixels' sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graphs import Floats, load_labelled, load_samples, numbers
from PIL import Image

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.ops.activations import LeakyRelu
from edgeq.quantize import images
from edgeq.quantize.images import Pixels


def graph(*shapes: tuple[int, ...]) -> Graph:
    """One input of each shape, called x, x1, ..."""
    b = Floats()
    return b.graph(*(b.op(LeakyRelu(alpha=0.5), b.input(*s)) for s in shapes))


DATA = np.arange(7 * 6, dtype=np.float32).reshape(7, 1, 6)


def test_an_npy_file(tmp_path: Path) -> None:
    for array in (DATA, DATA[:, 0], DATA.astype(np.int32), DATA.astype(np.float64), DATA.reshape(7, 1, 1, 6)):
        np.save(tmp_path / "a.npy", array)
        found = load_samples(tmp_path / "a.npy", graph((1, 6)))
        assert list(found) == ["x"] and found["x"].dtype == array.dtype and np.array_equal(found["x"], DATA)
    np.save(tmp_path / "one.npy", DATA[3, 0])
    assert np.array_equal(load_samples(tmp_path / "one.npy", graph((1, 6)))["x"], DATA[3:4])


def test_an_npz_file_names_its_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=DATA, x1=DATA[:, 0, :2] + 100, y=np.arange(7), names=np.array(["a"] * 7, object))
    found = load_samples(tmp_path / "a.npz", graph((1, 6), (2,)))
    assert np.array_equal(found["x"], DATA) and np.array_equal(found["x1"], DATA[:, 0, :2] + 100)
    np.savez(tmp_path / "b.npz", pictures=DATA, labels=np.arange(7))
    assert np.array_equal(load_samples(tmp_path / "b.npz", graph((1, 6)))["x"], DATA)


def test_a_folder_of_arrays_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for i in (3, 1, 2):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        np.save(tmp_path / f"class{i % 2}" / f"{i}.npy", DATA[i, 0])
    np.savez(tmp_path / "z.npz", x=DATA[4:])
    (tmp_path / ".hidden.npy").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no samples")
    found = load_samples(tmp_path, graph((1, 6)))["x"]
    assert np.array_equal(found, DATA[[2, 1, 3, 4, 5, 6]])


def test_a_limit_takes_samples_from_all_over(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", DATA)
    assert np.array_equal(load_samples(tmp_path / "a.npy", graph((1, 6)), limit=3)["x"], DATA[[0, 2, 4]])
    assert np.array_equal(load_samples(tmp_path / "a.npy", graph((1, 6)), limit=99)["x"], DATA)
    for i in range(7):
        (tmp_path / "many").mkdir(exist_ok=True)
        np.save(tmp_path / "many" / f"{i}.npy", DATA[i])
    assert np.array_equal(load_samples(tmp_path / "many", graph((1, 6)), limit=2)["x"], DATA[[0, 3]])
    with pytest.raises(EdgeqError, match="limit of 0"):
        load_samples(tmp_path / "a.npy", graph((1, 6)), limit=0)


def pictures(folder: Path, *images: Array) -> Path:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


RGB = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3) * 11


@pytest.mark.parametrize(("black", "white"), [(0, 1), (0, 255), (-1, 1), (-2.5, 7)])
@pytest.mark.parametrize("shape", [(1, 2, 4, 3), (2, 4, 3), (1, 3, 2, 4), (3, 2, 4)])
def test_black_and_white_are_what_the_model_expects(black: float, white: float, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Bright stays bright, and channels come where the input has them."""
    found = load_samples(pictures(tmp_path / "p", RGB, 255 - RGB), graph(shape), pixels=Pixels(black, white))["x"]
    want = np.stack([RGB, 255 - RGB]).astype(np.float64) / 255 * (white - black) + black
    if shape[-3] == 3:
        want = want.transpose(0, 3, 1, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want.reshape(found.shape), rtol=1e-5, atol=1e-5 * (white - black))


def test_grey_pictures_and_other_sizes(tmp_path: Path) -> None:
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    for shape in ((2, 2), (1, 2, 2, 1), (1, 1, 2, 2)):
        found = load_samples(pictures(tmp_path / "g", grey), graph(shape), pixels=Pixels(0, 1))["x"]
        np.testing.assert_allclose(found.reshape(2, 2), grey / 255, rtol=1e-6)
    wide = load_samples(pictures(tmp_path / "w", np.full((6, 12, 3), 51, np.uint8)), graph((1, 2, 4, 3)), pixels=Pixels(0, 255))["x"]
    np.testing.assert_allclose(wide, np.full((1, 1, 2, 4, 3), 51), rtol=1e-6)
    (tmp_path / "odd").mkdir()
    Image.fromarray(np.repeat(np.arange(4, dtype=np.uint8)[None] * 80, 2, 0)).resize((4, 2)).save(tmp_path / "odd" / "a.bmp")
    across = load_samples(tmp_path / "odd", graph((2, 4)), pixels=Pixels(0, 255))["x"]
    np.testing.assert_allclose(across[0, 0], [0, 80, 160, 240])


def test_a_limit_is_one_at_least(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", DATA)
    assert len(load_samples(tmp_path / "a.npy", graph((1, 6)), limit=1)["x"]) == 1
    with pytest.raises(EdgeqError, match="a limit of 0 samples"):
        load_samples(tmp_path / "a.npy", graph((1, 6)), limit=0)


def test_as_many_pixels_are_read_as_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(tmp_path / "p", np.full((2, 4, 3), 51, np.uint8))
    monkeypatch.setattr(images, "MAX_PIXELS", 8)
    assert load_samples(folder, graph((1, 2, 4, 3)), pixels=Pixels(0, 255))["x"].shape == (1, 1, 2, 4, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 7)
    with pytest.raises(EdgeqError, match="4 x 2 pixels, at most 7"):
        load_samples(folder, graph((1, 2, 4, 3)), pixels=Pixels(0, 255))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    def refused(match: str, array: object, *shapes: tuple[int, ...], name: str = "a.npy") -> None:
        np.save(tmp_path / name, array)  # type: ignore[arg-type]
        with pytest.raises(EdgeqError, match=match):
            load_samples(tmp_path / name, graph(*(shapes or ((1, 6),))))

    refused("shape .* does not fit", DATA[:, :, :5])
    refused("hold NaN", np.where(DATA == 3, np.nan, DATA))
    refused("hold NaN or infinity", np.where(DATA == 3, np.inf, DATA))
    refused("int8 samples for the float input", DATA.astype(np.int8))
    refused("not numbers", np.array([["a"] * 6]))
    refused("is empty", DATA[:0])
    refused("another order", np.zeros((3, 2, 5, 4)), (1, 4, 5, 2))
    refused("one array for 2 inputs", DATA, (1, 6), (1, 6))
    with pytest.raises(EdgeqError, match="does not exist"):
        load_samples(tmp_path / "none.npy", graph((1, 6)))
    (tmp_path / "a.txt").write_text("1")
    with pytest.raises(EdgeqError, match="not a format for samples"):
        load_samples(tmp_path / "a.txt", graph((1, 6)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(EdgeqError, match="holds no samples"):
        load_samples(tmp_path / "empty", graph((1, 6)))
    folder = pictures(tmp_path / "p", RGB)
    with pytest.raises(EdgeqError, match="black and white"):
        load_samples(folder, graph((1, 2, 4, 3)))
    with pytest.raises(EdgeqError, match="give black, then white"):
        load_samples(folder, graph((1, 2, 4, 3)), pixels=Pixels(1, 0))
    with pytest.raises(EdgeqError, match="does not take images"):
        load_samples(folder, graph((1, 2, 3, 5)), pixels=Pixels(0, 1))
    np.save(folder / "b.npy", DATA)
    with pytest.raises(EdgeqError, match="both arrays and images"):
        load_samples(folder, graph((1, 2, 4, 3)), pixels=Pixels(0, 1))
    np.savez(tmp_path / "b.npz", x=DATA, x1=DATA[:3])
    with pytest.raises(EdgeqError, match="different numbers"):
        load_samples(tmp_path / "b.npz", graph((1, 6), (1, 6)))
    np.savez(tmp_path / "c.npz", a=DATA, b=DATA)
    with pytest.raises(EdgeqError, match="several arrays fit"):
        load_samples(tmp_path / "c.npz", graph((1, 6)))
    with pytest.raises(EdgeqError, match="no array for input x, x1"):
        load_samples(tmp_path / "c.npz", graph((1, 6), (1, 6)))


@pytest.mark.parametrize("shape", [(1, 2, 4, 3), (1, 3, 2, 4)])
def test_mean_and_deviation_per_channel_are_those_of_torchvision(shape: tuple[int, ...], tmp_path: Path) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    want = (RGB / 255 - mean) / std
    want = want.transpose(2, 0, 1) if shape[1] == 3 else want
    scaled = Pixels(0, 255, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    np.save(tmp_path / "a.npy", (RGB.transpose(2, 0, 1) if shape[1] == 3 else RGB)[None])
    for pixels in (Pixels(mean=mean, std=std), scaled):
        for place in (pictures(tmp_path / "p", RGB), tmp_path / "a.npy"):
            np.testing.assert_allclose(load_samples(place, graph(shape), pixels=pixels)["x"][0, 0], want, atol=1e-5)
    grey = load_samples(tmp_path / "p", graph((2, 4)), pixels=Pixels(mean=(0.5,), std=(0.25,)))["x"]
    assert grey.min() >= -2 and grey.max() <= 2 and grey.std() > 0.1
    for wrong, match in (
        (lambda: Pixels(mean=(123.675, 116.28, 103.53)), "outside of black and white"),
        (lambda: Pixels(std=(0.2, 0.0, 0.2)), "not positive"),
        (lambda: load_samples(tmp_path / "p", graph(shape), pixels=Pixels(mean=(0.5, 0.5))), "2 values of --mean for 3 channels"),
    ):  # fmt: skip
        with pytest.raises(EdgeqError, match=match):
            wrong()


def test_stored_pixels_are_scaled_or_taken_as_they_are_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 51, 255]], np.uint8))
    np.testing.assert_allclose(load_samples(tmp_path / "a.npy", graph((1, 3)), pixels=Pixels(-1, 1))["x"], [[[-1, -0.6, 1]]], rtol=1e-6)
    assert not caplog.records
    assert load_samples(tmp_path / "a.npy", graph((1, 3)))["x"].max() == 255
    assert "taken as the real values 0 to 255" in caplog.text
    np.save(tmp_path / "f.npy", np.zeros((1, 3), np.float32))
    with pytest.raises(EdgeqError, match="pixel values for samples of float32"):
        load_samples(tmp_path / "f.npy", graph((1, 3)), pixels=Pixels())


def test_folders_of_classes_are_labels(tmp_path: Path) -> None:
    for i, name in enumerate(("cat", "ape", "cat", "dog")):
        (tmp_path / "set").mkdir(exist_ok=True)
        pictures(tmp_path / "set" / name, np.full((2, 4, 3), i, np.uint8))
    pictures(tmp_path / "set" / "ape" / "more", RGB)
    for place in (tmp_path / "set", tmp_path):  # also with a folder around
        samples, y = load_labelled(place, graph((1, 2, 4, 3)), pixels=Pixels(0, 255))
        assert y.tolist() == [0, 0, 1, 2] and samples["x"][1].max() == RGB.max() and samples["x"][3].max() == 3
    found = load_labelled(tmp_path / "set", graph((1, 2, 4, 3)), pixels=Pixels(), names=("dog", "cat", "fox", "ape"))[1]
    assert found.tolist() == [3, 3, 1, 0]
    assert load_labelled(tmp_path / "set", graph((1, 2, 4, 3)), pixels=Pixels(), limit=2)[1].tolist() == [0, 1]
    with pytest.raises(EdgeqError, match="'dog' is no class"):
        load_labelled(tmp_path / "set", graph((1, 2, 4, 3)), pixels=Pixels(), names=("cat", "ape"))
    with pytest.raises(EdgeqError, match="no labels"):
        load_labelled(tmp_path / "set" / "cat", graph((1, 2, 4, 3)), pixels=Pixels())


def test_classes_by_number_need_an_order_that_is_clear() -> None:
    assert numbers(["1", "0", "9"], None, "").tolist() == [1, 0, 2]
    with pytest.raises(EdgeqError, match=r"not clear.*'10' comes before '2'"):
        numbers(["1", "2", "10"], None, "")
    assert numbers(["1", "2", "10"], ("1", "2", "10"), "").tolist() == [0, 1, 2]


def test_tables_of_sensors(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"

    def read(text: str, *shape: int) -> Array:
        file.write_text(text)
        return load_samples(file, graph(shape))["x"]

    assert np.array_equal(read("1,2,3\n4,5,6.5\n", 1, 3), np.array([[[1, 2, 3]], [[4, 5, 6.5]]], np.float32))
    assert np.array_equal(read("# a note\ntimestamp;a;b\n0;1,5;2\n1;3;-4e1\n", 2), np.array([[1.5, 2], [3, -40]], np.float32))
    for names in ("x,y,z", "X;Y;Z", "z,y,x"):  # axes, no labels
        assert np.array_equal(read(f"{names}\n1,2,3\n".replace(",", names[1]), 3), [[1, 2, 3]])
    moments = "".join(f"{i}\t{10 * i}\n" for i in range(7))
    assert np.array_equal(read(moments, 1, 3, 2)[1, 0], [[3, 30], [4, 40], [5, 50]]) and len(read(moments, 1, 3, 2)) == 2
    assert np.array_equal(read(moments, 1, 2, 3)[0, 0], [[0, 1, 2], [0, 10, 20]])  # channels first
    file.write_text("x,label\n" + "".join(f"{i},{'ba'[i >= 5]}\n" for i in range(9)))
    samples, y = load_labelled(file, graph((1, 2, 1)))  # no sample of two moments has both labels
    assert y.tolist() == [1, 1, 0, 0] and samples["x"].ravel().tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    for text, shape, match in (
        ("1,2\n3\n", (2,), r"a\.csv:2: 1 values in a table of 2"), ("1,2\n3,x\n", (2,), "column 2.*something else than a number"),
        ("1,2\n3,nan\n", (2,), "something else"), ("1,2\n", (3,), "2 columns do not fit"), ("1,2\n", (1, 3, 2), "shorter than a sample"),
        ("", (2,), "holds no samples"), ("a,b\n", (2,), "holds no samples"),
    ):  # fmt: skip
        with pytest.raises(EdgeqError, match=match):
            read(text, *shape)

"""Storage codes: what is stored is what is read, in numpy and in C, and faults cost what is predicted."""

from __future__ import annotations

import ctypes
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeq.build import COMMON_FLAGS, toolchain
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap
from edgeq.formats.code import CHECKS, Code, outvoted
from edgeq.formats.votes import BIAS_WORD, bias_shift, decode_biases, encode_biases, round_biases
from edgeq.ir import Array
from edgeq.process import run_tool
from edgeq.resources import resource
from edgeq.target import load

ALL = [
    Code(bits, offset, check) for bits in range(2, 9) for offset in (False, True) for check in CHECKS
    if check != "hamming" or 4 <= bits <= 7
]  # fmt: skip
BY_ROWS = [
    Code(bits, offset, check, asymmetric=asymmetric, crc=crc)
    for bits, offset, check in ((2, False, "none"), (3, True, "triple"), (5, False, "hamming"), (7, True, "none"), (7, False, "parity"),
                                (6, True, "hamming"), (8, False, "none"), (8, True, "parity"))
    for asymmetric, crc in ((True, False), (False, True), (True, True))
    if bits < 8 or not asymmetric
]  # fmt: skip


def values(code: Code, count: int) -> Array:
    """Bell-shaped weights that fit a code."""
    w = np.random.default_rng(code.bits).normal(0, code.limit / 3, count)
    return np.clip(np.rint(w), -code.limit - 1, code.limit).astype(np.int8)


def skewed(code: Code, rows: int, length: int) -> Array:
    """Bell-shaped rows that fit a code by rows, each about a middle of its own; some are of zeros or alike."""
    rng = np.random.default_rng(code.bits)
    w = np.rint(rng.normal(0, code.limit / 3, (rows, length)))
    if not code.asymmetric:
        return np.clip(w, -code.limit - 1, code.limit).astype(np.int8)
    low = rng.integers(-2 * code.limit - 1, 1, (rows, 1))
    middle = low + code.limit + 1
    w = np.clip(w + middle, low, low + 2 * code.limit + 1)
    w[::7], w[1::7] = 0, middle[1::7]
    return w.astype(np.int8)


def flipped(data: Array, faults: FaultMap, table: int) -> Array:
    return np.asarray(data ^ faults.flips(table, "t", data))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """eq_w_code.h and eq_w_votes.h as a library, warnings and undefined behaviour being errors."""
    folder = tmp_path_factory.mktemp("codes")
    (folder / "codes.c").write_text(
        '#include "eq_w_code.h"\n#include "eq_w_votes.h"\n'
        "void weights(const uint8_t *c, int8_t *w, int32_t n, int32_t thrice, int32_t bits, int32_t offset, int32_t check);\n"
        "void weights(const uint8_t *c, int8_t *w, int32_t n, int32_t thrice, int32_t bits, int32_t offset, int32_t check)\n"
        "{\n    eq_decode_weights(c, w, n, thrice, bits, offset, check);\n}\n"
        "void rows(const uint8_t *c, int8_t *w, const int32_t *n);\n"
        "void rows(const uint8_t *c, int8_t *w, const int32_t *n)\n"
        "{\n    eq_decode_rows(c, w, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]);\n}\n"
        "void biases(const uint16_t *v, int32_t *b, int32_t n, int32_t shift);\n"
        "void each(const uint16_t *v, int32_t *b, int32_t n, const uint8_t *shifts);\n"
        "void each(const uint16_t *v, int32_t *b, int32_t n, const uint8_t *shifts)\n{\n    eq_decode_biases_each(v, b, n, shifts);\n}\n"
        "void biases(const uint16_t *v, int32_t *b, int32_t n, int32_t shift)\n{\n    eq_decode_biases(v, b, n, shift);\n}\n"
    )
    chain, output = toolchain(load("host")), folder / "codes.so"
    flags = ("-O1", "-fsanitize=undefined", "-fsanitize-trap=undefined", "-shared", "-fPIC", f"-I{resource('templates') / 'runtime'}")
    run_tool([*chain.command, *COMMON_FLAGS, *flags, str(folder / "codes.c"), "-o", str(output)], "codes")
    return ctypes.CDLL(str(output))


def _decode(library: Any, code: Code, stream: Array, out: Array, thrice: int) -> None:
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (stream, out)]
    library.weights(*pointers, len(out), thrice, code.bits, int(code.offset), CHECKS[code.check])


@pytest.mark.parametrize("code", ALL, ids=str)
def test_every_word_means_the_same_in_c(library: Any, code: Code) -> None:
    every = np.arange(2**code.width, dtype=np.int64)
    bits = every[:, None] >> np.arange(code.width) & 1
    stream = np.packbits(bits.astype(np.uint8).ravel(), bitorder="little")
    out = np.zeros(len(every), np.int8)
    _decode(library, code, stream, out, 0)
    assert np.array_equal(out, code.decode(stream, len(every))) and np.array_equal(out, code.values(every))
    exact = np.arange(-(2 ** (code.bits - 1)), 2 ** (code.bits - 1))
    assert np.array_equal(code.decode(code.encode(exact), len(exact)), exact)
    assert len(code.encode(np.zeros(1000, np.int8))) == -(-1000 * code.width // 8)


@pytest.mark.parametrize("code", [Code(8, small=1001), Code(6, True, "parity", small=1001), Code(6, check="hamming", small=5000)], ids=str)
def test_small_tables_are_what_most_of_three_copies_say(library: Any, code: Code) -> None:
    w = values(code, 1001)
    one = replace(code, small=1000).encode(w)
    stored = code.encode(w)
    assert np.array_equal(stored, np.repeat(one, 3))
    stored[1::3] ^= np.uint8(0xFF)
    assert np.array_equal(code.decode(stored, 1001), w)
    stored[::3] = flipped(stored[::3], FaultMap(p=0.1), 0)
    out = np.zeros(1001, np.int8)
    _decode(library, code, stored, out, 1)
    assert np.array_equal(out, code.decode(stored, 1001)) and not np.array_equal(out, w)


@pytest.mark.parametrize("small", [0, 10**6])
@pytest.mark.parametrize("code", BY_ROWS, ids=str)
def test_rows_mean_the_same_in_c(library: Any, code: Code, small: int) -> None:
    """With no faults, few and many, one channel or several, in every order of a kernel's table."""
    code, changed = replace(code, small=small), 0
    for rows, length, block in ((1, 1, 1), (1, 9, 1), (24, 27, 4), (7, 5, 7)):
        w = skewed(code, rows, length)
        stored = code.encode(w)
        assert stored.size == rows * code.row_bytes(rows, length) and np.array_equal(code.decode(stored, rows, length), w)
        for p in (0.0, 0.005, 0.05, 0.5, 1.0):
            data = flipped(stored, FaultMap(p=p), 0)
            out = np.full(rows * length, 85, np.int8)
            form = small > 0, code.bits, code.offset, CHECKS[code.check], code.asymmetric, code.crc
            numbers = np.array([rows, length, block, *form], np.int32)
            library.rows(*(ctypes.c_void_p(a.ctypes.data) for a in (data, out, numbers)))
            expected = code.decode(data, rows, length)
            assert np.array_equal(out.reshape(-1, length, block).swapaxes(1, 2).reshape(rows, length), expected), p
            assert not small or p > 0.005 or np.array_equal(expected, w)
            changed += not np.array_equal(expected, w)
    assert changed


def test_a_damaged_row_is_zeroed_and_no_other() -> None:
    code = Code(6, check="hamming", crc=True)
    w, size = skewed(code, 40, 30), code.row_bytes(40, 30)
    stored = code.encode(w).reshape(40, size)
    low, mended, twice, vote = stored.copy(), stored.copy(), stored.copy(), stored.copy()
    low[:, 3] ^= np.uint8(1)  # the lowest bit of the first weight: nothing covers it
    mended[:, 3] ^= np.uint8(1 << 5)
    twice[::2, 3] ^= np.uint8(3 << 4)  # two of the bits that Hamming's code covers
    vote[:, 1] ^= np.uint8(0xFF)
    assert np.array_equal(code.decode(low.ravel(), 40, 30), np.where(np.arange(30) > 0, w, w ^ 1))
    for data in (mended, vote):
        assert np.array_equal(code.decode(data.ravel(), 40, 30), w)
    assert np.array_equal(code.decode(twice.ravel(), 40, 30), np.where(np.arange(40)[:, None] % 2, w, 0))
    vote[:20, 2] ^= np.uint8(0x04)  # the checksum itself: two copies of three are wrong in one bit
    vote[:20, 1] = stored[:20, 1] ^ np.uint8(0x04)
    assert np.array_equal(code.decode(vote.ravel(), 40, 30), np.where(np.arange(40)[:, None] < 20, 0, w))
    assert not code.decode(np.zeros(40 * size, np.uint8), 40, 30).any()


def test_all_faults_of_two_bits_are_seen() -> None:
    code = Code(4, crc=True)
    w = skewed(code, 1, 123)
    pairs = np.triu_indices(2 * 123, 1)
    data = np.unpackbits(np.tile(code.encode(w), (len(pairs[0]), 1)), axis=1, bitorder="little")
    for i in pairs:
        data[np.arange(len(i)), 24 + i // 2 * 4 + 2 + i % 2] ^= 1
    assert not code.decode(np.packbits(data, axis=1, bitorder="little").ravel(), len(data), 123).any()


def test_rows_have_zero_points_that_let_them_fit() -> None:
    code = Code(7, asymmetric=True)
    for low, high in ((0, 127), (-127, 0), (-64, 63), (-1, 126), (50, 100), (-100, -90), (0, 0)):
        w = np.array([[low, high]])
        assert np.array_equal(code.decode(code.encode(w), 1, 2), w)
    with pytest.raises(EdgeqError, match="do not fit 7 bits"):
        code.encode(np.array([[-64, 64]]))
    with pytest.raises(EdgeqError, match=r"no asymmetric storage code of 8 bits.*9 bits"):
        Code(8, asymmetric=True)


def test_every_word_of_a_bias_means_the_same_in_c(library: Any) -> None:
    words = np.arange(2**16, dtype=np.uint16)
    votes = np.stack([words, words, np.roll(words, 1)], axis=1)
    out = np.zeros(words.size, np.int32)
    library.biases(ctypes.c_void_p(votes.ctypes.data), ctypes.c_void_p(out.ctypes.data), words.size, 5)
    assert np.array_equal(out, decode_biases(votes, 5))
    shifts = np.arange(words.size, dtype=np.uint8) % 21
    library.each(*(ctypes.c_void_p(a.ctypes.data) for a in (votes, out)), words.size, ctypes.c_void_p(shifts.ctypes.data))
    assert np.array_equal(out, decode_biases(votes, shifts.astype(np.int64)))


def test_biases_survive_two_copies_of_faults_and_one_fault_in_all() -> None:
    biases = round_biases(np.random.default_rng(0).integers(-(2**19), 2**19, 200).astype(np.int32))
    shift, votes = bias_shift(biases), encode_biases(biases)
    assert shift == 9 and np.array_equal(decode_biases(votes, shift), biases)
    for bit in range(BIAS_WORD):
        assert np.array_equal(decode_biases(votes ^ np.uint16(1 << bit), shift), biases)
    votes[:, 1] ^= np.uint16(0xFFFF)
    assert np.array_equal(decode_biases(votes, shift), biases)
    assert np.array_equal(round_biases(biases), biases)


@pytest.mark.parametrize("code", ALL, ids=str)
@pytest.mark.parametrize("kind", ["random", "asymmetric"])
def test_the_noise_of_weights_is_predicted(code: Code, kind: str) -> None:
    """Within 5 % of what is injected; rates are high enough for the rare faults that a check lets through to be many."""
    p = 0.04 if code.check == "hamming" else 0.02
    faults = FaultMap(kind, p=p, ratio=3.0)
    w = values(code, 150_000)
    data = code.encode(w)
    injected = np.mean([((code.decode(flipped(data, faults, t), w.size) - w.astype(float)) ** 2).mean() for t in range(2)])
    assert injected == pytest.approx(code.errors(w, *faults.rates).mean(), rel=0.05)


@pytest.mark.parametrize("code", BY_ROWS, ids=str)
@pytest.mark.parametrize("p", [0.02, 0.05])
def test_the_noise_of_rows_is_predicted(code: Code, p: float) -> None:
    """Within 5 %; rows are short, or at the higher rate none with a checksum would stay as it is."""
    w, faults = skewed(code, 12_000, 12), FaultMap("asymmetric", p=p, ratio=3.0)
    data = code.encode(w)
    injected = np.mean([((code.decode(flipped(data, faults, t), *w.shape) - w.astype(float)) ** 2).mean() for t in range(6)])
    assert injected == pytest.approx(code.errors(w, *faults.rates).mean(), rel=0.05)


def test_copies_share_no_column() -> None:
    """Where columns are weak, the three of a bit, of weights and of biases, are faulty independently of each other."""
    code = Code(8, small=8192)
    w, faults = values(code, 8192), FaultMap("columns", p=0.04)
    injected = [((code.decode(flipped(code.encode(w), faults, t), w.size) - w.astype(float)) ** 2).mean() for t in range(60)]
    assert np.mean(injected) == pytest.approx(code.errors(w, *faults.rates).mean(), rel=0.2)
    biases = round_biases(np.full(4096, 1 << 9, np.int32))
    assert bias_shift(biases) == 0
    votes = encode_biases(biases)
    read = (flipped(votes.view(np.uint8).ravel(), faults, t).view(np.uint16).reshape(-1, 3) for t in range(60))
    wrong = np.mean([(decode_biases(v, 0) != biases).mean() for v in read])
    assert wrong == pytest.approx(math.comb(BIAS_WORD, 2) * outvoted(0.04) ** 2, rel=0.5)


def test_the_noise_of_weights_stored_three_times_is_predicted() -> None:
    code = Code(7, check="parity", small=150_000)
    w, faults = values(code, 150_000), FaultMap("asymmetric", p=0.05, ratio=3.0)
    data = code.encode(w)
    injected = np.mean([((code.decode(flipped(data, faults, t), w.size) - w.astype(float)) ** 2).mean() for t in range(4)])
    assert injected == pytest.approx(code.errors(w, *faults.rates).mean(), rel=0.05)
    assert injected < 0.5 * replace(code, small=0).errors(w, *faults.rates).mean()


def test_the_noise_of_plain_weights_is_near_four_thirds_p_r_square() -> None:
    w = values(Code(8), 1000)
    assert Code(8).errors(w, 1e-4, 1e-4).mean() == pytest.approx(4 / 3 * 1e-4 * 128**2, rel=0.01)


@pytest.mark.parametrize(
    "text",
    ["", "9", "1", "8+hamming", "5+parity+triple", "x", "5+", "-5", "5+votes", "²", "5+small", "5+small-1", "5+once+small9", "8+asymmetric",
     "7+crc+asymmetric", "7+crc8"],
)  # fmt: skip
def test_codes_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(EdgeqError):
        Code.parse(text)


def test_codes_have_names() -> None:
    assert all(Code.parse(str(code)) == code for code in (*ALL, *BY_ROWS, Code(5, True, "hamming", True, 600, True, True)))
    with pytest.raises(EdgeqError, match="do not fit 4 bits"):
        Code(4).encode(np.array([8]))


def test_training_refuses_codes_by_rows() -> None:
    train = pytest.importorskip("edgeq.train", exc_type=ImportError)
    for code in (Code(7, asymmetric=True), Code(8, crc=True)):
        with pytest.raises(EdgeqError, match=r"training for storage code .*store in either"):
            train.Options(code=code)

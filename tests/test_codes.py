"""Storage codes: what is stored is what is read, in numpy and in C, and faults cost what is predicted."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeq.build import COMMON_FLAGS, run_tool, toolchain
from edgeq.codes import BIAS_WORD, CHECKS, Code, bias_shift, decode_biases, encode_biases, round_biases
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap
from edgeq.ir import Array
from edgeq.resources import resource
from edgeq.target import load

ALL = [
    Code(bits, offset, check) for bits in range(2, 9) for offset in (False, True) for check in CHECKS
    if check != "hamming" or 4 <= bits <= 7
]  # fmt: skip


def values(code: Code, count: int) -> Array:
    """Bell-shaped weights that fit a code."""
    w = np.random.default_rng(code.bits).normal(0, code.limit / 3, count)
    return np.clip(np.rint(w), -code.limit - 1, code.limit).astype(np.int8)


def flipped(data: Array, faults: FaultMap, table: int) -> Array:
    return np.asarray(data ^ faults.flips(table, "t", data))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """eq_codes.h as a library, warnings and undefined behaviour being errors."""
    folder = tmp_path_factory.mktemp("codes")
    (folder / "codes.c").write_text(
        '#include "eq_codes.h"\n'
        "void weights(const uint8_t *c, int8_t *w, int32_t n, int32_t copy, int32_t bits, int32_t offset, int32_t check);\n"
        "void weights(const uint8_t *c, int8_t *w, int32_t n, int32_t copy, int32_t bits, int32_t offset, int32_t check)\n"
        "{\n    eq_decode_weights(c, w, n, copy, bits, offset, check);\n}\n"
        "void biases(const uint16_t *v, int32_t *b, int32_t n, int32_t shift);\n"
        "void biases(const uint16_t *v, int32_t *b, int32_t n, int32_t shift)\n{\n    eq_decode_biases(v, b, n, shift);\n}\n"
    )
    chain, output = toolchain(load("host")), folder / "codes.so"
    flags = ("-O1", "-fsanitize=undefined", "-fsanitize-trap=undefined", "-shared", "-fPIC", f"-I{resource('templates') / 'runtime'}")
    run_tool([*chain.command, *COMMON_FLAGS, *flags, str(folder / "codes.c"), "-o", str(output)], "codes")
    return ctypes.CDLL(str(output))


def _decode(library: Any, code: Code, stream: Array, out: Array, copy: int) -> None:
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (stream, out)]
    library.weights(*pointers, len(out), copy, code.bits, int(code.offset), CHECKS[code.check])


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
    assert np.array_equal(stored, np.tile(one, 3))
    stored[len(one) : 2 * len(one)] ^= np.uint8(0xFF)
    assert np.array_equal(code.decode(stored, 1001), w)
    stored[: len(one)] = flipped(stored[: len(one)], FaultMap(p=0.1), 0)
    out = np.zeros(1001, np.int8)
    _decode(library, code, stored, out, len(one))
    assert np.array_equal(out, code.decode(stored, 1001)) and not np.array_equal(out, w)


def test_every_word_of_a_bias_means_the_same_in_c(library: Any) -> None:
    words = np.arange(2**16, dtype=np.uint16)
    votes = np.stack([words, words, np.roll(words, 1)])
    out = np.zeros(words.size, np.int32)
    library.biases(ctypes.c_void_p(votes.ctypes.data), ctypes.c_void_p(out.ctypes.data), words.size, 5)
    assert np.array_equal(out, decode_biases(votes, 5))


def test_biases_survive_two_copies_of_faults_and_one_fault_in_all() -> None:
    biases = round_biases(np.random.default_rng(0).integers(-(2**19), 2**19, 200).astype(np.int32))
    shift, votes = bias_shift(biases), encode_biases(biases)
    assert shift == 9 and np.array_equal(decode_biases(votes, shift), biases)
    for bit in range(BIAS_WORD):
        assert np.array_equal(decode_biases(votes ^ np.uint16(1 << bit), shift), biases)
    votes[1] ^= np.uint16(0xFFFF)
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


def test_the_noise_of_weights_stored_three_times_is_predicted() -> None:
    code = Code(7, check="parity", small=150_000)
    w, faults = values(code, 150_000), FaultMap("asymmetric", p=0.05, ratio=3.0)
    data = code.encode(w)
    injected = ((code.decode(flipped(data, faults, 0), w.size) - w.astype(float)) ** 2).mean()
    assert injected == pytest.approx(code.errors(w, *faults.rates).mean(), rel=0.05)
    assert injected < 0.5 * replace(code, small=0).errors(w, *faults.rates).mean()


def test_the_noise_of_plain_weights_is_near_four_thirds_p_r_square() -> None:
    w = values(Code(8), 1000)
    assert Code(8).errors(w, 1e-4, 1e-4).mean() == pytest.approx(4 / 3 * 1e-4 * 128**2, rel=0.01)


@pytest.mark.parametrize(
    "text", ["", "9", "1", "8+hamming", "5+parity+triple", "x", "5+", "-5", "5+votes", "²", "5+small", "5+small-1", "5+once+small9"]
)
def test_codes_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(EdgeqError):
        Code.parse(text)


def test_codes_have_names() -> None:
    assert all(Code.parse(str(code)) == code for code in (*ALL, Code(5, True, "hamming", True, 600)))
    with pytest.raises(EdgeqError, match="do not fit 4 bits"):
        Code(4).encode(np.array([8]))

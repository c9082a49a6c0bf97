"""Cycle models of Cortex-M: each rule by a small program, and public firmwares whose throughput on the board is known."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import unicorn
from random_graphs import Builder
from unicorn import arm_const

from edgeq import api, board
from edgeq.api import device
from edgeq.api.budget import parse
from edgeq.errors import EdgeqError
from edgeq.latency import latency
from edgeq.record import manifest, measured, pairs
from edgeq.run.trace import Trace
from edgeq.run.unicorn import _callbacks, _hook, _native
from edgeq.simulate import Cycles
from edgeq.target import load, names
from edgeq.timing import counted, timing

L4R5 = load("nucleo-l4r5")
FLASH, RAM, SRAM3 = 0x08000000, 0x20000000, 0x20040000
SILICON = Path(__file__).resolve().parents[2] / "shared" / "cycles" / "m4_silicon.json"


def trace(*halves: int, **registers: int) -> dict[str, int]:
    """Events of a program of Thumb half-words, from reset to its end; r1 is RAM, r5 flash behind the code."""
    place = board.load(L4R5)
    engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    engine.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
    engine.mem_map(FLASH, 0x10000)
    engine.mem_map(RAM, 0xA0000)
    code = ctypes.create_string_buffer(struct.pack(f"<{len(halves)}H", *halves), 2 * len(halves))
    engine.mem_write(FLASH, code.raw)
    engine.mem_write(RAM, struct.pack("<I", RAM))
    for name, value in {"r1": RAM, "r5": FLASH + 0x1000, "sp": RAM + 0x1000, **registers}.items():
        engine.reg_write(getattr(arm_const, f"UC_ARM_REG_{name.upper()}"), value)
    model = timing(L4R5, place)
    assert model is not None
    found = Trace(model, place, FLASH, code, _native(engine)[0].uc_reg_read)
    found.state.expected = FLASH
    _hook(engine, unicorn.UC_HOOK_CODE, _callbacks().eq_unicorn_instruction, found.state)
    engine.emu_start(FLASH | 1, FLASH + 2 * len(halves))
    return {k: v for k, v in found.counts.items() if v}


RULES = {
    "ALU": ([0x1C40], {}, {"instruction": 1}),
    "ldr": ([0x6808], {}, {"instruction": 1, "load": 1}),
    "two independent ldr": ([0x6808, 0x684A], {}, {"instruction": 2, "load": 1}),
    "ldr through what was loaded": ([0x6809, 0x6808], {}, {"instruction": 2, "load": 2}),
    "ldr behind something else": ([0x6808, 0x1C40, 0x684A], {}, {"instruction": 3, "load": 2}),
    "str": ([0x6008], {}, {"instruction": 1}),
    "ldm of two": ([0xC90C], {}, {"instruction": 1, "load_words": 2}),
    "stm.w of three": ([0xE881, 0x001C], {}, {"instruction": 1, "store_words": 3}),
    "push and pop": ([0xB503, 0xBC03], {}, {"instruction": 2, "store_words": 3, "load_words": 2}),
    "ldrd and strd": ([0xE9D1, 0x2300, 0xE9C1, 0x2302], {}, {"instruction": 2, "load_double": 1, "store_double": 1}),
    "vldm of four": ([0xEC91, 0x0A04], {}, {"instruction": 1, "load_words": 4}),
    "sdiv": ([0xFB91, 0xF0F2], {"r2": 3}, {"instruction": 1, "divide": 1}),
    "misaligned ldr": ([0x6808], {"r1": RAM + 1}, {"instruction": 1, "load": 1, "misaligned": 1}),
    "ldrb is never misaligned": ([0x7808], {"r1": RAM + 1}, {"instruction": 1, "load": 1}),
    "ldr by index": ([0xF851, 0x0022], {"r2": 3}, {"instruction": 1, "load": 1}),
    "branch taken": ([0xE000, 0x1C40, 0x1C40], {}, {"instruction": 2, "taken": 1}),
    "branch not taken": ([0x2800, 0xD100, 0x1C40], {}, {"instruction": 3}),
    "a line of flash": ([0x6828, 0x686A], {}, {"instruction": 2, "load": 1, "data_miss": 1}),
    "two lines of flash": ([0x6828, 0x6A2A], {}, {"instruction": 2, "load": 1, "data_miss": 2}),
    "a literal": ([0x4800, 0x1C40, 0x1C40], {}, {"instruction": 3, "load": 1, "data_miss": 1}),
    "ldrd across two lines": ([0xE9D5, 0x2307], {}, {"instruction": 1, "load_double": 1, "data_miss": 2}),
    "another SRAM": ([0x6808, 0x6818, 0x6808], {"r3": SRAM3}, {"instruction": 3, "load": 1, "bank_switch": 2}),
    "flash between two SRAMs": ([0x6808, 0x6828, 0x6018], {"r3": SRAM3}, {"instruction": 3, "load": 1, "data_miss": 1, "bank_switch": 1}),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_every_event_is_counted(rule: str) -> None:
    halves, registers, expected = RULES[rule]
    assert trace(*halves, **registers) == expected


def test_the_cache_of_flash_lines_forgets_the_oldest() -> None:
    walk = [0x682A, 0xF105, 0x0520]  # ldr r2, [r5]; add.w r5, r5, #32
    back = [0xF5A5, 0x7580]  # sub.w r5, r5, #256
    assert trace(*walk * 8, *back, *walk * 8)["data_miss"] == 8
    assert trace(*walk * 9, *back, 0xF1A5, 0x0520, *walk)["data_miss"] == 10


def cost(**events: int) -> float:
    model = timing(L4R5, board.load(L4R5))
    assert model is not None
    return float(model.cycles(counted(events)))


@pytest.mark.parametrize(
    ("event", "cycles"),
    [
        ("instruction", 1), ("load", 1), ("load_words", 1), ("load_double", 2), ("store_words", 1), ("store_double", 2), ("divide", 6),
        ("misaligned", 1), ("taken", 3), ("data_miss", 10), ("bank_switch", 2),
    ],
)  # fmt: skip
def test_what_each_event_costs_on_the_nucleo_l4r5(event: str, cycles: float) -> None:
    assert cost(**{event: 1}) == cycles


def test_a_missed_line_costs_twice_as_much_with_the_flash_in_two_banks() -> None:
    place = board.load(L4R5)
    dual = timing(L4R5, replace(place, estimate=replace(place.estimate, flash_bursts=4)))
    assert dual is not None and float(dual.cycles(counted({"data_miss": 1}))) == 20


@pytest.mark.skipif(not SILICON.is_file(), reason="needs ../shared/cycles")
def test_public_firmwares_take_the_estimated_cycles() -> None:
    """Of X-CUBE-AI by the rules alone; of Bosch, whose stack lies in another SRAM, with a number of changes that is fitted to them."""
    fields = {
        "n": "instruction", "ldr_alone": "load", "ldm_words": "load_words", "ldrd": "load_double", "stm_words": "store_words",
        "strd": "store_double", "div": "divide", "misaligned": "misaligned", "taken": "taken", "data_misses": "data_miss",
    }  # fmt: skip
    rows = json.loads(SILICON.read_text())["l4r5"]
    assert len(rows) == 17
    for name, row in rows.items():
        events = {e: row[f] for f, e in fields.items()}
        if name.startswith("Bosch"):
            events["bank_switch"] = round(0.3725 * row["ldr_alone"])
        off = cost(**events) / row["cycles"] - 1
        assert abs(off) < (0.045 if name.startswith("Bosch") else 0.02), f"{name}: {100 * off:+.1f} %"


def test_every_model_has_bounds_and_says_so_in_the_figure() -> None:
    models = {n: timing(load(n), board.load(load(n))) for n in names() if load(n).bsp}
    assert all(m.low < 1 < m.high for m in models.values() if m)
    cores = {f"cortex-m{n}" for n in (0, 3, 4, 7, 33, 55, 85)}
    assert {n for n, m in models.items() if m} >= cores
    assert str(latency(Cycles(1_200_000, None, 0.955, 1.045), board.load(L4R5))) == "1 200 000, 10 ms at 120 MHz, 396 µJ (±4.5 %)"
    assert str(latency(Cycles(1_000, None, 0.7, 1.45), None)) == "1 000 (-30 to +45 %)"


@pytest.mark.parametrize(
    ("text", "message"),
    [("instruction = 1\nlow = 1\nhigh = 1\nlaod = 1", "unknown entry 'laod'"), ("instruction = 1", "needs instruction, low and high")],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'inherits = "_cortex-m"\ndescription = "mine"\nbsp = "mps2-an385"\n[timing]\n{text}\n')
    target = load(str(file))
    with pytest.raises(EdgeqError, match=message):
        timing(target, board.load(target))


def test_a_build_keeps_to_a_budget_of_time(tmp_path: Path) -> None:
    b = Builder(1, "tflm")
    graph = b.graph(b.dense(b.input(1, 6), 5))

    def build(target: str, text: str, check: bool = True) -> None:
        api.build(graph, output=tmp_path / "out", target=target, budget=parse(text), vectors=1, check=check)

    assert parse("latency=20ms,cycles=2M") == {"latency": 0.02, "cycles": 2e6}
    for target, text, said in (
        ("nucleo-l4r5", "latency=100us", ""),
        ("nucleo-l4r5", "latency=0.5us", "more cycles than the budget allows: [0-9 ]+, .* ms at 120 MHz"),
        ("nucleo-l4r5", "cycles=60", "more cycles than the budget allows"), ("riscv", "latency=1ms", "clock of board virt is not known"),
        ("host", "cycles=1M", "no model of cycles"), ("nucleo-l4r5", "latency=20", "no unit"),
        ("nucleo-l4r5", "latency=1s,cycles=1M", "one of them"),
    ):  # fmt: skip
        if said:
            with pytest.raises(EdgeqError) as raised:
                build(target, text)
            assert re.search(said, f"{raised.value} {raised.value.why} {raised.value.fix}"), raised.value
            assert not (tmp_path / "out").exists()
        else:
            build(target, text)
            shutil.rmtree(tmp_path / "out")
    with pytest.raises(EdgeqError, match="not run"):
        build("nucleo-l4r5", "latency=1s", check=False)


def test_pairs_of_estimates_and_measurements_widen_the_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder(1, "tflm")
    folder = api.build(b.graph(b.dense(b.input(1, 6), 5)), output=tmp_path / "out", target="nucleo-l4r5", vectors=1).folder
    run = next(iter(measured(folder, manifest(folder).sources_sha256).runs.values()))
    assert run.cycles is not None
    ticks = np.array([round(1.2 * run.cycles.total), 1])
    result = SimpleNamespace(measured=SimpleNamespace(ticks=ticks))
    with pytest.raises(EdgeqError, match=r"leaves it at 4 MHz.*EQ_TICKS_PER_MS = 120000; or \[estimate\] clock = 4000000"):
        device.expected(folder)
    place = board.load(L4R5)
    fast = replace(place, folder=tmp_path, defines={**place.defines, "EQ_TICKS_PER_MS": 120_000})
    monkeypatch.setattr(device, "load_board", lambda target: fast)
    file = tmp_path / pairs.NAME
    for _ in range(2):
        pairs.add(file, device.expected(folder).measured(result))
    assert [p.ratio for p in pairs.read(file)] == [pytest.approx(1.2, abs=0.01)]
    wide, narrow = timing(L4R5, fast), timing(L4R5, place)
    assert wide is not None and narrow is not None and (wide.low, wide.costs) == (narrow.low, narrow.costs)
    assert wide.high == pytest.approx(1.2, abs=0.01) and wide.high > narrow.high
    pairs.add(file, replace(pairs.read(file)[0], target="nrf52840", measured=1))
    assert timing(L4R5, fast) == wide and len(pairs.read(file)) == 2
    file.write_text('{"format": 1, "pairs": [{"estimate": 0}]}')
    with pytest.raises(EdgeqError, match="no file of pairs"):
        pairs.add(file, pairs.Pair("x", "0" * 64, "gcc", "3", 1, 1))
    assert "estimate" in file.read_text()

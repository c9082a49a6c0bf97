"""The device link: frames both ways, hostile bytes on both ends, noise between them, and a board that goes away."""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import threading
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import link_host
import noise as bad_line
import numpy as np
import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st
from link_host import noise, running
from random_graphs import Builder
from test_faults import MAPS
from test_streaming import frames, load
from test_streaming import model as streaming_model

from edgeq import api, faults, graphfile
from edgeq import target as targets
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap
from edgeq.ir import Array, Graph
from edgeq.passes import declare_states, normalise
from edgeq.record import manifest
from edgeq.run import serial
from edgeq.run.device import Area, Fault
from edgeq.run.layout import Layout
from edgeq.run.link import ANSWER, HEADER, LONGEST, REFUSAL, VERSION, Command, Decoder, Frame, Link, Refusal, encode
from edgeq.run.ports import Port
from edgeq.simulate import Run, fit_inputs, simulate

REQUEST = VERSION << 6
FUZZED = 100_000
SEEDS = {"a second host": range(4)}


class Served(NamedTuple):
    folder: Path
    program: Path
    inputs: dict[str, Array]
    expected: Run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A small network and its program."""
    work = tmp_path_factory.mktemp("link")
    folder, graph = make(work / "m")
    inputs = api.random_inputs(graph, 3)
    return Served(folder, link_host.build(folder, work), inputs, simulate(graph, inputs, steps=True))


def make(folder: Path, side: int = 7) -> tuple[Path, Graph]:
    """A small network, emitted for this computer."""
    b = Builder(3, "single")
    x = b.input(1, side, side, 3)
    y = b.depthwise(b.conv(x, 5, 3, stride=2, pads=(1, 1, 1, 1)))
    graph = b.graph(b.dense(b.pool(b.add(y, y)), 4))
    return api.build(graph, output=folder, target="host", name="m", vectors=0, check=False).folder, graph


def check(served: Served, port: str, *, steps: bool = False) -> serial.Measured:
    """Run all vectors and demand the simulator's bytes."""
    with serial.connect(Port(port), manifest(served.folder)) as device:
        measured = serial.measure(device, Layout(manifest(served.folder)), served.inputs, steps=steps)
    for expected, found in ((served.expected.outputs, measured.run.outputs), (served.expected.steps, measured.run.steps)):
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])
    assert steps == bool(measured.run.steps)
    return measured


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=2000))
@settings(max_examples=50, deadline=None)
def test_frames_come_back(kind: int, number: int, payload: bytes) -> None:
    line = encode(kind, number, payload)
    assert line.index(0) == len(line) - 1
    assert list(Decoder().feed(line)) == [Frame(kind, number, payload)]


@pytest.mark.parametrize("size", [1000, 1024, 4096, 4092])
@pytest.mark.parametrize("content", ["random", "zeros", "ones"])
def test_frames_and_acknowledgements_cost_three_percent_at_most(size: int, content: str) -> None:
    data = {"random": np.random.default_rng(size).bytes(size), "zeros": bytes(size), "ones": b"\1" * size}[content]
    request, acknowledged = (
        encode(REQUEST | Command.WRITE, 7, struct.pack("<I", 1 << 24) + data),
        encode(REQUEST | ANSWER | Command.WRITE, 7, b""),
    )
    assert len(request) + len(acknowledged) <= 1.03 * size
    assert len(encode(REQUEST | ANSWER | Command.READ, 7, data)) <= 1.03 * size


def test_hostile_bytes_are_frames_or_nothing() -> None:
    rng = random.Random(1)
    decoder = Decoder()
    for _ in range(FUZZED):
        line = bytearray(encode(rng.randrange(256), rng.randrange(256), rng.randbytes(rng.randrange(40))))
        for _ in range(rng.randrange(3)):
            line[rng.randrange(len(line))] = rng.randrange(256)
        for frame in decoder.feed(bytes(line[: rng.randrange(len(line) + 1)]) if rng.random() < 0.1 else bytes(line)):
            assert len(frame.payload) <= LONGEST
    assert decoder.damaged > FUZZED // 4
    list(decoder.feed(b"\1" * 10 * LONGEST))
    assert len(decoder._open) <= LONGEST + LONGEST // 254 + 1
    assert list(decoder.feed(b"\0" + encode(1, 2, b"x"))) == [Frame(1, 2, b"x")]


def fault_block(rng: random.Random) -> bytes:
    """A map that fits, or nearly."""
    entries = [(rng.randrange(20), rng.randrange(200), rng.choice((1, 255, 256))) for _ in range(rng.randrange(3))]
    words = list(struct.unpack(f"<{6 + 3 * len(entries)}I", faults.listed(entries)))
    words[1:5] = rng.choice((3, 3, rng.randrange(5))), rng.getrandbits(32), rng.choice((0, 2**31)), rng.choice((0, 2**31))
    return struct.pack(f"<{len(words)}I", *words)


def wild(rng: random.Random) -> tuple[int, bytes]:
    """A command and a payload, of which some make sense."""
    command = rng.choice([*range(12), Command.INVOKE, Command.RESUME, Command.READ, Command.WRITE, Command.FAULT, 31])
    size = rng.choice((0, 1, 2, 4, 5, 6, 8, 12, 24, rng.randrange(200)))
    if rng.random() < 0.3:
        return command, rng.randbytes(size)
    place = struct.pack("<I", rng.randrange(6) << 24 | rng.choice((0, 1, 60, 150, 0xFFFFFF)))
    sensible = {
        Command.READ: place + struct.pack("<H", rng.choice((0, 1, 64, 4096, 65535))), Command.WRITE: place + rng.randbytes(size),
        Command.INVOKE: struct.pack("<I", rng.randrange(5)), Command.CHECK: struct.pack("<H", rng.randrange(20)),
        Command.FAULT: fault_block(rng),
    }  # fmt: skip
    return command, sensible.get(Command(command), b"") if command in set(Command) else b""


def stream(seed: int, count: int) -> bytes:
    """Requests of every kind in sessions of about thirty, in order for the most part, of which many are damaged on the way."""
    rng = random.Random(seed)
    out, number = bytearray(), 0
    for i in range(count):
        command, payload = (Command.HELLO, struct.pack("<I", i + 1)) if rng.random() < 0.03 else wild(rng)
        kind = command | rng.choice((REQUEST,) * 20 + (0, REQUEST | ANSWER, 0xC0))
        line, draw = bytearray(encode(kind, number, payload)), rng.random()
        if draw < 0.05:
            line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
        elif draw < 0.08:
            del line[rng.randrange(len(line)) :]
        elif draw < 0.11:  # a length that lies, under a good checksum
            body = HEADER.pack(kind, number, rng.randrange(65536)) + payload
            line = bytearray(cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0")
        elif kind >> 6 == VERSION and not kind & ANSWER and command != Command.RESTART:  # outside of sessions
            number = (number + 1) % 256
        if draw > 0.9:
            line += bytes(line) if draw < 0.95 else rng.randbytes(rng.randrange(9))
        out += line
    return bytes(out)


def test_a_hundred_thousand_mutated_frames(served: Served) -> None:
    sent = stream(0, FUZZED)
    done = subprocess.run([served.program], input=sent, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()[-2000:]
    decoder = Decoder()
    answers = list(decoder.feed(done.stdout))
    assert decoder.damaged == 0 and all(f.kind & ANSWER and f.kind >> 6 == VERSION for f in answers)
    kinds = [f.command for f in answers]
    refusals = {REFUSAL.unpack(f.payload)[0] for f in answers if f.command == Command.REFUSED}
    counts = {c.name: kinds.count(c) for c in Command if c != Command.RESTART}  # refused: there is nothing to restart into
    assert min(counts.values()) >= 50, counts
    assert refusals == set(Refusal)


class HostileBoard:
    """A line whose other end answers every request, but with what it likes: mutated facts, descriptions and results."""

    def __init__(self, seed: int) -> None:
        self.rng, self.decoder, self.waiting, self.frames = random.Random(seed), Decoder(), bytearray(), 0
        self.input, self.rate = b"", seed % 3 * 0.01
        tensor = {"name": "x", "dtype": "s8", "shape": [1, 8], "bytes": 8, "scale": 1.0, "zero_point": 0}
        text = {"model": "m", "inputs": [tensor], "outputs": [tensor], "arena_bytes": 8, "state_bytes": 0, "instructions_per_tick": 1.0}
        self.text = bytearray(json.dumps(text).encode())
        if seed % 2:
            words = [b"-1", b"1e999", b"null", b"[]", b"{}", b'"s32"', b"99999999999", b'"\\ud800"', b"[[[["]
            at = self.rng.randrange(len(self.text))
            self.text[at : at + self.rng.randrange(9)] = self.rng.choice(words)

    @property
    def in_waiting(self) -> int:
        return len(self.waiting)

    def read(self, size: int) -> bytes:
        data = bytes(self.waiting[:size])
        del self.waiting[:size]
        return data

    def write(self, data: bytes) -> None:
        for frame in self.decoder.feed(data):
            self.frames += 1
            self.waiting += encode(frame.kind | ANSWER, frame.number, self.answer(frame))
            if self.rng.random() < self.rate:
                kind = REQUEST | ANSWER | self.rng.choice((Command.BUSY, Command.REFUSED, self.rng.randrange(32)))
                self.waiting[:0] = encode(kind, frame.number, self.rng.randbytes(self.rng.choice((0, 8, 20))))

    def answer(self, frame: Frame) -> bytes:
        payload = {
            Command.HELLO: frame.payload + struct.pack("<8I", 4096, 0, len(self.text), 8, 8, 3, 2, 0),
            Command.INVOKE: struct.pack("<5I", frame.payload[:1] == b"\3", 0, 5, 9, 8), Command.RESUME: struct.pack("<5I", 0, 3, 5, 9, 8),
            Command.CHECK: bytes(8), Command.STATISTICS: bytes(36),
        }.get(Command(frame.command), b"")  # fmt: skip
        if frame.command == Command.READ:
            place, size = struct.unpack("<IH", frame.payload)
            payload = bytes((self.text if place >> 24 == Area.DESCRIPTION else self.input)[place & 0xFFFFFF :][:size])
        elif frame.command == Command.WRITE:
            self.input = frame.payload[4:]
        if self.rng.random() < self.rate and payload:
            changed = bytearray(payload)
            changed[self.rng.randrange(len(changed))] = self.rng.randrange(256)
            payload = bytes(changed[: self.rng.randrange(len(changed) + 1)] if self.rng.random() < 0.5 else changed)
        return payload

    def close(self) -> None:
        pass


def test_hostile_boards_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, frames = [], 0
    for seed in range(400):
        board = HostileBoard(seed)
        monkeypatch.setattr("serial.serial_for_url", lambda *_, line=board, **__: line)
        try:
            api.bench_board(Port("x", timeout=0.02), vectors=2)
            outcomes.append("")
        except EdgeqError as e:
            assert "\n" not in str(e) and len(str(e)) < 300
            outcomes.append(e.what)
        frames += board.frames
    assert frames > 10_000 and outcomes.count("") > 50 and len(set(outcomes)) > 4, set(outcomes)


def test_same_bytes_as_the_simulator(served: Served) -> None:
    with running(served.program) as board:
        assert check(served, board.port, steps=True).retries == 0
        assert check(served, board.port).run.steps == {}


@pytest.mark.parametrize("seed", range(2))
def test_same_bytes_over_a_noisy_line(served: Served, seed: int) -> None:
    with running(served.program, noise(seed, 0.002), noise(seed + 100, 0.002)) as board:
        measured = [check(served, board.port, steps=True) for _ in range(2)]
    assert sum(m.retries for m in measured) > 0


@pytest.mark.parametrize("kind", [*bad_line.KINDS])
def test_a_bad_line_gives_right_bytes_or_one_line(kind: str, served: Served) -> None:
    """The first trials of tests/noise.py, which has the table."""
    network = bad_line.Served(*served)
    assert {bad_line.trial(network, kind, seed) for seed in SEEDS.get(kind, (0,))} <= {"right", "told"}


def test_hosts_that_end_in_the_middle_of_a_frame(served: Served) -> None:
    assert bad_line.killed(bad_line.Served(*served), 0) == "right"


def test_what_an_earlier_session_asked_for_is_not_taken_for_done(served: Served) -> None:
    """A request whose number is one of the past, but of another host's past."""
    waiting = []
    with (
        running(served.program, lambda data: b"".join([*(waiting.pop() for _ in waiting[:]), data])) as board,
        serial.connect(Port(board.port)) as device,
    ):
        waiting.append(encode(REQUEST | Command.HELLO, device.link._number + 100 & 0xFF, b"two."))
        with pytest.raises(EdgeqError, match="restarted in the middle"):
            device.damage([Fault(0, 0, 0x55)])


def test_a_repeated_request_is_executed_once(served: Served) -> None:
    def twice(data: bytes) -> bytes:
        return b"".join(2 * (f + b"\0") for f in data.split(b"\0")[:-1]) + data.split(b"\0")[-1] if data.endswith(b"\0") else data

    with running(served.program, to_board=twice) as board, serial.connect(Port(board.port)) as device:
        device.damage([Fault(0, 0, 0x55)])
        assert device.checksums()[0][0] != int(next(iter(manifest(served.folder).tables.values())), 16)
        device.damage([Fault(0, 0, 0x55)])
        assert [f"{crc:08x}" for crc, _ in device.checksums()] == list(manifest(served.folder).tables.values())
        assert device.statistics().repeated > 10


def test_a_frozen_line_is_noticed_and_a_new_session_goes_on(served: Served) -> None:
    frozen = threading.Event()
    with running(served.program, to_host=lambda data: b"" if frozen.is_set() else data) as board:
        with serial.connect(Port(board.port, timeout=0.7)) as device:
            device.invoke(stop=True)
            frozen.set()
            with pytest.raises(EdgeqError, match=r"fell silent \(nothing for 0\.7 s\)"):
                device.resume()
        with pytest.raises(EdgeqError, match="no answer from the board"):
            check_silence(board.port)
        frozen.clear()
        check(served, board.port, steps=True)


def check_silence(port: str) -> None:
    with Link(Port(port, timeout=0.3)):
        pass


def test_an_unplugged_board_is_one_line(served: Served) -> None:
    with running(served.program) as board, serial.connect(Port(board.port)) as device:
        device.invoke(stop=True)
        board.unplug()
        with pytest.raises(EdgeqError, match="the port is gone") as caught:
            device.resume()
    assert "\n" not in str(caught.value)
    with pytest.raises(EdgeqError, match="cannot open the port"):
        check_silence("/dev/nowhere")
    with pytest.raises(EdgeqError, match="cannot open the port"):
        check_silence("nonsense://port")


def test_a_restart_in_the_middle_is_told(served: Served) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    url = f"socket://127.0.0.1:{server.getsockname()[1]}"
    board = subprocess.Popen([served.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    programs = [board]

    def carry() -> None:
        line, _ = server.accept()
        with line:
            threading.Thread(target=answers, args=(line, board), daemon=True).start()
            while data := line.recv(4096):
                assert programs[-1].stdin
                programs[-1].stdin.write(data)

    def answers(line: socket.socket, program: subprocess.Popen[bytes]) -> None:
        assert program.stdout
        while data := program.stdout.read(4096):
            line.sendall(data)
        if len(programs) == 1:
            programs.append(subprocess.Popen([served.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0))
            answers(line, programs[-1])

    threading.Thread(target=carry, daemon=True).start()
    try:
        with server, serial.connect(Port(url)) as device:
            device.write(Area.INPUT, bytes(device.input_bytes))
            board.kill()
            while len(programs) == 1:
                time.sleep(0.01)
            with pytest.raises(EdgeqError, match="the board was restarted in the middle"):
                device.invoke()
    finally:
        for program in programs:
            program.kill()
            program.communicate()


def test_what_a_board_refuses(served: Served) -> None:
    model = manifest(served.folder)
    place = next(iter(model.fault_tables.values()))
    hard = next(i for i, name in enumerate(model.tables) if name not in model.fault_tables)
    with running(served.program) as board, serial.connect(Port(board.port)) as device:
        for request in (
            (Command.READ, struct.pack("<IH", Area.OUTPUT << 24 | 1, device.output_bytes)), (Command.READ, struct.pack("<IH", 9 << 24, 1)),
            (Command.READ, struct.pack("<IH", Area.STEP << 24, 1)), (Command.WRITE, struct.pack("<I", Area.OUTPUT << 24) + b"x"),
            (Command.WRITE, struct.pack("<I", Area.INPUT << 24) + bytes(device.input_bytes + 1)), (Command.CHECK, b"\xff\xff"),
            (Command.RESUME, b""), (Command.INVOKE, b"abcd"), (Command.BUSY, b""), (Command.FAULT, bytes(24)),
            (Command.FAULT, faults.listed([(0, 0, 1)])[:-4]), (Command.FAULT, faults.listed([(place, 0, 1), (place, 10**6, 1)])),
            (Command.FAULT, faults.listed([(hard, 0, 1)])), (Command.FAULT, faults.listed([(place, 0, 256)])), (Command.RESTORE, b"1"),
        ):  # fmt: skip
            with pytest.raises(EdgeqError, match="the board refuses a request"):
                device.link.transact([request])
        device.invoke(stop=True)
        with pytest.raises(EdgeqError, match="does not fit what the board is doing"):
            device.invoke()
        assert [f"{crc:08x}" for crc, _ in device.checksums()] == list(manifest(served.folder).tables.values())
        with pytest.raises(EdgeqError, match="does not know this request"):  # there is no bootloader to restart into
            device.link.transact([(Command.RESTART, b"BOOT")])


def test_faults_are_named_as_the_manifest_names_tables(served: Served) -> None:
    model = manifest(served.folder)
    name, place = list(model.fault_tables.items())[2]
    size, spared = model.table_bytes[name], next(t for t in model.tables if t not in model.fault_tables)
    assert Fault.of(model, name, size - 1, 255) == Fault.of(model, name.removeprefix("m_"), size - 1, 255) == Fault(place, size - 1, 255)
    for symbol, offset, xor in (("nothing", 0, 1), (spared, 0, 1), (name, size, 1), (name, -1, 1), (name, 0, 0), (name, 0, 256)):
        with pytest.raises(EdgeqError, match="no byte"):
            Fault.of(model, symbol, offset, xor)


def test_a_board_with_another_model_is_refused(served: Served, tmp_path: Path) -> None:
    other, graph = make(tmp_path / "other", side=8)
    with running(served.program) as board:
        with pytest.raises(EdgeqError, match=r"runs another model \('m' for host"):
            serial.run(other, api.random_inputs(graph, 1), Port(board.port))
        with pytest.raises(EdgeqError, match="takes the place of target"):
            api.run(served.folder, port=Port(board.port), target="riscv")
        with pytest.raises(EdgeqError, match="no emitted folder"):
            api.run(served.folder / "m.c", port=Port(board.port))


def test_states_are_carried_reset_read_and_set(tmp_path: Path) -> None:
    real = normalise(declare_states(load(streaming_model())))  # type: ignore[arg-type]
    folder = api.build(api.quantize(real, {"frame": frames()}).graph, output=tmp_path / "m", target="host", check=False).folder
    x = {"frame": frames(12)}
    with running(link_host.build(folder, tmp_path)) as board:
        port = Port(board.port)
        assert api.compare_board(folder, port, x, steps=12).bit_exact
        outcome = api.run(folder, x, port=port)
        assert outcome.comparison is not None and outcome.comparison.bit_exact and outcome.run.runner == "board"
        with serial.connect(port, manifest(folder)) as device:
            data = Layout(manifest(folder)).pack(fit_inputs(outcome.graph, x))[1]
            blocks, kept = [], []
            for row in data[:4]:
                device.write(Area.INPUT, row.tobytes())
                device.invoke(reset=not blocks)
                blocks.append(device.read(Area.OUTPUT, device.output_bytes))
                kept.append(device.read(Area.STATE, manifest(folder).state_bytes))
            device.write(Area.STATE, kept[2])
            device.invoke()
            assert device.read(Area.OUTPUT, device.output_bytes) == blocks[3] and len(set(kept)) == 4
            device.reset()
            assert device.read(Area.STATE, len(kept[0])) not in kept


def test_damaged_weights_are_found_and_restored_by_their_inverse(served: Served) -> None:
    with running(served.program) as board:
        port = Port(board.port)
        good = api.compare_board(served.folder, port, served.inputs)
        assert good.bit_exact and good.outputs.vectors == 3 and good.steps is not None and good.steps.vectors == 1
        index = list(manifest(served.folder).tables).index(next(t for t in manifest(served.folder).tables if "s1_bias" in t))
        inverted = [Fault(index, i, 0xFF) for i in range(4)]
        with serial.connect(port) as device:
            device.damage(inverted)
        bad = api.compare_board(served.folder, port, served.inputs, steps=0)
        assert not bad.bit_exact and bad.tables == (list(manifest(served.folder).tables)[index],)
        assert bad.outputs.difference is not None and bad.steps is not None and bad.steps.difference is not None
        assert bad.steps.difference.tensor == manifest(served.folder).steps[1].tensor
        with serial.connect(port) as device:
            device.damage(inverted)
        assert api.compare_board(served.folder, port, served.inputs).bit_exact


@pytest.mark.parametrize("m", [*MAPS, FaultMap(seed=9, p=0.2)], ids=str)
def test_a_board_under_a_map_computes_what_the_simulator_does(m: FaultMap, served: Served) -> None:
    program = faults.hardened(graphfile.load(served.folder), targets.load("host"))
    damage = faults.Damage(program, m)
    assert len(damage.block) <= 24 + 12 * len(m.entries) and damage.bits > 0
    with running(served.program) as board:
        port = Port(board.port)
        with serial.connect(port) as device:
            device.damage(damage.block)
            assert [crc for crc, _ in device.checksums()] == damage.checksums
        result = api.compare_board(served.folder, port, served.inputs, steps=2, faults=m)  # mends first what was left
        assert result.bit_exact and result.damage is not None and result.steps is not None
        outcome = api.run(served.folder, served.inputs, port=port, faults=m)
        assert outcome.comparison is not None and outcome.comparison.bit_exact
        assert api.compare_board(served.folder, port, served.inputs).bit_exact  # and at the end


def test_a_long_list_travels_in_parts(served: Served) -> None:
    model = manifest(served.folder)
    name = next(t for t in model.fault_tables if t.endswith("weights"))
    listed = [Fault.of(model, name, i % model.table_bytes[name], 1 + i % 255) for i in range(500)]
    flips = np.zeros(model.table_bytes[name], np.uint8)
    np.bitwise_xor.at(flips, [f.offset for f in listed], np.uint8([f.xor for f in listed]))
    data = {c.symbol: c.data for _, c in faults.tables(faults.hardened(graphfile.load(served.folder), targets.load("host")))}
    with running(served.program) as board, serial.connect(Port(board.port)) as device:
        device.damage(listed)
        assert len(list(faults.parts(faults.listed(listed), device.frame))) == 2
        found, _ = device.checksums()[model.fault_tables[name]]
        assert found == zlib.crc32((data[name.removeprefix("m_")] ^ flips).tobytes())


def test_a_model_without_tables_is_served(tmp_path: Path) -> None:
    b = Builder(3, "single")
    folder = api.build(b.graph(b.pool(b.input(1, 4, 4, 2))), output=tmp_path / "m", target="host", vectors=0, check=False).folder
    with running(link_host.build(folder, tmp_path)) as board:
        assert api.compare_board(folder, Port(board.port)).bit_exact
        with pytest.raises(EdgeqError, match="no integer weights"):
            api.compare_board(folder, Port(board.port), faults=FaultMap(p=0.1))

"""The runner for boards: vectors through firmware/apps/serve on the other end of a serial port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.record import Manifest, manifest
from edgeq.run.device import UNKNOWN, Area, Device, Result
from edgeq.run.layout import Layout
from edgeq.run.link import Link
from edgeq.run.ports import Port
from edgeq.simulate import Run

NAME = "board"


@dataclass(frozen=True, eq=False)
class Measured:
    """A run on a board.

    Attributes:
        ticks: of the board's clock per inference, int64 ``[V]``.
        seconds: per inference, from the first byte of its input to the last of its output, float64 ``[V]``.
        wire_bytes: both ways; `payload_bytes` of them inputs, outputs and step tensors.
        retries: requests sent more than once.
    """

    run: Run
    ticks: Array
    seconds: Array
    wire_bytes: int
    payload_bytes: int
    retries: int


@contextmanager
def connect(port: Port, model: Manifest | None = None) -> Iterator[Device]:
    """A session with the board at a port.

    Args:
        model: the manifest of the model that its firmware must have been built from.

    Raises:
        EdgeqError: no board answers, or it runs another model.
    """
    with Link(port) as link:
        device = Device(link)
        if model is not None:
            _check(device, model)
        yield device


def _check(device: Device, model: Manifest) -> None:
    layout, told = Layout(model), device.description
    if told.get("sources_sha256") != model.sources_sha256:
        why = f"'{told.get('model')}' for {told.get('target')}, sources {str(told.get('sources_sha256'))[:12]}"
        fix = "build and flash the firmware of this folder"
        raise EdgeqError("the board runs another model", where=device.link.port.url, why=why, fix=fix)
    facts = (device.input_bytes, device.output_bytes, device.steps, device.tables)
    if facts != (layout.input_bytes, layout.output_bytes, len(layout.steps), len(model.tables)):
        raise device.link.strange("HELLO")


def infer(device: Device, layout: Layout, packed: bytes, *, steps: bool, reset: bool) -> tuple[Result, bytes, bytes]:
    """One inference.

    Returns:
        Its result, the output block and the step block, which is empty without `steps`.
    """
    device.write(Area.INPUT, packed)
    result = device.invoke(stop=steps, reset=reset)
    tensors = bytearray()
    for i, tensor in enumerate(layout.steps if steps else ()):
        if not result.at_step or (result.step, result.bytes) != (layout.step_of[i], tensor.bytes):
            raise device.link.strange("INVOKE")
        tensors += device.read(Area.STEP, result.bytes) + bytes(-result.bytes % 4)
        result = device.resume()
    if result.at_step:
        raise device.link.strange("INVOKE")
    return result, device.read(Area.OUTPUT, layout.output_bytes), bytes(tensors)


def step_ticks(device: Device) -> list[tuple[int, int]]:
    """Step and ticks of each tensor that an inference on the input that lies there now computes.

    Raises:
        EdgeqError: it stops more often than the model has steps.
    """
    ticks = []
    result = device.invoke(stop=True, reset=True)
    while result.at_step:
        ticks.append((result.step, result.ticks))
        if len(ticks) > device.steps:
            raise device.link.strange("RESUME")
        result = device.resume()
    return ticks


def line_speed(device: Device, amount: int) -> tuple[float, float]:
    """Bytes of payload per second to the board and from it: its input, written and read until `amount` bytes or 64 times."""
    rounds = min(-(-amount // device.input_bytes), 64)
    data = np.random.default_rng(0).bytes(device.input_bytes)
    begun = time.perf_counter()
    device.link.transact(device.writing(Area.INPUT, data) * rounds)
    middle = time.perf_counter()
    answers = device.link.transact(device.reading(Area.INPUT, len(data)) * rounds)
    end = time.perf_counter()
    if device.joined(answers, len(data) * rounds) != data * rounds:
        raise device.link.strange("READ")
    return len(data) * rounds / (middle - begun), len(data) * rounds / (end - middle)


def measure(
    device: Device,
    layout: Layout,
    inputs: Mapping[str, Array],
    *,
    steps: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Run every vector on a board in a session; see `run`."""
    vectors, packed = layout.pack(inputs)
    link = device.link
    before, retried = link.sent + link.received, link.retries
    results, outputs, tensors, seconds = [], [], [], []
    for v in range(vectors):
        begun = time.perf_counter()
        result, output, blocks = infer(device, layout, packed[v].tobytes(), steps=steps, reset=v == 0)
        seconds.append(time.perf_counter() - begun)
        results.append(result)
        outputs.append(np.frombuffer(output, np.uint8))
        tensors.append(np.frombuffer(blocks, np.uint8))
        if progress:
            progress(v + 1, vectors)
    counts = np.array([r.ticks for r in results], np.int64)
    stacks = [r.stack for r in results if r.stack != UNKNOWN]
    run = Run(
        NAME,
        layout.unpack_outputs(np.stack(outputs)),
        layout.unpack_steps(np.stack(tensors)) if steps else {},
        instructions=device.instructions(int(counts.max())),
        stack_bytes=max(stacks, default=None),
    )
    payload = packed.nbytes + vectors * (layout.output_bytes + layout.step_bytes * steps)
    return Measured(run, counts, np.array(seconds), link.sent + link.received - before, payload, link.retries - retried)


def run(
    folder: Path,
    inputs: Mapping[str, Array],
    port: Port,
    *,
    steps: bool = False,
    progress: Callable[[int, int], None] | None = None,
    faults: bytes = b"",
) -> Run:
    """Run every vector on the board at a port, whose firmware was built from `folder`.

    Args:
        inputs: per input ``[V, *shape]`` in the stored dtype.
        steps: stream every step's tensor too.
        progress: called with (vectors done, vectors in all).
        faults: a map (`faults.block`) that hits the model's tables meanwhile; the folder's program must be `hardened`.

    Raises:
        EdgeqError: no board answers, it runs another model, has its weights in flash where there is a map, is restarted or
            unplugged, or falls silent.
    """
    model = manifest(folder)
    with connect(port, model) as device, device.damaged(faults):
        return measure(device, Layout(model), inputs, steps=steps, progress=progress).run

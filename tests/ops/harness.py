"""One harness for every operator: each case against its float meaning, on the host, under the sanitizers and on emulated chips.

A test file lists its cases and calls `suite` once::

    CASES = [Case("plain", Softmax(), (activation((1, 10), 0.1, 3),), OUTPUT)]
    test_softmax = suite(CASES)

All cases of an operator become one graph per law, with an input and an output each, so that one build covers them all. Cases on int8
are computed in half precision as well, as if that were a third law, where the operator has that meaning.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import sanitized
from installed import need_emulator, need_programs, quickest, uncounted
from side_by_side import no_search

from edgeq import kernels, target
from edgeq.compare import compare
from edgeq.emit import Artifact, emit, write
from edgeq.formats.int4 import Int4
from edgeq.half import LAW
from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.lower import candidates, lower
from edgeq.numerics import LAWS
from edgeq.ops.add import Add
from edgeq.plan import plan
from edgeq.program import Program
from edgeq.run import gpu, host, run
from edgeq.simulate import Run, dequantize_array, simulate

VECTORS = 24  # on the host; the emulators take the first EMULATED
EMULATED = 8
EMULATORS = [t for t in ("riscv", "riscv-b", "cortex-m4", "cortex-m55", "riscv-v") if t in target.names()]  # each by its first runner
COMPILERS = ("gcc", "clang")
INTERPRETED = 6  # vectors for the GPU's kernels in Triton's interpreter
SAME_KERNELS = ("riscv", "riscv-b")  # flags of compilers alone tell them apart: where there are several laws, the second has tflm
FEW_CASES = 12
HALF_EMULATORS = [*EMULATORS, "riscv-f"]
HALF_VECTORS = "riscv-vh"  # for operators that have kernels of its own
HALF_PAIRS = "riscv-xcv-half"  # likewise
CORE_V = "riscv-xcv"  # likewise
ISAS = sorted({k.isa for k in kernels.scan()} - {"c"})  # their kernels run on this computer too, under the sanitizers


@dataclass(frozen=True, eq=False)
class Case:
    """An operator with the types of its inputs.

    Attributes:
        name: unique within the test file; names the node.
        inputs: a `TensorType` becomes a graph input, a `Tensor` with data a constant.
        output: the output's type where it is not what `infer` gives; QParams alone replace the scale.
        laws: requantization laws that apply.
        tolerance: largest distance to the float meaning, in steps of the output's scale.
        half_tolerance: how many times the usual distance a result in half precision may have to it.
        gpu: the GPU has a kernel for it.
        addend: the operator's result is added to a second input of this type; `total` is the sum's scale, `sum` the addition.
    """

    name: str
    op: Op
    inputs: tuple[TensorType | Tensor, ...]
    output: QParams | TensorType | None = None
    laws: tuple[str, ...] = LAWS
    tolerance: float = 1.02
    half_tolerance: float = 1.0
    gpu: bool = True
    addend: TensorType | None = None
    total: QParams | None = None
    sum: Add = Add()  # noqa: RUF009

    @property
    def types(self) -> tuple[TensorType, ...]:
        return tuple(i.type if isinstance(i, Tensor) else i for i in self.inputs)

    @property
    def output_type(self) -> TensorType:
        """Of the first output."""
        if isinstance(self.output, TensorType):
            return self.output
        inferred = self.op.infer(*self.types)
        return replace(inferred, q=self.output) if self.output else inferred

    @property
    def results(self) -> dict[str, TensorType]:
        """The outputs, the first called ``<case>_y``."""
        further = self.op.infer_all(*self.types)[1:]
        return {f"{self.name}_y": self.output_type, **{f"{self.name}_y{i}": t for i, t in enumerate(further, 1)}}


def activation(shape: tuple[int, ...], scale: float, zero_point: int = 0, dtype: DType = DType.INT8) -> TensorType:
    """A per-tensor quantized type."""
    return TensorType(shape, dtype, QParams((scale,), zero_point))


def constant(data: Array, scale: float | Sequence[float] | None, axis: int | None = None, zero_point: int = 0) -> Tensor:
    """A constant with its scale (several run along `axis`)."""
    dtype = next(d for d in DType if d.numpy == data.dtype)
    scales = None if scale is None else tuple(np.ravel(scale).astype(float).tolist())
    return Tensor("", TensorType(data.shape, dtype, None if scales is None else QParams(scales, zero_point, axis)), data)


def with_vectors(name: str, bits: int) -> target.Target:
    """A target of RISC-V vectors with registers of so many bits instead of 128; QEMU alone runs it."""
    machine = target.load(name)
    cpu = machine.data["qemu"]["cpu"]
    assert "vlen=128" in cpu
    return replace(machine, data={**machine.data, "qemu": {"cpu": cpu.replace("vlen=128", f"vlen={bits}")}})


def halved(case: Case) -> Case:
    """A case on int8 as one in half precision: the same shapes, constants in real numbers, biases in float32."""

    def convert(position: int, x: TensorType | Tensor) -> TensorType | Tensor:
        if position in case.op.traits.indices:
            return x
        if isinstance(x, TensorType):
            return TensorType(x.shape, DType.FLOAT16)
        assert x.data is not None
        bias = x.type.dtype is DType.INT32
        real = (_dequantized(x.type, x.data) / (64 if bias else 1)).astype(np.float32 if bias else np.float16)
        return Tensor("", TensorType(x.type.shape, DType.FLOAT32 if bias else DType.FLOAT16), real)

    inputs = tuple(convert(i, x) for i, x in enumerate(case.inputs))
    output = case.output_type if case.op.traits.counts_whole else TensorType(case.output_type.shape, DType.FLOAT16)
    return replace(case, inputs=inputs, output=output, laws=(LAW,), addend=None, total=None)


def with_int8_weights(case: Case, count: int = 1) -> Case:
    """A layer on int8 as one on halves that keeps `count` of its int8 weights."""
    half_case = halved(case)
    x, rest = half_case.inputs[0], half_case.inputs[1 + count :]
    return replace(half_case, name=f"{case.name}_w{8 if count == 1 else 88}", inputs=(x, *case.inputs[1 : 1 + count], *rest))


def summed_in_halves(case: Case) -> Case:
    """A layer on int8 as one on halves whose sums are halves, too."""
    half_case = halved(case)
    weights = half_case.inputs[1]
    assert isinstance(weights, Tensor)
    tolerance = half_case.half_tolerance * 4 * np.sqrt(weights.type.size / weights.type.shape[0])
    return replace(half_case, name=f"{case.name}_a16", op=replace(half_case.op, accumulate="f16"), half_tolerance=tolerance)  # type: ignore[call-arg]


def asymmetric(case: Case, zero: int) -> Case:
    """A layer whose weights have one scale and a zero point."""
    x, w, b = case.inputs
    assert isinstance(x, TensorType) and isinstance(w, Tensor) and isinstance(b, Tensor) and w.type.q is not None
    scale = float(np.mean(w.type.q.scale))
    weights = replace(w, type=replace(w.type, q=QParams((scale,), zero)))
    bias = replace(b, type=replace(b.type, q=QParams((x.scale * scale,))))
    return replace(case, name=f"{case.name}_wz", inputs=(x, weights, bias))


def of_four_bits(case: Case) -> Case:
    """A layer on int8 with its weights cut to four bits, and stored so."""
    x, w, *rest = case.inputs
    assert isinstance(w, Tensor) and w.data is not None
    data = np.clip(w.data >> 4, -7, 7).astype(np.int8)
    return replace(case, name=f"{case.name}_w4", inputs=(x, replace(w, data=data, format=Int4()), *rest))


def on_words(case: Case, output: float | None = None, tolerance: float = 3.0) -> Case:
    """A case on int8 as TFLite's 16x8 mode has it: activations int16 without zero point, 1/256 as coarse; weights int8."""

    def convert(position: int, x: TensorType | Tensor) -> TensorType | Tensor:
        if isinstance(x, Tensor) and position in case.op.parameters:
            if x.type.dtype is not DType.INT32 or x.data is None or x.type.q is None:
                return x
            scales = tuple(s / 256 for s in x.type.q.scale)  # of a bias, which follows the input's
            return Tensor("", replace(x.type, q=replace(x.type.q, scale=scales)), x.data * 256)
        t = x.type if isinstance(x, Tensor) else x
        wide = activation(t.shape, t.scale / 256, 0, DType.INT16)
        return wide if isinstance(x, TensorType) else Tensor("", wide, (x.data.astype(np.int16) * 250) if x.data is not None else None)

    inputs = tuple(convert(i, x) for i, x in enumerate(case.inputs))
    y = case.output_type
    words = activation(y.shape, output or y.scale / 256, 0, DType.INT16)
    return Case(f"{case.name}_words", case.op, inputs, words, ("tflm",), tolerance, gpu=False)


def computes_halves(case: Case) -> bool:
    """Whether `halved` applies: integers in and out, and the operator is not int8's own."""
    if case.name.endswith("_words"):
        return False
    results = [] if case.op.traits.counts_whole else [case.output_type]
    types = [*results, *(t for i, t in enumerate(case.types) if i not in (*case.op.parameters, *case.op.traits.indices))]
    return all(t.dtype in (DType.INT8, DType.INT16) for t in types) and type(case.op).bind_half is not Op.bind_half


def weights_and_bias(
    seed: int, x: TensorType, shape: tuple[int, ...], axis: int, *, per_channel: bool = True, saturated: bool = False
) -> tuple[Tensor, Tensor]:
    """Random int8 weights (full range; only +-127 where `saturated`) and an int32 bias of a tenth of the sum's spread."""
    rng = np.random.default_rng(seed)
    w = rng.choice([-127, 127], shape).astype(np.int8) if saturated else rng.integers(-127, 128, shape).astype(np.int8)
    channels = shape[axis]
    scales = rng.uniform(0.001, 0.01, channels if per_channel else 1)
    spread = 74 * 74 * np.sqrt(w.size / channels)
    b = rng.normal(0, spread / 10, channels).astype(np.int32)
    return constant(w, scales, axis), constant(b, x.scale * np.broadcast_to(scales, channels), 0)


def fitting_output(x: TensorType, w: Tensor, axis: int, zero_point: int = 0, width: float = 60) -> QParams:
    """An output scale for which random sums spread over +-`width` steps; below 1 LSB of a weight it hides nothing."""
    assert w.type.q is not None
    taps = w.type.size / w.type.shape[axis]
    return QParams((float(x.scale * np.mean(w.type.q.scale) * 74 * 74 * np.sqrt(taps) / width),), zero_point)


def vectors(name: str, t: TensorType, count: int) -> Array:
    """Deterministic data: saturated, alternating, at the zero point, narrow, then uniform over the whole range."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if t.dtype is DType.FLOAT16:
        data = rng.normal(0, 3, (count, *t.shape)).astype(np.float16)
        data[0], data[1], data[2] = 0, 200, -200
        data[3] = rng.integers(-2000, 2000, t.shape) * 2.0**-24  # subnormals, and the numbers above
        data[4] = np.where(np.arange(t.size).reshape(t.shape) % 2, 30, -31)
        return data
    if t.dtype is DType.FLOAT32:
        data = rng.normal(0, 4, (count, *t.shape)).astype(np.float32)
        data[0], data[1], data[2] = 0, 1000, -1000
        return data
    if t.dtype is DType.INT32 and t.q == QParams((1.0,)):  # indices: most of them within small tables, none that float32 does not hold
        data = rng.integers(-3, 20, (count, *t.shape)).astype(np.int32)
        data[0], data[1], data[2] = -(2**31), 2**31 - 128, 0
        return data
    info = np.iinfo(t.dtype.numpy)
    data = rng.integers(info.min, info.max, (count, *t.shape), endpoint=True)
    data[0], data[1], data[2] = info.min, info.max, t.zero_point
    data[3] = np.where(np.arange(t.size).reshape(t.shape) % 2, info.min, info.max)
    data[4] = np.clip(rng.normal(t.zero_point, 3, t.shape), info.min, info.max)
    return data.astype(t.dtype.numpy)


class _Bench:
    """The merged graph of all cases under one law, its program and what the simulator says of it.

    Attributes:
        copies: by case, how often it is there where that is more than once; what a copy reads, holds and says is the original's.
        original: of each tensor and node of a copy, the name in the original.
    """

    def __init__(self, cases: Sequence[Case], law: str, copies: Mapping[str, int] | None = None) -> None:
        self.law = law
        self.made: dict[str, _Built] = {}  # by ISA
        self.original: dict[str, str] = {}
        self.cases = [c for c in cases if law in c.laws]
        assert len({c.name for c in self.cases}) == len(self.cases), "case names must differ"
        tensors: dict[str, Tensor] = {}
        nodes: list[Node] = []
        inputs: list[str] = []
        outputs: list[str] = []
        again = [(c, i) for c in self.cases for i in range(1, (copies or {}).get(c.name, 1))]
        for case, copy in (*((c, 0) for c in self.cases), *again):
            own = case if copy == 0 else replace(case, name=f"{case.name}_again{copy}")
            names = []
            for i, x in enumerate(case.inputs):
                names.append(f"{(case if isinstance(x, Tensor) else own).name}_x{i}")
                tensors[names[-1]] = replace(x, name=names[-1]) if isinstance(x, Tensor) else Tensor(names[-1], x)
                inputs += [] if isinstance(x, Tensor) else [names[-1]]
            tensors |= {n: Tensor(n, t) for n, t in own.results.items()}
            nodes.append(Node(own.name, case.op, tuple(names), tuple(own.results)))
            outputs += own.results
            if case.addend is not None:
                outputs[-1] = f"{own.name}_z"
                tensors[f"{own.name}_a"] = Tensor(f"{own.name}_a", case.addend)
                tensors[outputs[-1]] = Tensor(outputs[-1], replace(case.output_type, q=case.total or case.output_type.q))
                inputs.append(f"{own.name}_a")
                nodes.append(Node(f"{own.name}_sum", case.sum, (f"{own.name}_y", f"{own.name}_a"), (outputs[-1],)))
            new = (*names, *nodes[-1].inputs, *own.results, outputs[-1], *(n.name for n in nodes[-2:]), own.name)
            self.original |= {n: case.name + n.removeprefix(own.name) for n in new if copy and n.startswith(own.name)}
        self.graph = check(Graph("cases", tuple(nodes), tensors, tuple(inputs), tuple(outputs), "single" if law == LAW else law), "test")
        self.data = {n: vectors(self.original.get(n, n), self.graph.type(n), VECTORS) for n in inputs}

    @functools.cached_property
    def expected(self) -> Run:
        """What the simulator says of the data, every step."""
        return simulate(self.graph, self.data, steps=True)

    def first(self, count: int) -> tuple[dict[str, Array], Run]:
        """The first vectors, and what the simulator says of them."""
        e = self.expected
        outputs, steps = ({n: a[:count] for n, a in part.items()} for part in (e.outputs, e.steps))
        return {n: a[:count] for n, a in self.data.items()}, replace(e, outputs=outputs, steps=steps)

    def with_copies(self, copies: Mapping[str, int]) -> _Bench:
        """With some cases more than once; the simulator is not asked again."""
        if not copies:
            return self
        bench, e = _Bench(self.cases, self.law, copies), self.expected
        outputs, steps = ({n: part[bench.original.get(n, n)] for n in names} for part, names in (
            (e.outputs, bench.graph.outputs), (e.steps, [n for node in bench.graph.nodes for n in node.outputs])))  # fmt: skip
        bench.expected = replace(e, outputs=outputs, steps=steps)
        return bench

    def built(self, name: str, isa: str = "c") -> _Built:
        """The program for a target; for the host with the kernels of some ISA. Each case is there once for each kernel of the best ISA
        that applies, so that one build and one start run them all."""
        machine = _machine(name, isa)
        best = {n: [k.name for k in ks] for n, ks in self.best(machine).items()}
        counts = {c.name: max(len(best.get(n, ())) for n in (c.name, f"{c.name}_sum")) for c in self.cases}
        bench = self.with_copies({n: count for n, count in counts.items() if count > 1})
        chosen: dict[str, str] = {}
        met = dict.fromkeys(best, 0)
        for node in bench.graph.nodes:
            original = bench.original.get(node.name, node.name)
            chosen[node.name] = best[original][met[original] % len(best[original])]
            met[original] += 1
        with no_search():
            program = lower(bench.graph, machine, chosen)
        used = {call.kernel.name for call in program.calls}
        alone = {kernel for c in self.cases if c.addend is None for kernel in best[c.name]}
        assert alone <= used, f"not used: {sorted(alone - used)}"
        return _Built(bench, program)

    def best(self, machine: target.Target) -> dict[str, list[kernels.Kernel]]:
        """By node, the kernels of the best ISA that applies."""
        found = {n.name: candidates(self.graph, n, machine.isa) for n in self.graph.nodes}
        return {n: [k for k in ks if (k.isa, k.signature) == (ks[0].isa, ks[0].signature)] for n, ks in found.items()}

    def chosen(self, isa: str) -> list[kernels.Kernel]:
        """All that the host's programs with those of some ISA use: what each case may, and what takes a sum with the layer before it."""
        best = self.best(_machine("host", isa))
        added = [c for c in self.cases if c.addend is not None]
        fused = [call.kernel for call in _Bench(added, self.law).on_host(isa).program.calls] if added else []
        return [*fused, *(k for c in self.cases if c.addend is None for k in best[c.name])]

    def on_host(self, isa: str = "c") -> _Built:
        """That for the host, which several checks need."""
        if isa not in self.made:
            self.made[isa] = self.built("host", isa)
        return self.made[isa]

    @functools.cached_property
    def preferred(self) -> _Built:
        """For the host, with the preferred kernels."""
        return _Built(self, self.program("host"))

    def program(self, name: str) -> Program:
        """For a target, with the preferred kernels."""
        with no_search():
            return lower(self.graph, target.load(name))

    def folder(self, program: Program, path: Path) -> Path:
        return _Built(self, program).folder(path)


@dataclass(frozen=True, eq=False)
class _Built:
    """A program of a bench."""

    bench: _Bench
    program: Program

    @functools.cached_property
    def artifact(self) -> Artifact:
        with no_search():
            return emit(self.program, plan(self.program), "cases")

    def folder(self, path: Path) -> Path:
        write(self.artifact, path)
        return path


def suite(cases: Sequence[Case]) -> Callable[..., None]:
    """The test function of an operator's cases: pytest collects it under the name that it is given."""
    benches: dict[str, _Bench] = {}
    plain = [c for c in cases if not c.name.endswith("_w4")]
    cases = [*cases, *{c.name: halved(c) for c in plain if computes_halves(c)}.values()]
    operators = _operators(cases)
    isas_of, pairs = _checks(cases, operators)

    def bench_of(law: str) -> _Bench:
        if law not in benches:
            benches[law] = _Bench(cases, law)
        return benches[law]

    @pytest.mark.parametrize(("law", "check"), [("all", "kernels"), *pairs])
    def test(law: str, check: str, tmp_path: Path) -> None:
        if check == "kernels":  # whatever tests ran before in this process, or did not
            used = [k for one in isas_of for isa in ("c", *isas_of[one]) for k in bench_of(one).chosen(isa)]
            _check_every_kernel_is_used(operators, used)
            return
        bench, path = bench_of(law), tmp_path / "model"
        if check == "real":
            _check_real(bench)
        elif check.startswith("sanitizers"):
            need_programs("gcc")
            isa = check.removeprefix("sanitizers").removeprefix("-") or "c"
            built = bench.on_host(isa)
            for done in sanitized.run(built.folder(path), built.bench.data):
                _check_equal(built.bench.expected, done)
        elif check == "gpu":
            for module in ("triton", "torch"):
                pytest.importorskip(module)
            some = _Bench(interpreted(cases, law), law)
            few, expected = some.first(INTERPRETED)
            _check_equal(expected, gpu.run(some.program("host"), few, steps=True, device="interpreter"))
        elif check in COMPILERS:
            need_programs(check)
            _check_equal(bench.expected, host.run(bench.preferred.folder(path), bench.data, steps=True, chain=check))
        else:
            need_emulator(check)
            chain, level = (quickest(check), "-Os") if law == "tflm" else (None, "-O3")  # so that two compilers' code runs, at two levels
            chain = "gcc" if check == HALF_PAIRS else chain  # Clang 22 ends in an error of its own on benches of this size
            built = bench.built(check)
            few, expected = built.bench.first(EMULATED)  # every case has its outputs: there is no step beside them
            _check_equal(expected, run(built.folder(path), uncounted(check), few, chain=chain, optimize=level))

    test.cases, test.operators = cases, operators  # type: ignore[attr-defined]
    return test


def _checks(cases: Sequence[Case], operators: set[str]) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The instruction sets that have kernels of their own, by law, and the checks: each a law and what is done under it."""
    own = [k for k in kernels.scan() if " + ".join((k.op, *k.epilogue)) in operators]
    isas = [isa for isa in ISAS if any(k.isa == isa for k in own)]
    laws = [law for law in (*LAWS, LAW) if any(law in c.laws for c in cases)]
    isas_of = {law: _own_text([k for k in own if k.signature.types.startswith("f16") == (law == LAW)]) for law in laws}
    checks = ["real", *(["gpu"] if any(c.gpu for c in cases) else []), "sanitizers"]
    compilers = {law: COMPILERS if len(laws) == 1 else COMPILERS[i % 2 : i % 2 + 1] for i, law in enumerate(laws)}  # in turn
    half_emulators = [*HALF_EMULATORS, *([HALF_VECTORS] if "zvfh" in isas else []), *([HALF_PAIRS] if "xfvec" in isas else [])]
    if "rvv" not in isas_of.get(LAW, ()):
        half_emulators.remove("riscv-v")  # the kernels of `riscv-f`
    emulators = {law: half_emulators if law == LAW else [*EMULATORS, *([CORE_V] if "xcv" in isas_of[law] else [])] for law in laws}
    if len(laws) > 1:
        emulators = {law: [e for e in names if e != SAME_KERNELS[law != "tflm"]] for law, names in emulators.items()}
    if "armv7em" in isas and "single" in emulators:  # cores whose loads are written for fewer instructions, and for fewer cycles
        emulators["single"] = ["cortex-m33" if name == "cortex-m4" else name for name in emulators["single"]]
    if "armv6m" in isas:
        emulators["tflm"] = [*emulators["tflm"], "cortex-m0"]  # whose products of 64 bits are made of halves
    native = {law: ["native"] if "host" in isas_of[law] else [] for law in laws}  # this computer's vectors; without them: sanitizers
    bounded = {law: [isa for isa in isas_of[law] if law == LAW or law == _sanitized(operators, isa, laws)] for law in laws}
    pairs = [
        (law, check)
        for law in laws
        for check in (*checks, *compilers[law], *(f"sanitizers-{isa}" for isa in bounded[law]), *emulators[law], *native[law])
    ]
    return isas_of, pairs


def _sanitized(operators: set[str], isa: str, laws: Sequence[str]) -> str:
    """The law of integers under which an instruction set's kernels run with the sanitizers. Where they read and write does not depend
    on it; how they requantize does, and of the operators that share it, half run it under each."""
    integers = [law for law in laws if law != LAW]
    return integers[zlib.crc32(f"{sorted(operators)} {isa}".encode()) % len(integers)] if integers else LAW


def _text(kernel: kernels.Kernel) -> tuple[object, ...]:
    """What two kernels share whose C is the same."""
    return kernel.path, *kernel.tile.items(), kernel.signature


def _own_text(own: Sequence[kernels.Kernel]) -> list[str]:
    """The instruction sets whose kernels this computer runs: less those that only share the text of others' kernels."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for kernel in own:
        found.setdefault(kernel.isa, set()).add(_text(kernel))
    seen: set[tuple[object, ...]] = set()
    kept = []
    for isa in sorted(found, key=lambda name: (name not in {Path(k.path).parent.name for k in own}, name)):
        if isa != "c" and found[isa] - seen:
            kept.append(isa)
        seen |= found[isa]
    return sorted(kept)


def interpreted(cases: Sequence[Case], law: str) -> list[Case]:
    """The cases under a law that the GPU's kernels are interpreted with: of many sizes of one operator some on each dtype, laws in turn."""
    own = [c for c in cases if law in c.laws and c.gpu]
    if len(own) <= FEW_CASES or differ(own):
        return own
    kinds: dict[tuple[object, ...], list[Case]] = {}
    for case in own:
        kinds.setdefault((*(t.dtype for t in case.types), getattr(case.op, "accumulate", "")), []).append(case)
    steps = {kind: -(-len(some) * len(kinds) // FEW_CASES) for kind, some in kinds.items()}
    return [c for kind, some in kinds.items() for c in some[steps[kind] // 2 if law == "tflm" else 0 :: steps[kind]]]


def differ(cases: Sequence[Case]) -> bool:
    """Whether the cases are of many operators rather than of many sizes."""
    return 2 * len({c.op for c in cases}) > len(cases)


def _operators(cases: Sequence[Case]) -> set[str]:
    """What the kernels are for."""
    added = {f"{c.op.kernel_op()} + {c.sum.kernel_op()}" for c in cases if c.addend is not None}
    return {c.op.kernel_op() for c in cases} | added


def check_on_chip(op: Op, x: TensorType, y: TensorType, data: Array, chip: str, folder: Path) -> None:
    """One operator of one input, emitted to `folder` and run on a chip, against the simulator; `data` ``[V, *x.shape]``."""
    need_emulator(chip)
    machine = uncounted(chip)
    tensors = {"x": Tensor("x", x), "y": Tensor("y", y)}
    graph = Graph("one", (Node("node", op, ("x",), ("y",)),), tensors, ("x",), ("y",))
    program = lower(graph, machine)
    write(emit(program, plan(program), "one"), folder)
    _check_equal(simulate(graph, {"x": data}), run(folder, machine, {"x": data}))


def _check_equal(expected: Run, actual: Run) -> None:
    result = compare(expected, actual)
    assert result.bit_exact, f"{actual.runner}: {result.difference}"


def _machine(name: str, isa: str) -> target.Target:
    machine = target.load(name)
    return replace(machine, isa=(isa, "c")) if isa != "c" else machine


def _check_every_kernel_is_used(operators: set[str], found: Sequence[kernels.Kernel]) -> None:
    """Each kernel of the operators is chosen by some case under some law, so that it is compared byte for byte."""
    used = {_text(kernel) for kernel in found}
    missing = {k.name for k in kernels.scan() if " + ".join((k.op, *k.epilogue)) in operators and _text(k) not in used}
    assert not missing, f"no case uses {sorted(missing)}"


def _dequantized(t: TensorType, data: Array) -> Array:
    if t.q is None:
        return data.astype(np.float32) if data.dtype == np.float16 else data
    scale = np.float32(t.q.scale).astype(np.float64)
    if len(scale) > 1:
        assert t.q.axis is not None
        scale = scale.reshape([-1 if i == t.q.axis else 1 for i in range(len(t.shape))])
        return (data * scale).astype(np.float32)
    return dequantize_array(data, t.q.scale[0], t.q.zero_point)


def _check_real(bench: _Bench) -> None:
    """The integer result stays within `tolerance` steps of the float meaning of the dequantized inputs."""
    for case in bench.cases:
        x = []
        for i, t in enumerate(case.types):
            tensor = bench.graph.tensors[f"{case.name}_x{i}"]
            x.append(_dequantized(t, tensor.data if tensor.data is not None else bench.data[tensor.name]))
        want, got, t = case.op.real(*x), bench.expected.steps[f"{case.name}_y"], case.output_type
        assert want.dtype == np.float32 and want.shape == (VECTORS, *t.shape), f"{case.name}: real gives {want.dtype}{want.shape}"
        assert got.dtype == t.dtype.numpy and got.shape == want.shape, f"{case.name}: reference gives {got.dtype}{got.shape}"
        if t.dtype is DType.FLOAT16:
            largest = np.abs(np.where(np.abs(want) < 65504, want, 0)).max(axis=tuple(range(1, want.ndim)), keepdims=True)
            want = np.where(np.abs(want) > 65519, np.copysign(np.inf, want), want)
            with np.errstate(invalid="ignore"):
                near = case.half_tolerance * (2.0**-10 * np.abs(want) + 2.0**-11 * largest + 2.0**-24)
                far = ~(np.abs(got - want) <= near) & (got != want)
            assert not (far & np.isfinite(want)).any(), f"{case.name}{np.argwhere(far)[0]}: {want[far][0]} against {got[far][0]}"
            continue
        if t.q is None:
            if np.isfinite(case.tolerance):
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=case.name)
            continue
        info = np.iinfo(t.dtype.numpy)
        steps = np.clip(want / np.float64(np.float32(t.scale)) + t.zero_point, info.min, info.max)
        distance = np.abs(steps - got)
        worst = np.unravel_index(distance.argmax(), distance.shape)
        assert distance[worst] <= case.tolerance, f"{case.name}{list(worst)}: float meaning {steps[worst]:.3f}, integer {got[worst]}"

"""Program and plan -> a self-contained folder of C99 (docs/generated-c.md). Templates lay out; this file names."""

from __future__ import annotations

import functools
import hashlib
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq import __version__, faults, record
from edgeq import folder as folders
from edgeq.emit.arrays import Table, ctype_of
from edgeq.emit.bands import BandNames, BandWriter, flow, records
from edgeq.emit.functions import Function, Functions, environment, values
from edgeq.emit.runtime import COPY, EXACT, STEP, TEAM, reached, whole, words
from edgeq.emit.shares import ShareWriter
from edgeq.emit.syntax import Names, block_comment, brief, comment, decimal, model_name
from edgeq.emit.tiles import lines
from edgeq.ir import Array, DType, TensorType
from edgeq.numerics import quantize_factor
from edgeq.ops.weights import bits
from edgeq.plan.arena import MemoryPlan
from edgeq.program import Band, Call, Program
from edgeq.record import Manifest
from edgeq.streams import warm_up
from edgeq.tables import Constants
from edgeq.text import first_name

EXACT_FLAGS = ("-ffp-contract=off", "-fno-strict-aliasing")  # the arithmetic depends on them


@dataclass(frozen=True, eq=False)
class Artifact:
    """An emitted model: file name -> bytes, and the manifest that is among them as manifest.json."""

    name: str
    files: Mapping[str, bytes]
    manifest: Manifest


class _Emitter:
    """Collects names and tables for one program."""

    def __init__(self, program: Program, plan: MemoryPlan, name: str) -> None:
        self.program, self.plan, self.graph, self.name = program, plan, program.graph, model_name(name)
        self.constants = Constants(program)
        self.functions = Functions(program, self.name, plan.trails)
        self.names = Names(self.name)  # of the functions that have the model's inputs and outputs as arguments
        if any(b.fed for b in program.bands):
            for word in ("fed", "rows", "count"):
                self.names.own(word)
        self.arguments = {n: self.names.external(n) for n in (*self.graph.given, *self.graph.results)}
        words = ("params", "parts", "decoded", "row", "pixel", "count", "failures", "i", "turn", "before", "after")
        self.locals = {n: self.names.own(n) for n in (*words, "starts", "team", "tile")}
        self.pointers: dict[str, str] = {}  # tensor in the arena -> its name in `<m>_invoke`
        self.state_offsets: dict[str, int] = {}
        self.state_bytes = 0
        for name, _ in self.graph.states:
            self.state_offsets[name] = self.state_bytes
            self.state_bytes += -(-self.graph.type(name).bytes // plan.alignment) * plan.alignment
        self.decoded: dict[tuple[int, str], int] = {}  # a table that is decoded at the start -> where in the state
        for key, size in program.decoded.items():
            self.decoded[key] = self.state_bytes
            self.state_bytes += -(-size // plan.alignment) * plan.alignment

    @functools.cached_property
    def tables(self) -> list[Table]:
        """The constant arrays."""
        return [Table(f"{self.name}_{c.symbol}", c.array) for c in self.constants.tables]

    def location(self, name: str) -> str:
        """The C expression of a tensor's address."""
        storage = self.program.storage(name)
        if storage in self.arguments:
            return self.arguments[storage]
        for output in self.graph.results:
            if self.program.storage(output) == storage:
                return self.arguments[output]
        tensor = self.graph.tensors[storage]
        if tensor.data is not None:
            return self.constant(storage)
        if storage in self.program.renewed:
            return f"({tensor.type.dtype.c} *)(void *)(kept + {self.state_offsets[self.program.renewed[storage]]})"
        if storage in self.state_offsets:
            return f"(const {tensor.type.dtype.c} *)(const void *)(kept + {self.state_offsets[storage]})"
        if storage not in self.pointers:
            self.pointers[storage] = self.names.external(first_name(storage)[0])
        return self.pointers[storage]

    def constant(self, name: str) -> str:
        """The symbol of a constant operand's table; nothing for other tensors."""
        storage = self.program.storage(name)
        return f"{self.name}_{self.constants.operand(storage)}" if self.graph.tensors[storage].is_constant else ""

    def steps(self) -> list[dict[str, Any]]:
        """One record per call: text for `<m>.c` and the manifest."""
        records: list[dict[str, Any]] = []
        symbols = {f"{self.name}_{c.symbol}" for c in self.constants.tables}
        bands = {i: b for b in self.program.bands for i in range(b.first, b.last + 1)}
        for i, call in enumerate(self.program.calls):
            function = self.functions.calls[i]
            tables = {n: f"{self.name}_{self.constants.symbol(i, n)}" for n in call.tables}
            inputs = [] if i in bands else [self.location(n) for n in call.operands]
            variadic = bool(getattr(call.node.op, "variadic", False))
            band = bands.get(i)
            arguments = [f"&{self.locals['decoded' if call.staged else 'params']}"] if function.members else []
            arguments += [self.locals["parts"]] if variadic else inputs
            arguments += [] if i in bands else [self.location(n) for n in call.outputs]
            if call.kernel.scratch != "0":
                arguments.append(f"bytes + {self.plan.scratch[i]}" if i in self.plan.scratch else "(void *)0")
            output, whole = self.graph.type(call.output), call.output not in self.program.lines
            more = [(n, self.graph.type(n)) for n in call.outputs[1:]]
            records.append(
                {
                    "index": i, "name": call.node.name, "op": call.kind, "kernel": call.kernel.name,
                    "epilogue": list(call.folded), "function": function,
                    "values": values(function, call, tables), "arguments": ", ".join(arguments), "gather": inputs if variadic else [],
                    "ctype": output.dtype.c, "bytes": output.bytes, "whole": whole, "band": None if band is None else band.first,
                    "law": call.params.law, "decodes": self.decodes(i, call, tables), "tiles": self.tiles(i, call, function, tables),
                    "shared": self.shares.lines(i) if call.shares else [],
                    "text": f"{call.kind}  {', '.join(str(self.graph.type(n)) for n in call.operands)} -> {output}",
                    "tensor": call.output, "dtype": output.dtype.value, "shape": list(output.shape), "macs": call.macs,
                    "bits": bits(call.node, self.graph.node_inputs(call.node)),
                    "scratch": call.scratch, "scratch_offset": self.plan.scratch.get(i), "operands": list(call.operands),
                    "tables": [x for x in (*tables.values(), *map(self.constant, call.operands)) if x in symbols],
                    "more": [{"tensor": n, "dtype": t.dtype.value, "shape": list(t.shape), "bytes": t.bytes} for n, t in more],
                    "hooks": [(i, self.location(n), self.graph.type(n).bytes) for n in call.outputs] if whole else [], "rows": [],
                }
            )  # fmt: skip
        for band in self.program.bands:
            own = records[band.first : band.last + 1]
            own[0] |= {"rows": self.rows(band, own), "band_last": band.last}
            own[-1]["hooks"] = [hook for r in own for hook in r["hooks"]]
            for r in own[:-1]:
                r["hooks"] = []
        return records

    def rows(self, band: Band, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """The statements of calls that run by bands."""
        calls = range(band.first, band.last + 1)
        names = BandNames(*(self.locals[n] for n in ("turn", "before", "after", "decoded", "params", "parts", "i")))
        placed = {i: f"bytes + {self.plan.scratch[i]}" if i in self.plan.scratch else "(void *)0" for i in calls}
        scratch = ["" if self.program.calls[i].kernel.scratch == "0" else placed[i] for i in calls]
        firsts = {n: f"fed->first[{k}]" if band.fed else self.names.own("first") for k, n in enumerate(band.kept)}
        decoded = [{d["member"]: d["place"] for d in r["decodes"]} for r in records]
        writer = BandWriter(
            self.program, band, names, [self.functions.calls[i] for i in calls], [r["values"] for r in records], decoded, scratch,
            self.inside if band.fed else self.location, self.plan.offsets.__getitem__, firsts, self.plan.behind,
        )  # fmt: skip
        return writer.turn() if band.fed else writer.lines()

    @functools.cached_property
    def shares(self) -> ShareWriter:
        """What writes the calls that several cores compute, or whose tables are copied first."""
        names = (self.locals["params"], self.locals["starts"], self.locals["team"], self.locals["tile"])
        return ShareWriter(
            self.program, self.functions.calls, self.name, self.location, lambda i, n: f"{self.name}_{self.constants.symbol(i, n)}",
            self.plan.scratch, self.plan.buffers, names,
        )  # fmt: skip

    def inside(self, name: str) -> str:
        """The C expression of a tensor's address in the arena, also where a result's own place is the caller's."""
        storage = self.program.storage(name)
        if storage not in self.plan.offsets:
            return self.location(name)
        return f"({self.graph.type(storage).dtype.c} *)(void *)(bytes + {self.plan.offsets[storage]})"

    @functools.cached_property
    def feeding(self) -> dict[str, Any] | None:
        """What the functions need that take the input row by row; `moved` are results that wait in the arena: place, offset, bytes."""
        band = next((b for b in self.program.bands if b.fed), None)
        if band is None or band.fed is None:
            return None
        made = {o for c in self.program.calls[band.first : band.last + 1] for o in c.outputs}
        fed, t = band.fed, self.graph.type(band.fed.name)
        results = [n for n in self.graph.results if self.program.storage(n) in made]
        return {
            "offset": self.plan.counters, "turns": band.turns, "calls": len(band.parts), "buffers": len(band.kept), "height": fed.height,
            "flow": flow(fed.flow, fed.height), "pitch": fed.pitch, "room": self.plan.offsets[fed.name], "ctype": t.dtype.c,
            "first": band.kept.index(fed.name), "row": fed.pitch // t.dtype.numpy.itemsize, "last": band.last,
            "moved": [(self.arguments[n], self.plan.offsets[self.program.storage(n)], self.graph.type(n).bytes) for n in results],
        }  # fmt: skip

    def tiles(self, step: int, call: Call, function: Function, symbols: Mapping[str, str]) -> list[str]:
        """The statements of a call in tiles."""
        if call.tiled is None:
            return []
        operands = [self.location(n) for n in call.operands]
        names, scratch = tuple(self.locals[n] for n in ("decoded", "row", "pixel", "count")), self.plan.scratch[step]
        return lines(call, names, function, scratch, symbols, operands, self.location(call.output))

    def decodes(self, step: int, call: Call, symbols: Mapping[str, str]) -> list[dict[str, Any]]:
        """Per staged table its member, the place in scratch that it is decoded to, and the calls that do it."""
        result = []
        for name, staged in call.staged.items():
            if call.tiled and name == "weights":
                continue
            table, at = call.tables[name], self.decoded.get((step, name))
            where = f"kept + {at}" if at is not None else f"bytes + {self.plan.scratch[step] + staged.offset}"
            place = f"({ctype_of(table)} *)(void *)({where})"
            lines = staged.statements(symbols[name], place, table)
            result.append({"member": name, "place": f"(const {place[1:]}", "lines": lines, "start": at is not None})
        return result

    def interface(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """The public description of inputs or outputs."""
        result = []
        own, fed = self.program.lines, {b.fed.name for b in self.program.bands if b.fed}
        used = {self.location(n) for c in self.program.calls for n in (*c.operands, *c.outputs) if self.program.storage(n) not in own}
        for n in names:
            t: TensorType = self.graph.type(n)
            result.append(
                {
                    "name": n, "argument": self.arguments[n], "shape": list(t.shape), "dtype": t.dtype.value, "ctype": t.dtype.c,
                    "bytes": t.bytes, "scale": None if t.q is None else float(t.scale), "zero_point": int(t.zero_point),
                    "offset": None if n in fed else self.plan.offsets[self.program.storage(n)],
                    "text": str(t), "used": self.arguments[n] in used, "size": t.size, "real": _real(t, self.graph.law),
                }
            )  # fmt: skip
        return result

    def states(self) -> list[dict[str, Any]]:
        """One record per state: where it lies, what it starts as and where its next value is found."""
        return [
            {
                "name": a, "next": b, "shape": list(t.shape), "dtype": t.dtype.value, "bytes": t.bytes,
                "scale": None if t.q is None else float(t.scale), "zero_point": int(t.zero_point),
                "offset": self.state_offsets[a], "ctype": t.dtype.c, "size": t.size, "text": str(t),
                "source": "" if b in self.program.renewed else self.location(b),
            }
            for a, b, t in ((a, b, self.graph.type(a)) for a, b in self.graph.states)
        ]  # fmt: skip

    def lifetimes(self) -> list[dict[str, Any]]:
        rows = [
            {
                "tensor": n, "pointer": self.pointers.get(n), "ctype": self.graph.type(n).dtype.c,
                "bytes": self.program.room(n), "offset": self.plan.offsets[n], "first": a, "last": b,
                "overwrites": self.plan.inplace.get(n),
            }
            for n, (a, b) in self.plan.lifetimes.items()
        ]  # fmt: skip
        return sorted(rows, key=lambda r: (r["first"], r["offset"], r["tensor"]))

    def facts(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        """What the manifest says, but for the files."""
        drop, hidden = ("ctype", "argument", "text", "used", "size", "real"), ("ctype", "size", "text", "source")
        keep = (
            "name", "op", "epilogue", "kernel", "law", "operands", "tensor", "dtype", "shape", "macs", "bits", "bytes", "scratch",
            "scratch_offset", "tables", "more", "whole", "band",
        )  # fmt: skip
        return {
            "format": record.FORMAT, "model": self.name, "target": self.program.target.name, "law": self.graph.law,
            "inputs": [{k: x[k] for k in x if k not in drop} for x in self.interface(self.graph.given)],
            "outputs": [{k: x[k] for k in x if k not in drop} for x in self.interface(self.graph.results)],
            "arena_bytes": self.plan.arena_bytes, "arena_alignment": self.plan.alignment,
            "arena_lower_bound": self.plan.lower_bound, "arena_method": self.plan.method, "state_bytes": self.state_bytes,
            "io_bytes": sum(self.graph.type(n).bytes for n in (*self.graph.given, *self.graph.results)),
            "weight_bytes": sum(t.bytes for t in self.tables),
            "macs": sum(c.macs for c in self.program.calls),
            "states": [{k: x[k] for k in x if k not in hidden} for x in self.states()],
            "steps": [{k: s[k] for k in keep} for s in steps],
            "lifetimes": [{k: x[k] for k in x if k not in ("pointer", "ctype")} for x in self.lifetimes()],
            "bands": records(self.program, self.plan.behind), "warm_up": warm_up(self.graph) if self.graph.states else None,
            "tables": {t.symbol: t.crc for t in self.tables},
            "table_bytes": {t.symbol: t.bytes for t in self.tables},
            "hardened": faults.is_hardened(self.program),
            "fault_tables": {f"{self.name}_{c.symbol}": place for place, c in faults.tables(self.program)},
        }  # fmt: skip


def _real(t: TensorType, law: str) -> dict[str, str] | None:
    """How C writes what turns real numbers into an integer type and back: scale, factor of `numerics.quantize`, ends; None of others."""
    if t.q is None or t.dtype not in (DType.INT8, DType.INT16):
        return None
    half = 1 << 8 * t.dtype.bytes - 1
    scale, factor = np.float32(t.scale), quantize_factor(law, t.scale)
    return {"scale": decimal(scale), "factor": decimal(factor), "least": str(-half), "most": str(half - 1)}


def step_checks(steps: Sequence[Mapping[str, Any]], vectors: Mapping[str, Array]) -> Array | None:
    """CRC-32 of what the hook delivers, uint32 ``[V, tensors]``; None unless all of these tensors are given."""
    names = [tensor["tensor"] for s in steps if s["whole"] for tensor in (s, *s["more"])]
    if not names or not set(names) <= set(vectors):
        return None
    rows = zip(*(vectors[n] for n in names), strict=True)
    return np.array([[zlib.crc32(np.ascontiguousarray(x).tobytes()) for x in row] for row in rows], np.uint32)


def rendered(template: str, context: Mapping[str, Any]) -> bytes:
    """What a template makes of a context, piece by piece: the text of large tables is never there twice."""
    text = io.BytesIO()
    for piece in environment().get_template(template).generate(context):
        text.write(piece.encode())
    return text.getvalue()


BY_WORDS = "EQ_ARMV7EM_BY_WORDS"  # a macro of the runtime's, see eq_simd_armv7em_loops.h


def emit(program: Program, plan: MemoryPlan, name: str, vectors: Mapping[str, Array] | None = None) -> Artifact:
    """Render the C of a program.

    Args:
        name: the model's name; made an identifier and the prefix of every external symbol.
        vectors: per input and output ``[V, *shape]`` in the stored dtype: the self-test's vectors. With the tensors of all
            steps too, the self-test of a board checks every step.
    """
    emitter = _Emitter(program, plan, name)
    functions, steps = emitter.functions.all, emitter.steps()
    facts = emitter.facts(steps)
    parts = emitter.functions.parts
    codes = [*parts, *(f.code for f in functions)]
    decoding = [line for s in steps for lines in (s["tiles"], s["rows"], *(d["lines"] for d in s["decodes"])) for line in lines]
    decoding += ["eq_band_rows eq_band_copy"] if emitter.feeding else []
    runtime = {STEP: whole(STEP)} | reached([*codes, *decoding])
    shares = emitter.shares
    fetches = shares.fetches()
    hooks = [TEAM] if any(len(c.shares) > 1 for c in program.calls) else []
    hooks += [COPY] if fetches else []
    runtime |= {h: whole(h) for h in hooks}
    floats = "float" in words("\n".join([*codes, *runtime.values()]))
    runtime |= {EXACT: whole(EXACT)} if floats else {}
    includes = [h for h in reached(codes) if h != EXACT]
    tables = None if vectors is None else {n: Table(f"{emitter.name}_vectors_{a}", vectors[n]) for n, a in emitter.arguments.items()}
    checks = step_checks(steps, vectors or {})
    context = {
        "m": emitter.name, "M": emitter.name.upper(), "functions": functions, "shared_parts": parts, "steps": steps,
        "tables": emitter.tables, "inputs": emitter.interface(program.graph.given),
        "outputs": emitter.interface(program.graph.results), "manifest": facts, "lifetimes": emitter.lifetimes(),
        **emitter.locals,
        "comment": comment, "block_comment": block_comment, "brief": brief,
        "by_words": any(BY_WORDS in words(runtime[h]) for h in includes) and program.target.data.get("timing", {}).get("load_words", 0) > 0,
        "states": emitter.states(), "decoded_bytes": sum(program.decoded.values()), "includes": includes, "feeding": emitter.feeding,
        "flags": EXACT_FLAGS, "floats": floats, "version": __version__,
        "decoders": list(reached(decoding)), "hook_headers": hooks, "shared_calls": [p.lines() for p in shares.parts()], "fetches": fetches,
        "fetch": shares.fetch(shares.fetching[0]) if fetches else "",
        "buffers": [(i, o, f.bytes) for i, own in plan.buffers.items() for o in own if (f := program.calls[i].fetched)],
        "checks": None if checks is None else Table(f"{emitter.name}_step_checks", checks), "vectors": tables,
        "vector_count": 0 if vectors is None else len(next(iter(vectors.values()))),
    }  # fmt: skip
    m = emitter.name
    names = {
        "model.h": f"{m}.h", "model.c": f"{m}.c", "kernels.h": f"{m}_kernels.h", "kernels.c": f"{m}_kernels.c",
        "weights.h": f"{m}_weights.h", "weights.c": f"{m}_weights.c", "main.c": "main.c", "SConscript": "SConscript",
        "CMakeLists.txt": "CMakeLists.txt", "eq_model.h": "eq_model.h",
    }  # fmt: skip
    if vectors is not None:
        names |= {"vectors.h": f"{m}_vectors.h", "vectors.c": f"{m}_vectors.c"}
    files = {out: rendered(f"model/{t}.j2", context) for t, out in names.items()}
    files |= {name: text.encode() for name, text in runtime.items()}
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode())
        digest.update(files[name])
    files["README.md"] = rendered("model/README.md.j2", context)
    manifest = record.convert({**facts, "sources_sha256": digest.hexdigest(), "files": folders.digests(files)}, Manifest)
    files[folders.MANIFEST] = manifest.text().encode()
    return Artifact(m, dict(sorted(files.items())), manifest)


def write(artifact: Artifact, folder: Path) -> None:
    """Write the files, all or nothing, in place of what edgeq wrote there before.

    Raises:
        EdgeqError: the folder holds something else, or cannot be written.
    """
    with folders.claimed(folder) as place:
        folders.write(place, artifact.files)

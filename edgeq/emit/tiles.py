"""The C of a call that runs in tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeq.emit.arrays import ctype_of
from edgeq.emit.functions import Function
from edgeq.program import Call

Line = str


def lines(
    call: Call, names: Sequence[str], function: Function, scratch: int, symbols: Mapping[str, str], operands: Sequence[str],
    output: str,
) -> list[Line]:  # fmt: skip
    """Statements that compute a call by tiles.

    Args:
        names: C variables: a copy of the call's constants, of which tiles change some; the first row of a tile, the first pixel of a
            band and how many it has.
        function: the kernel.
        scratch: the offset in the arena of the call's scratch.
        symbols: the C names of its tables.
        operands, output: C expressions of pointers to the tensors.
    """
    assert call.tiled is not None
    form, s, weights = call.tiled, call.params.scalars, call.staged["weights"]
    channels, pixels = int(s["out_c"]), int(s.get("out_h", 1)) * int(s.get("out_w", 1))
    depth = call.params.tables["weights"].size // channels
    copied, banded = form.source >= 0, form.pixels < pixels
    params, row, pixel, many = names
    read = {m.name for m in function.members}
    count = many if banded else str(pixels)

    def room(offset: int, ctype: str = "void") -> str:
        return f"({ctype} *)(void *)(bytes + {scratch + offset})"

    tile = call.tables["weights"][0]
    stream = f"{symbols['weights']} + {row} / {form.rows} * {weights.data.shape[1]}"
    decode = weights.statements(stream, room(weights.offset, ctype_of(tile)), tile)
    moved = [n for n in call.tables if n in read and n != "weights" and len(call.params.tables[n]) == channels]
    base = {n: room(call.staged[n].offset, ctype_of(call.tables[n])) if n in call.staged else symbols[n] for n in moved}
    decode += [f"{params}.{n} = {base[n]} + {row};" for n in moved]
    at = f" + {pixel} * {channels}" if banded else ""
    target = room(form.result, "int8_t") if form.result >= 0 else f"({output}) + {row}"
    source = room(form.source, "int8_t") if copied else f"({operands[0]}){f' + {pixel} * {depth}' if banded else ''}"
    rest = [target] if len(operands) > 1 else []
    run = []
    if rest:
        run.append(f"eq_tile_move({target}, {form.rows}, ({operands[1]}){at} + {row}, {channels}, {count}, {form.rows});")
    where = [] if call.kernel.scratch == "0" else [room(0) if form.result >= 0 or weights.offset else "(void *)0"]
    run.append(f"{function.symbol}({', '.join([f'&{params}', source, *rest, target, *where])});")
    if form.result >= 0:
        run.append(f"eq_tile_move(({output}){at} + {row}, {channels}, {target}, {form.rows}, {count}, {form.rows});")
    head = [f"{params}.out_c = {form.rows};"] if "out_c" in read else []
    head += [f"{params}.weights = {room(weights.offset, ctype_of(tile))};"]
    head += [f"{params}.{n} = 1;" for n in ("in_h", "out_h") if banded and n in read]
    rows = f"for (int32_t {row} = 0; {row} < {channels}; {row} += {form.rows}) {{"
    if not banded:
        return [*head, rows, *_inner([*decode, *run]), "}"]
    bands = f"for (int32_t {pixel} = 0; {pixel} < {pixels}; {pixel} += {form.pixels}) {{"
    sizes = [f"const int32_t {many} = {pixels} - {pixel} < {form.pixels} ? {pixels} - {pixel} : {form.pixels};"]
    sizes += [f"{params}.{n} = {many};" for n in ("in_w", "out_w") if n in read]
    if not copied:
        return [*head, rows, *_inner([*decode, bands, *_inner([*sizes, *run]), "}"]), "}"]
    copy = f"eq_tile_move({source}, {depth}, ({operands[0]}) + {pixel} * {depth}, {depth}, {many}, {depth});"
    return [*head, bands, *_inner([*sizes, copy, rows, *_inner([*decode, *run]), "}"]), "}"]


def _inner(lines: Sequence[Line]) -> list[Line]:
    return [f"    {line}" for line in lines]

"""The C of calls that several cores compute, and of tables that are copied before they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgeq.emit.functions import Function, values
from edgeq.program import Call, Program, Share

Line = str


@dataclass(frozen=True)
class Part:
    """A C function that computes a part of a call, given the number of the part, and the struct that says of which call.

    Attributes:
        operands: C types of operands and results.
        fetched: those of its tables that are copied.
        copied: its constants are copied first: what is constant lies in slow memory.
        first: tiles change the first unit of a recurrent layer's part.
    """

    symbol: str
    function: Function
    operands: tuple[str, ...]
    fetched: tuple[str, ...]
    scratch: bool
    copied: bool
    first: bool

    @property
    def struct(self) -> str:
        return self.symbol.removesuffix("_part") + "_team"

    @property
    def columns(self) -> int:
        """Numbers of a part: where its own begins in each operand, result and copied table."""
        return len(self.operands) + len(self.fetched)

    def lines(self) -> list[Line]:
        """Its definition."""
        function, columns = self.function, self.columns
        members = [f"const {function.struct} *params;"] if function.members else []
        members += ["const int32_t *starts;", *(f"{t}x{i};" for i, t in enumerate(self.operands))]
        members += [f"const unsigned char *{n};" for n in (["tables"] if self.fetched else [])]
        members += ["unsigned char *scratch;", "int32_t each;"] if self.scratch else []
        members += ["int32_t first;"] if self.first else []
        arguments = [f"team->x{i} + at[{i}]" for i in range(len(self.operands))]
        arguments += ["team->scratch + part * team->each"] if self.scratch else []
        body = [f"const {self.struct} *const team = (const {self.struct} *)what;"]
        body += [f"const int32_t *const at = team->starts + {columns} * part;"]
        own = "team->params + part"
        if self.copied:
            body.append(f"{'' if self.fetched else 'const '}{function.struct} own = team->params[part];")
            types = {m.name: m.ctype for m in function.members}
            for k, name in enumerate(self.fetched):
                body.append(f"own.{name} = ({types[name]})(const void *)(team->tables + at[{len(self.operands) + k}]);")
            body += ["own.first_unit += team->first;"] if self.first else []
            own = "&own"
        body.append(f"{function.symbol}({', '.join([*([own] if function.members else []), *arguments])});")
        head = ["typedef struct {", *(f"    {m}" for m in members), f"}} {self.struct};", ""]
        return [*head, f"static void {self.symbol}(const void *what, int32_t part)", "{", *(f"    {line}" for line in body), "}"]


@dataclass(frozen=True)
class ShareWriter:
    """What the statements of shared calls are made from.

    Attributes:
        model: the model's name.
        place: C expression of a tensor's address.
        symbol: C name of a table: (call, name).
        scratch, buffers: offsets in the arena, of the calls that have such.
        names: C variables: the array of constants, that of starts, the struct, a tile's number.
    """

    program: Program
    functions: Sequence[Function]
    model: str
    place: Callable[[str], str]
    symbol: Callable[[int, str], str]
    scratch: Mapping[int, int]
    buffers: Mapping[int, tuple[int, ...]]
    names: tuple[str, str, str, str]

    @property
    def shared(self) -> list[int]:
        """The calls that are written here."""
        return [i for i, c in enumerate(self.program.calls) if c.shares]

    def _fetched(self, i: int) -> tuple[str, ...]:
        """The tables of a call that are copied, of those that its function reads."""
        call = self.program.calls[i]
        members = {m.name for m in self.functions[i].members if m.table}
        return tuple(n for n in (call.fetched.pieces if call.fetched else ()) if n in members)

    def part(self, i: int) -> Part:
        """The function for the parts of a call."""
        call, graph = self.program.calls[i], self.program.graph
        types = [f"const {graph.type(n).dtype.c} *" for n in call.operands] + [f"{graph.type(n).dtype.c} *" for n in call.outputs]
        fetched = self._fetched(i)
        tables = {m.name for m in self.functions[i].members if m.table}
        tiled = call.fetched is not None and call.fetched.tiles > 1
        first = tiled and any(m.name == "first_unit" for m in self.functions[i].members)
        which = "" if not fetched else "_fetched" if set(fetched) == tables else "_" + "_".join(fetched)
        which += "_tiles" if first else ""
        copied = bool(self.buffers) and bool(self.functions[i].members)
        symbol, scratch = f"{self.functions[i].symbol}{which}_part", call.kernel.scratch != "0"
        return Part(symbol, self.functions[i], tuple(types), fetched, scratch, copied, first)

    def parts(self) -> list[Part]:
        """All functions for parts, each once."""
        return list({p.symbol: p for p in map(self.part, self.shared)}.values())

    def lines(self, i: int) -> list[Line]:
        """The statements of a call."""
        call, part, function = self.program.calls[i], self.part(i), self.functions[i]
        params, starts, team, tile = self.names
        fetched, rest = call.fetched, call.fetched.rest if call.fetched else 0
        every, count, found = len(call.shares), len(call.shares) - rest, []
        if function.members:
            found.append(f"static const {function.struct} {params}[{every}] = {{")
            found += [f"    {{{self._values(i, s, part.fetched)}}}," for s in call.shares]
            found.append("};")
        rows = ", ".join("{" + ", ".join(map(str, self._starts(call, s, part.fetched))) + "}" for s in call.shares)
        found.append(f"static const int32_t {starts}[{every}][{part.columns}] = {{{rows}}};")
        members = [params] if function.members else []
        members += [f"{starts}[0]", *(self.place(n) for n in (*call.operands, *call.outputs))]
        buffers = [f"bytes + {o}" for o in self.buffers.get(i, ())] if part.fetched else []
        members += buffers[:1]
        if part.scratch:
            each = call.scratch // count
            members += [f"bytes + {self.scratch[i]}" if i in self.scratch else "(unsigned char *)0", str(each)]
        members += ["0"] if part.first else []
        const = "" if fetched and fetched.tiles > 1 else "const "
        found.append(f"{const}{part.struct} {team} = {{{', '.join(members)}}};")
        alone = count == 1 and rest < 2
        run = f"eq_fork({part.symbol}, &{team}, {count});" if not alone else f"{part.symbol}(&{team}, 0);"
        if fetched is None:
            return [*found, run]
        if fetched.tiles == 1:
            return [*found, *self._arrived(i, tile), run]
        inner = self._arrived(i, tile)
        inner.append(f"{team}.tables = {tile} % 2 == 0 ? {buffers[0]} : {buffers[1]};")
        if rest:
            last = [f"{team}.params += {count};"] if function.members else []
            last.append(f"{team}.starts += {part.columns * count};")
            inner += [f"if ({tile} == {fetched.tiles - 1}) {{", *(f"    {line}" for line in last), "}"]
            run = run if alone else f"eq_fork({part.symbol}, &{team}, {tile} < {fetched.tiles - 1} ? {count} : {rest});"
        moved = [f"{team}.x{k} += {fetched.step};" for k in fetched.moved]
        moved += [f"{team}.first += {fetched.step};"] if part.first else []
        loop = f"for (int32_t {tile} = 0; {tile} < {fetched.tiles}; {tile}++) {{"
        return [*found, loop, *(f"    {line}" for line in [*inner, run, *moved]), "}"]

    def _values(self, i: int, share: Share, fetched: tuple[str, ...]) -> str:
        call = replace(self.program.calls[i], params=share.params)
        symbols = {n: self.symbol(i, n) for n in call.tables}
        moved = {n: f"{s} + {share.tables[n]}" if share.tables.get(n) else s for n, s in symbols.items()}
        given = {**moved, **dict.fromkeys(fetched, "0")}
        return ", ".join(f".{n} = {v}" for n, v in values(self.functions[i], call, given).items())

    def _starts(self, call: Call, share: Share, fetched: tuple[str, ...]) -> list[int]:
        found = list(share.starts)
        for name in fetched:
            assert call.fetched is not None
            found.append(call.fetched.pieces[name][0] + share.tables.get(name, 0) * call.tables[name].itemsize)
        return found

    @property
    def fetching(self) -> list[int]:
        """The calls whose tables are copied."""
        return [i for i, c in enumerate(self.program.calls) if c.fetched]

    def fetch(self, i: int, tile: str = "0") -> Line:
        """The statement that begins the copies of a call's tile."""
        fetched = self.program.calls[i].fetched
        return f"{self.model}_fetch{i}(bytes{f', {tile}' if fetched and fetched.tiles > 1 else ''});"

    def _arrived(self, i: int, tile: str) -> list[Line]:
        """Statements that wait for a call's tile, and begin the copies of what comes next."""
        fetched = self.program.calls[i].fetched
        assert fetched is not None
        found, last = ["eq_copy_wait();"], fetched.tiles - 1
        after = [self.fetch(k) for k in self.fetching if k > i][:1]
        if last:
            found += [f"if ({tile} < {last}) {{", f"    {self.fetch(i, f'{tile} + 1')}"]
            found += ["} else {", *(f"    {line}" for line in after)] if after else []
            return [*found, "}"]
        return [*found, *after]

    def fetches(self) -> list[list[Line]]:
        """The functions that begin copies; tiles find what all of them read where the two before left it."""
        return [self._fetch(i) for i in self.fetching]

    def _fetch(self, i: int) -> list[Line]:
        call, (first, *second) = self.program.calls[i], self.buffers[i]
        assert call.fetched is not None
        last, every, once = call.fetched.tiles - 1, list[Line](), list[Line]()
        for name in self._fetched(i):
            at, step = call.fetched.pieces[name]
            table = call.tables[name]
            to = f"to + {at}" if at else "to"
            if not step:
                once.append(f"eq_copy_start({to}, {self.symbol(i, name)}, {table.nbytes}u);")
                continue
            size, rest = step * table.itemsize, table.nbytes - last * step * table.itemsize
            some = f"tile < {last} ? {size}u : {rest}u" if rest < size else f"{size}u"
            every.append(f"eq_copy_start({to}, {self.symbol(i, name)} + {step} * tile, {some});")
        if second and once:
            once = ["if (tile < 2) {", *(f"    {line}" for line in once), "}"] if last > 1 else once
        place = f"(tile % 2 == 0 ? {first} : {second[0]})" if second else f"{first}"
        body = [f"unsigned char *const to = bytes + {place};", *every, *once]
        argument = ", int32_t tile" if last else ""
        return [f"static void {self.model}_fetch{i}(unsigned char *bytes{argument})", "{", *(f"    {line}" for line in body), "}"]

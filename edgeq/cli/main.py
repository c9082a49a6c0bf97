"""The command line: verbs from this package's modules, one way to fail."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgeq import system
from edgeq.cli import (
    accuracy,
    bench,
    build,
    compare,
    doctor,
    export,
    faults,
    features,
    firmware,
    flash,
    inspect,
    new,
    profile,
    quantize,
    report,
    run,
    search,
    simulate,
    targets,
    tune,
)
from edgeq.cli.options import completed
from edgeq.errors import EdgeqError
from edgeq.files import reason

VERBS = (
    build, quantize, simulate, run, compare, profile, accuracy, features, faults, tune, search, firmware, flash, bench, export, new, report,
    inspect, targets, doctor,
)  # fmt: skip
INTERRUPTED = 130
LONGEST = 8000  # characters of a message
WRITTEN = ("output", "plot", "frames")  # the parameters of verbs that name files to write


class _Warning(logging.Formatter):
    """One line that a terminal can show."""

    def format(self, record: logging.LogRecord) -> str:
        return f"edgeq: warning: {shown(record.getMessage())}"


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Warnings of the library as lines on stderr, each once, however often a tensor is met."""
    lines, seen = logging.StreamHandler(sys.stderr), set[str]()

    def new(record: logging.LogRecord) -> bool:
        known = record.getMessage() in seen
        seen.add(record.getMessage())
        return not known

    lines.setFormatter(_Warning())
    lines.addFilter(new)
    logging.getLogger("edgeq").addHandler(lines)
    try:
        yield
    finally:
        logging.getLogger("edgeq").removeHandler(lines)


class Verbs(TyperGroup):
    """Lets no exception out but those that end a program in order: each becomes one line and an exit code."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.rich_markup_mode = None  # plain, and without the time that rich takes to be imported; verbs have panels
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(n, " ".join((c.help or "").split("\n\n")[0].split())) for n, c in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if not all(word.strip() for word in rest):
            told = f"an argument of edgeq {name} is empty; perhaps a variable of your shell is not set"
            raise EdgeqError(told, fix="give it, or leave its option out")
        return name, command and careful(completed(name or "", command)), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings_on_stderr():
                return super().invoke(ctx)
        except EdgeqError as e:
            fail(str(e), e)
        except KeyboardInterrupt:
            eval("0")  # CPython remembers an interrupt within an exec'd string (a dataclass in the making, say) and would die of it
            print("edgeq: interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as e:
            if hasattr(e, "exit_code"):  # a usage error, which typer shows
                raise
            if system.out_of_memory(e):
                fail(system.FULL, e)
            if isinstance(e, OSError):
                fail(f"{e.filename or 'standard output'}: {reason(e)}", e)
            fail(f"{type(e).__name__}: {e} (this is a bug of edgeq: EDGEQ_DEBUG=1 shows where; please report it)", e)


def careful(command: Any) -> Any:
    """A verb's command that reads no file which it is to write over."""
    invoke = command.invoke

    def call(ctx: Any) -> Any:
        refuse_overwriting(ctx.params)
        return invoke(ctx)

    command.invoke = call
    return command


def refuse_overwriting(values: Mapping[str, Any]) -> None:
    """Refuse a verb's options where a file to write is one that is read: also by another name, or through a link.

    Raises:
        EdgeqError: names both.
    """
    paths = [(n, Path(p)) for n, v in values.items() for p in (v if isinstance(v, (list, tuple)) else [v]) if isinstance(p, (str, Path))]
    read, written = ([p for n, p in paths if (n in WRITTEN) == w and _is_file(p)] for w in (False, True))
    for output in written:
        if given := [str(p) for p in read if p.samefile(output)]:
            why = f"it is {given[0]}"
            raise EdgeqError("this file is read and would be overwritten", where=str(output), why=why, fix="write another file")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that cannot be a path
        return False


def fail(message: str, error: BaseException) -> None:
    """End with one line on stderr; the traceback only where it was asked for.

    Raises:
        typer.Exit: always, with code 1.
    """
    if os.environ.get("EDGEQ_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    text = message if "\n" in message and isinstance(error, EdgeqError) else " ".join(message.split())
    print(f"edgeq: error: {shown(text)}", file=sys.stderr)
    raise typer.Exit(1) from None


def shown(text: str) -> str:
    """A message fit for a terminal, whatever names and bytes of a file are in it: no control characters, and not without end."""
    plain = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST // 2]} ... {plain[-LONGEST // 2 :]}"


app = typer.Typer(
    cls=Verbs, no_args_is_help=True, add_completion=True, rich_markup_mode="rich", pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turns trained models into C99 for microcontrollers and proves that the chip computes what the desktop said.",
    epilog="Exit codes: 0 done, 1 failure or a difference found, 2 wrong usage, 130 interrupted.",
)  # fmt: skip


def show_version(wanted: bool) -> None:
    if wanted:
        from edgeq import __version__

        typer.echo(f"edgeq {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Options before the verb."""


for module in VERBS:
    module.register(app)


def flush() -> None:
    """Write out what is left for stdout; where it takes no more, say so and end with code 1, silently where its reader has gone."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(e, BrokenPipeError):
            print(f"edgeq: error: standard output: {reason(e)}", file=sys.stderr)
            sys.exit(1)


def main() -> None:
    """The program `edgeq`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a check mark must not fail on a terminal that has none
    try:
        app(prog_name="edgeq")
    except OSError as e:  # of an option that prints and ends, before any verb
        print(f"edgeq: error: {e.filename or 'standard output'}: {reason(e)}", file=sys.stderr)
        sys.exit(1)
    finally:
        flush()

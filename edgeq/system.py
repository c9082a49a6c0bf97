"""What differs between Linux, macOS and Windows: the user's cache, processes by number, drives. Locks are where `fcntl` is."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import string
import subprocess
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

WINDOWS = os.name == "nt"
MOUNTS = Path("/proc/mounts")  # Linux
VOLUMES = Path("/Volumes")  # macOS
QUERY, STILL_ACTIVE, DENIED = 0x1000, 259, 5  # of the Windows API
FULL = "out of memory. Fix: raise the limit (ulimit -v), or take fewer vectors or samples at a time (--limit, --calib-limit)"
UNMAPPED = ("failed to map segment", "cannot allocate memory")  # what the loader says of a library for which there is no room


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is about memory that is not there: also of a library that cannot be imported and, where memory has a limit, of an
    interpreter that does not know why it failed."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, ImportError):
        return any(text in str(error).lower() for text in UNMAPPED)
    vague = isinstance(error, SystemError) or (isinstance(error, RuntimeError) and str(error) == "can't start new thread")
    return vague and resource is not None and resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def cache() -> Path:
    """The folder in which the user's programs keep what can be made again: ``$XDG_CACHE_HOME``, ``%LOCALAPPDATA%`` or ``~/.cache``.

    Raises:
        OSError: the user has no home.
    """
    named = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if WINDOWS else None)
    try:
        return Path(named or "~/.cache").expanduser()
    except RuntimeError as e:
        raise OSError(errno.ENOENT, "the user has no home") from e


def kept() -> Path | None:
    """The folder of the user's cache in which edgeq keeps code that it compiled, made where it is missing; None where there can be none.

    What lies there is linked and loaded: a folder that others may write is not taken.
    """
    try:
        path = cache() / "edgeq"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = path.stat()
    except OSError:
        return None
    return path if WINDOWS or (about.st_uid == os.getuid() and not about.st_mode & 0o022) else None


def alive(pid: int) -> bool:
    """Whether a process of that number runs; True where that cannot be known."""
    if WINDOWS:
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _alive_on_windows(pid: int) -> bool:
    """`os.kill` would end it there."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(QUERY, False, pid)
    if not handle:
        return bool(ctypes.get_last_error() == DENIED)  # type: ignore[attr-defined, unused-ignore]
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not known or code.value == STILL_ACTIVE


def kill(process: subprocess.Popen[str]) -> None:
    """End a program that leads a group of its own, and all that it started."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if WINDOWS:
            words = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def free(library: ctypes.CDLL) -> None:
    """Let go of a loaded library whose file is to be removed, which Windows does not allow otherwise."""
    if WINDOWS:
        import _ctypes

        _ctypes.FreeLibrary(library._handle)  # type: ignore[attr-defined, unused-ignore]


def drives() -> list[Path]:
    """Folders on which drives are mounted that a board may show."""
    if WINDOWS:
        return [p for letter in string.ascii_uppercase[3:] if (p := Path(f"{letter}:\\")).is_dir()]
    if MOUNTS.is_file():
        lines = (line.split() for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines())
        return [Path(words[1].replace("\\040", " ")) for words in lines if len(words) > 2 and words[2] in ("vfat", "msdos", "fuseblk")]
    return [p for p in VOLUMES.glob("*") if p.is_dir()]

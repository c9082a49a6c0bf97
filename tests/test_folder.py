"""Output folders: nothing of the user's is touched, one writer at a time, and an interrupted change is completed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeq import folder as folders
from edgeq.errors import EdgeqError
from edgeq.files import json_text, write_bytes

OLD = {"a.c": b"old a", "b.c": b"old b"}
NEW = {"a.c": b"new a", "c.c": b"new c"}


def record(files: dict[str, bytes]) -> dict[str, bytes]:
    manifest = {"format": 1, "sources_sha256": "", "files": folders.digests(files)}
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write(folder: Path, files: dict[str, bytes], *, force: bool = False) -> None:
    with folders.claimed(folder, force=force) as place:
        folders.write(place, record(files), force=force)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write(tmp_path / "out", OLD)
    return tmp_path / "out"


def test_what_edgeq_wrote_is_replaced(out: Path) -> None:
    write(out, NEW)
    assert content(out) == record(NEW)


@pytest.mark.parametrize("stranger", ["notes.txt", ".git/config", "b.c", "report.html"])
@pytest.mark.parametrize("force", [False, True])
def test_strangers_are_listed_and_kept(out: Path, stranger: str, force: bool) -> None:
    (out / stranger).parent.mkdir(exist_ok=True)
    (out / stranger).write_bytes(b"mine")
    before = content(out)
    if not force:
        with pytest.raises(EdgeqError, match=f"holds something else: {stranger.split('/')[0]}"):
            write(out, NEW)
        assert content(out) == before
    else:
        write(out, NEW, force=True)
        assert content(out) == {**record(NEW), stranger: b"mine"}


def test_a_link_is_a_stranger(out: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.c").write_bytes(OLD["a.c"])
    (out / "a.c").unlink()
    (out / "a.c").symlink_to(tmp_path / "mine.c")
    with pytest.raises(EdgeqError, match=r"holds something else: a\.c"):
        write(out, NEW)


@pytest.mark.parametrize("name", ["c.c", "manifest.json"])
def test_force_overwrites_no_stranger(tmp_path: Path, name: str) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / name).write_bytes(b'{"name": "mine"}')
    with pytest.raises(EdgeqError, match="not edgeq's"):
        write(tmp_path / "web", NEW, force=True)
    assert content(tmp_path / "web") == {name: b'{"name": "mine"}'}


def test_a_hostile_record_reaches_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    names = ["../precious", str(tmp_path / "precious"), "..", "", 7, None]
    files = {str(n): folders.digest(b"mine") for n in names}
    (out / "manifest.json").write_text(json.dumps({"format": 1, "sources_sha256": "", "files": files}))
    write(out, NEW)
    assert (tmp_path / "precious").read_bytes() == b"mine"


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_written_behind_a_link(tmp_path: Path, force: bool) -> None:
    """Neither by a change that somebody else declared, nor by one's own."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (out / ".edgeq-commit-1" / "sub").mkdir(parents=True)
    (out / "sub").symlink_to(outside)
    (out / ".edgeq-commit-1" / "sub" / "file").write_text("theirs")
    (out / ".edgeq-commit-1" / folders.CHANGE).write_text(json.dumps({"removed": [], "old": {}}))
    for name in (".edgeq-commit-1", "sub"):
        with pytest.raises(EdgeqError, match="not edgeq's: sub/file" if force or name != "sub" else "something else: sub/"):
            write(out, {"sub/file": b"ours"}, force=force)
        if name != "sub":
            shutil.rmtree(out / name)
    assert not list(outside.iterdir())


def test_a_new_folder_disappears_with_a_failed_build(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no"), folders.claimed(tmp_path / "a" / "b"):
        raise RuntimeError("no")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.npz", "graph.EQG", "main.c"])
def test_the_name_of_a_file_is_no_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="the output is a folder"), folders.claimed(tmp_path / name):
        pass
    assert not list(tmp_path.iterdir())
    with folders.claimed(tmp_path / "model.v2"):
        pass


def test_the_current_folder_stays_the_current_folder(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out)
    write(Path(), NEW)
    assert content(Path.cwd()) == record(NEW) and content(out) == record(NEW)


def test_one_writer_at_a_time(out: Path, tmp_path: Path) -> None:
    for place in (out, tmp_path / "new"):
        with folders.claimed(place):
            code = f"from edgeq import folder\nfrom pathlib import Path\nwith folder.claimed(Path({str(place)!r})): pass"
            second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            assert "another edgeq is writing this folder" in second.stderr
    write(out, NEW)
    assert content(out) == record(NEW)


@pytest.mark.parametrize("at", range(5))
def test_an_interrupted_change_is_all_or_nothing(out: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends at the n-th rename or removal; what the next writer finds is the old folder or the new one, whole."""
    calls = [0]

    def counted(inner):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            calls[0] += 1
            if calls[0] > at:
                raise KeyboardInterrupt
            return inner(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        with pytest.raises(KeyboardInterrupt):
            write(out, NEW)
    with folders.claimed(out, force=True):
        assert content(out) in (record(OLD), record(NEW))
        assert (content(out) == record(OLD)) == (at == 0)


def killed(folder: Path) -> None:
    """A writer of NEW that is killed after it has declared its change and carried out a part of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(folder, NEW)


@pytest.mark.parametrize("name", ["a.c", "b.c", "c.c", "manifest.json"])
def test_what_is_changed_after_a_kill_is_kept(out: Path, name: str) -> None:
    """a.c and manifest.json would be replaced, b.c removed, c.c is new."""
    killed(out)
    (out / name).write_bytes(b"mine")
    with pytest.raises(EdgeqError, match=f": {name}"):
        write(out, OLD)
    assert (out / name).read_bytes() == b"mine"
    if name != "b.c":
        (out / name).unlink()
        write(out, OLD)
        assert content(out) == record(OLD)


@pytest.mark.parametrize("name", ["a.c", "c.c", "manifest.json"])
def test_what_is_changed_during_a_build_is_kept(out: Path, name: str) -> None:
    with folders.claimed(out) as place:
        (out / name).write_bytes(b"mine")
        before = content(out)
        with pytest.raises(EdgeqError, match=name):
            folders.write(place, record(NEW))
    assert content(out) == before


def test_a_manifest_edited_by_hand_is_a_stranger(out: Path) -> None:
    data = json.loads((out / "manifest.json").read_text())
    sealed = {**data, folders.SEAL: folders.digest(json_text(data).encode())}
    (out / "manifest.json").write_text(json.dumps(sealed))
    assert not folders.strangers(out)
    (out / "manifest.json").write_text(json.dumps({**sealed, "files": {**data["files"], "mine.c": ""}}))
    with pytest.raises(EdgeqError, match=r"manifest\.json"):
        write(out, NEW)
    write(out, NEW, force=True)
    assert content(out) == record(NEW)


@pytest.mark.parametrize("change", [b"", b"[]", b"[" * 100000, b'{"removed": ["mine"], "old": {}}', b'{"removed": 1, "old": 2}',
                                    b'{"removed": ["../mine"], "old": {"a.c": 5}}'])  # fmt: skip
def test_a_change_that_edgeq_did_not_declare_costs_nothing(tmp_path: Path, change: bytes) -> None:
    folder = tmp_path / "out"
    (folder / f"{folders.COMMITTED}1").mkdir(parents=True)
    for place in (tmp_path, folder):
        (place / "mine").write_bytes(b"mine")
    (folder / f"{folders.COMMITTED}1" / folders.CHANGE).write_bytes(change)
    (folder / f"{folders.COMMITTED}1" / "mine").write_bytes(b"not mine")
    with pytest.raises(EdgeqError, match="mine"):
        write(folder, NEW)
    assert (tmp_path / "mine").read_bytes() == (folder / "mine").read_bytes() == b"mine"


def test_working_folders_that_are_none(tmp_path: Path) -> None:
    """Links and files of such names are strangers, and what a link leads to stays."""
    there = tmp_path / "there"
    there.mkdir()
    (there / folders.CHANGE).write_text('{"removed": [], "old": {}}')
    for name in (f"{folders.COMMITTED}1", f"{folders.STAGED}999999999", f"{folders.STAGED}notes"):
        out = tmp_path / f"out{name}"
        out.mkdir()
        (out / name).symlink_to(there)
        with pytest.raises(EdgeqError, match=name):
            write(out, NEW)
        assert list(there.iterdir()) == [there / folders.CHANGE]


def test_a_circle_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(EdgeqError, match="circle of links"):
        write(tmp_path / "a" / "out", NEW)
    with pytest.raises(EdgeqError, match="symbolic links"):
        write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").is_symlink()


def test_what_a_killed_writer_staged_is_removed(out: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    staged = out / f"{folders.STAGED}{ended.stdout.strip()}"
    staged.mkdir()
    (staged / "a.c").write_bytes(b"half")
    with folders.claimed(out):
        assert content(out) == record(OLD)


def test_another_users_files_stay_where_the_folder_keeps_them(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder like /tmp, which anybody may write, a change would stop half way, and be completed by somebody's next build."""
    out.chmod(0o1777)
    before, user = content(out), os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    for change in (lambda: folders.write(out, record(NEW)), lambda: write(out, NEW)):
        with pytest.raises(EdgeqError, match=r"files that this user may not replace: .*a\.c.*another user's"):
            change()
        assert content(out) == before
    out.chmod(0o777)
    write(out, NEW)
    assert content(out) == record(NEW)


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
def test_new_files_have_what_the_umask_leaves(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_files_are_written_through_links_and_devices(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    for data in (b"data, new", b"data, again"):
        write_bytes(link, data)
        assert link.is_symlink() and target.read_bytes() == data
    target.chmod(0o600)
    write_bytes(target, b"data, private")
    assert target.stat().st_mode & 0o777 == 0o600
    null = tmp_path / "null"
    null.symlink_to("/dev/null")
    write_bytes(null, b"gone")
    assert null.is_symlink() and not null.is_file()
    with pytest.raises(EdgeqError, match="cannot write the file"):
        write_bytes(Path("/dev/full"), b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "null", "target"]


def test_pipes_and_stdout_are_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = "import sys\nfrom pathlib import Path\nfrom edgeq.files import json_text, write_bytes\nwrite_bytes(Path(sys.argv[1]), b'data')"
    command = [sys.executable, "-c", code]
    with subprocess.Popen([*command, str(pipe)]) as process:
        assert pipe.read_bytes() == b"data" and process.wait() == 0
    for name in ("/dev/stdout", "/dev/fd/1"):
        assert subprocess.run([*command, name], capture_output=True, check=True).stdout == b"data"
        with (tmp_path / "log").open("ab") as log:
            subprocess.run([*command, name], stdout=log, check=True)
    assert (tmp_path / "log").read_bytes() == b"datadata"

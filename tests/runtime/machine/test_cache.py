"""Native code that others can have written is not used: in the cache, and where LATENTBIT_KERNELS points."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentbit.runtime.machine import cache, library
from latentbit.runtime.machine.cache import keep_object, kept_object
from latentbit.runtime.machine.library import VARIABLE, current_library, sealed
from latentbit.runtime.machine.ownership import distrust, read_own

AGAIN = "kernels are compiled again at each start"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder that the cache will be in, as in a process that has not looked for it yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    forget()
    yield tmp_path / "latentbit" / "kernels"
    forget()


def forget() -> None:
    cache._store.cache_clear()
    cache._warned.cache_clear()


def stored(place: Path) -> Path:
    (path,) = place.rglob("a.o")
    return path


def test_what_was_kept_is_there_for_this_user_alone(place: Path) -> None:
    assert kept_object("a.o") is None
    keep_object("a.o", b"code")
    forget()
    assert kept_object("a.o") == b"code"
    assert place.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (place / "key", stored(place))] == [0o600, 0o600]
    assert [path.name for path in place.iterdir() if path.is_file()] == ["key"]


def test_the_seal_is_of_this_name_and_this_key(place: Path) -> None:
    keep_object("a.o", b"code")
    path, whole = stored(place), stored(place).read_bytes()
    path.with_name("b.o").write_bytes(whole)
    assert kept_object("b.o") is None
    for altered in (b"CODE" + whole[4:], whole[:-1], whole + b"x", whole[:10], b""):
        path.write_bytes(altered)
        assert kept_object("a.o") is None
    path.write_bytes(sealed(b"code"))  # anybody can write the digest of a file behind it
    assert kept_object("a.o") is None
    path.write_bytes(whole)
    (place / "key").write_bytes(bytes(32))
    forget()
    assert kept_object("a.o") is None


def test_a_key_that_is_cut_is_made_anew(place: Path) -> None:
    keep_object("a.o", b"code")
    (place / "key").write_bytes(b"short")
    forget()
    assert kept_object("a.o") is None
    keep_object("a.o", b"code")
    assert kept_object("a.o") == b"code"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_can_write(place: Path, mode: int) -> None:
    keep_object("a.o", b"code")
    place.chmod(mode)
    forget()
    with pytest.warns(RuntimeWarning, match=f"{AGAIN}: .* is open to others: chmod go-w"):
        assert kept_object("a.o") is None
    keep_object("b.o", b"code")  # no second warning, and nothing written
    assert not list(place.rglob("b.o"))


def test_a_key_that_others_can_read(place: Path) -> None:
    keep_object("a.o", b"code")
    (place / "key").chmod(0o640)
    forget()
    with pytest.warns(RuntimeWarning, match=f"{AGAIN}: .*key.* is open to others: chmod go-rwx"):
        assert kept_object("a.o") is None


def test_an_object_that_others_can_write_is_replaced(place: Path) -> None:
    for name in ("a.o", "b.o"):
        keep_object(name, b"code")
        next(place.rglob(name)).chmod(0o622)
    with pytest.warns(RuntimeWarning, match=f"{AGAIN}: .*a.o is open to others") as caught:
        assert (kept_object("a.o"), kept_object("b.o")) == (None, None)
    assert len(caught) == 1
    keep_object("a.o", b"code")
    assert kept_object("a.o") == b"code"


def test_a_link_in_the_place_of_the_key(place: Path, tmp_path: Path) -> None:
    keep_object("a.o", b"code")
    (place / "key").rename(tmp_path / "key")
    (place / "key").symlink_to(tmp_path / "key")
    forget()
    with pytest.warns(RuntimeWarning, match=AGAIN):
        assert kept_object("a.o") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user(place: Path) -> None:
    keep_object("a.o", b"code")
    for path, message in ((stored(place), "a.o"), (place / "key", "key"), (place, "kernels")):
        os.chown(path, 12345, 12345)
        forget()
        with pytest.warns(RuntimeWarning, match=f"{AGAIN}: .*{message} belongs to another user|{message}.*belongs"):
            assert kept_object("a.o") is None
        os.chown(path, 0, 0)


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    forget()
    with pytest.warns(RuntimeWarning, match="this user has no home"):
        assert kept_object("a.o") is None
    keep_object("a.o", b"code")
    forget()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become nobody")
def test_a_user_without_a_name_or_a_home_computes(tmp_path: Path) -> None:
    code = (
        "import os, warnings; warnings.simplefilter('always')\n"
        "from latentbit.runtime.machine.cache import kept_object, keep_object\n"
        "from latentbit.runtime.machine.library import source_digest; source_digest()\n"  # Python may be root's alone
        "os.setgid(54321); os.setuid(54321); print(kept_object('a.o'), keep_object('a.o', b'code'))"
    )
    tmp_path.chmod(0o700)
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH")}
    homes: list[dict[str, str]] = [{}, {"HOME": "/nonexistent"}, {"HOME": str(tmp_path)}]
    for home in homes:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment | home, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "None None\n"), done.stderr
        assert done.stderr.count(AGAIN) == 1


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_library_that_others_can_write_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(library, "_chosen", [])
    monkeypatch.setattr(library, "cpu_classes", lambda: ("x86-64-v2",))
    monkeypatch.setattr(library, "load_library", lambda path: pytest.fail(f"{path} was loaded"))
    file = tmp_path / "x86-64-v2.so"
    file.write_bytes(sealed(b"code"))
    (file if what == "file" else tmp_path).chmod(0o777)
    for named in (file, tmp_path):
        monkeypatch.setenv(VARIABLE, str(named))
        library._chosen.clear()
        with pytest.warns(RuntimeWarning, match=f"{VARIABLE} is not used: .* is open to others"):
            assert current_library() is None
        assert current_library() is None  # and no second warning


def test_whose_a_file_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert distrust(tmp_path) is None, "the sticky bit leaves a file to its owner"
    tmp_path.chmod(0o755)
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "f").chmod(0o644)
    assert (distrust(tmp_path / "f"), read_own(tmp_path / "f")) == (None, b"x")
    with pytest.raises(PermissionError, match="open to others"):
        read_own(tmp_path / "f", secret=True)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(PermissionError, match="is no plain file"):
        read_own(tmp_path / "pipe")

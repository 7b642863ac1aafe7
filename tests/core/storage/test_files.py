import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.storage.files import (
    discard,
    make_private,
    open_private,
    private_dir,
    replacing,
    write_private,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)  # nothing is private because of the umask
    yield
    os.umask(before)


def test_everything_is_private_from_the_first_moment(tmp_path: Path) -> None:
    directory = private_dir(tmp_path / "a" / "b")
    assert mode_of(directory) == 0o700
    with open_private(directory / "open") as file:
        assert mode_of(directory / "open") == 0o600
        file.write(b"x")
    write_private(directory / "written", "é")
    assert (directory / "written").read_bytes() == "é".encode()
    made = make_private(directory / "made")
    assert {mode_of(path) for path in (made, directory / "written")} == {0o600}


def test_a_directory_that_others_may_enter_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    assert mode_of(private_dir(tmp_path / "a")) == 0o700


def test_a_file_that_exists_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    assert make_private(tmp_path / "file").read_text() == "kept"
    with pytest.raises(FileExistsError):
        open_private(tmp_path / "file", "xb")


def test_a_replaced_file_has_the_old_contents_or_all_of_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:  # noqa: PT012
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path, 0o644) as file:
        file.write(b"new")
    assert (path.read_text(), mode_of(path)) == ("new", 0o644)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("theirs")
    (tmp_path / "file").symlink_to(tmp_path / "other")
    write_private(tmp_path / "file", "ours")
    assert (tmp_path / "other").read_text() == "theirs"
    assert not (tmp_path / "file").is_symlink()


def test_a_directory_is_discarded_with_all_it_holds_or_was_never_there(tmp_path: Path) -> None:
    write_private(private_dir(tmp_path / "a") / "file", "x")
    discard(tmp_path / "a")
    discard(tmp_path / "a")
    assert not list(tmp_path.iterdir())

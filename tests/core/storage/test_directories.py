"""A directory on a disk and one in a store keep the same promises."""

from __future__ import annotations

import stat
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.storage.directories import Directory, directory_at, read, write
from pipeline.core.storage.files import private_dir
from tests.command import open_to_others


@pytest.fixture(params=["disk", "store"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Directory:
    """One that does not exist yet."""
    if request.param == "disk":
        return directory_at(tmp_path / "run", "drafts")
    return directory_at(f"memory://{uuid4().hex}/run")


def test_files_come_back_in_the_order_in_which_they_are_asked_for(directory: Directory) -> None:
    names = [f"part-{n:02}" for n in range(40)]
    for name in names:
        write(directory / "staged", name, name.encode())
    write(directory / "staged", "part-07", b"")
    wanted = [*reversed(names)]
    found = list((directory / "staged").contents(wanted))
    assert found == [b"" if name == "part-07" else name.encode() for name in wanted]
    assert (directory / "staged").names("part-0*") == names[:10]
    with (directory / "staged").opened("part-11") as file:
        file.seek(5)
        assert file.read(2) == b"11"


def test_a_file_appears_whole_or_not_at_all(directory: Directory) -> None:
    write(directory, "a", b"before")

    def fail() -> None:
        with directory.writing("a") as file, directory.writing("b") as other:
            file.write(b"after")
            other.write(b"new")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert read(directory, "a") == b"before"
    assert directory.names() == ["a"]


def test_what_is_not_there_is_an_error_to_read_and_none_to_remove(directory: Directory) -> None:
    assert directory.names() == []
    directory.remove("a")
    directory.discard()
    with pytest.raises(FileNotFoundError):
        read(directory, "a")
    with pytest.raises(FileNotFoundError):
        directory.opened("a")


def test_all_of_it_is_discarded(directory: Directory) -> None:
    write(directory, "a", b"1")
    write(directory / "b" / "c", "d", b"2")
    directory.discard()
    assert directory.names() == (directory / "b" / "c").names() == []


def test_on_a_disk_it_is_private_and_what_is_not_whole_lies_apart(tmp_path: Path) -> None:
    directory = directory_at(private_dir(tmp_path / "run"), "drafts")
    with (directory / "staged").writing("a") as file:
        file.write(b"1")
        (draft,) = (tmp_path / "run" / "drafts").iterdir()
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        assert (directory / "staged").names() == []
    assert open_to_others(tmp_path / "run") == []
    assert list((tmp_path / "run" / "drafts").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_store_that_cannot_be_used_says_what_to_check() -> None:
    with pytest.raises(SettingsError, match=r"s3://no-such-bucket-of-ours/run cannot be written") as raised:
        write(directory_at("s3://no-such-bucket-of-ours/run"), "a", b"")
    assert "AWS_ACCESS_KEY_ID" in raised.value.hint

import os
import socket
from pathlib import Path

import pytest

from modelyard.storage.errors import InvalidSource, OutputEmpty, OutputMissing, OutputRefused
from modelyard.storage.trees import Limits, LocalFile, create_beneath, open_beneath, scan_output


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "model"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "b.txt").write_bytes(b"bb")
    (folder / "sub" / "a.txt").write_bytes(b"a")
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    return path


def test_scan_lists_regular_files_sorted_by_path(output: Path) -> None:
    assert scan_output(output) == (LocalFile("b.txt", 2), LocalFile("sub/a.txt", 1))


def test_scan_names_a_missing_output(tmp_path: Path) -> None:
    with pytest.raises(OutputMissing, match="'model'"):
        scan_output(tmp_path / "model")


def test_scan_names_an_output_without_files(tmp_path: Path) -> None:
    (tmp_path / "model" / "sub").mkdir(parents=True)
    with pytest.raises(OutputEmpty, match="'model'"):
        scan_output(tmp_path / "model")


def test_scan_refuses_a_file_or_link_in_place_of_the_output(tmp_path: Path, output: Path, secret: Path) -> None:
    with pytest.raises(OutputRefused, match="folder"):
        scan_output(secret)
    (tmp_path / "link").symlink_to(output)
    with pytest.raises(OutputRefused, match="folder"):
        scan_output(tmp_path / "link")


def test_scan_refuses_symbolic_links(output: Path, secret: Path) -> None:
    (output / "sub" / "link").symlink_to(secret)
    with pytest.raises(OutputRefused, match="sub/link"):
        scan_output(output)


def test_scan_refuses_links_to_folders(output: Path) -> None:
    (output / "up").symlink_to("..")
    with pytest.raises(OutputRefused, match="'up'"):
        scan_output(output)


def test_scan_refuses_hard_links(output: Path, secret: Path) -> None:
    (output / "second").hardlink_to(secret)
    with pytest.raises(OutputRefused, match="hard links"):
        scan_output(output)


def test_scan_refuses_pipes_and_sockets(output: Path) -> None:
    os.mkfifo(output / "pipe")
    with pytest.raises(OutputRefused, match="'pipe'"):
        scan_output(output)
    (output / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(output / "sock"))
        with pytest.raises(OutputRefused, match="'sock'"):
            scan_output(output)


def test_scan_refuses_names_that_no_manifest_can_hold(output: Path) -> None:
    Path(os.fsdecode(os.fsencode(output) + b"/\xff\xfe")).write_bytes(b"x")
    with pytest.raises(OutputRefused, match="UTF-8"):
        scan_output(output)


def test_scan_bounds_count_size_and_depth(output: Path) -> None:
    with pytest.raises(OutputRefused, match="at most 1 files"):
        scan_output(output, Limits(files=1))
    with pytest.raises(OutputRefused, match="2 bytes"):
        scan_output(output, Limits(bytes=2))
    (output / "/".join(["d"] * 70)).mkdir(parents=True)
    with pytest.raises(OutputRefused, match="64 deep"):
        scan_output(output)


def test_open_beneath_reads_through_real_folders_only(output: Path, secret: Path) -> None:
    with open_beneath(output, "sub/a.txt") as descriptor:
        assert os.read(descriptor, 10) == b"a"
    (output / "away").symlink_to(secret.parent)
    with pytest.raises(OutputRefused), open_beneath(output, "away/secret"):
        pass
    (output / "b.txt").unlink()
    (output / "b.txt").symlink_to(secret)
    with pytest.raises(OutputRefused), open_beneath(output, "b.txt"):
        pass


@pytest.mark.timeout(10)
def test_open_beneath_does_not_wait_for_a_pipe(output: Path) -> None:
    (output / "b.txt").unlink()
    os.mkfifo(output / "b.txt")
    with pytest.raises(OutputRefused), open_beneath(output, "b.txt"):
        pass


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ""])
def test_create_beneath_refuses_paths_that_leave_the_folder(output: Path, path: str) -> None:
    with pytest.raises(InvalidSource), create_beneath(output, path):
        pass
    assert not (output.parent / "x").exists()


def test_create_beneath_does_not_follow_links(output: Path, secret: Path) -> None:
    (output / "away").symlink_to(secret.parent)
    with pytest.raises(NotADirectoryError), create_beneath(output, "away/new"):
        pass
    (output / "b.txt").unlink()
    (output / "b.txt").symlink_to(secret)
    with create_beneath(output, "b.txt") as descriptor:
        os.write(descriptor, b"mine")
    assert secret.read_bytes() == b"secret"
    assert (output / "b.txt").read_bytes() == b"mine"

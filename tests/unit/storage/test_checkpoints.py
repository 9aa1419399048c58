"""Snapshots, and checkpoints in a store in memory; the program that makes them is tested against a real server."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.storage.checkpoints import KEPT, MARKER, Checkpoints, take_snapshot
from modelyard.storage.errors import OutputRefused, StoreUnreachable
from modelyard.storage.resumes import Balance, Work, draw, note, settle
from modelyard.storage.retry import Patience
from tests.support.stores import MemoryStore

NO_PATIENCE = Patience(0, lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    path.mkdir()
    return path


def write(folder: Path, **files: str) -> None:
    """Write a checkpoint as the contract asks for."""
    (folder / MARKER).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    make_marker(folder)


def make_marker(folder: Path) -> None:
    """Make the marker newer than every file, however coarse the kernel's clock is."""
    newest = max((path.stat().st_ctime_ns for path in folder.iterdir()), default=0)
    marker = folder / MARKER
    marker.touch()
    while marker.stat().st_ctime_ns <= newest:
        marker.touch()


def change(path: Path, content: str) -> None:
    """Change a file so that the clock shows it."""
    before = max(entry.stat().st_ctime_ns for entry in path.parent.iterdir())
    while not path.exists() or path.stat().st_ctime_ns <= before:
        path.write_text(content)


def save(store: MemoryStore, folder: Path) -> int:
    snapshot = take_snapshot(folder)
    assert snapshot
    saved = Checkpoints(store).save(folder, snapshot)
    assert saved
    return saved.number


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != MARKER}


def test_folder_is_a_checkpoint_only_with_its_marker(folder: Path) -> None:
    assert take_snapshot(folder.with_name("absent")) is None
    assert take_snapshot(folder) is None
    (folder / "a").write_text("1")
    assert take_snapshot(folder) is None
    make_marker(folder)
    snapshot = take_snapshot(folder)
    assert snapshot
    assert [file.path for file in snapshot.files] == [MARKER, "a"]


def test_file_that_is_newer_than_the_marker_makes_it_none(folder: Path) -> None:
    write(folder, a="1")
    change(folder / "a", "2")
    assert take_snapshot(folder) is None


def test_file_with_a_forged_time_is_still_newer_than_the_marker(folder: Path) -> None:
    write(folder, a="1")
    change(folder / "a", "2")
    os.utime(folder / "a", (0, 0))
    assert take_snapshot(folder) is None


def test_link_is_refused(folder: Path) -> None:
    (folder / "a").symlink_to("/etc/passwd")
    make_marker(folder)
    with pytest.raises(OutputRefused, match="regular file"):
        take_snapshot(folder)


def test_newest_checkpoint_comes_back_in_place_of_what_is_there(folder: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    write(folder, a="1", b="1")
    assert save(store, folder) == 1
    write(folder, a="2")
    assert save(store, folder) == 2
    target = tmp_path / "next" / "checkpoint"
    target.mkdir(parents=True)
    (target / "rest").write_text("of a pod before")
    restored = Checkpoints(store).restore(target, NO_PATIENCE)
    assert restored
    assert restored.number == 2
    assert abs(restored.time.timestamp() - (folder / MARKER).stat().st_ctime) < 0.001
    assert contents(target) == {"a": "2", "b": "1"}
    assert (target / MARKER).is_file()


def test_nothing_comes_back_when_there_is_nothing(folder: Path) -> None:
    assert Checkpoints(MemoryStore()).restore(folder, NO_PATIENCE) is None


@pytest.mark.parametrize("damage", ["pointer", "manifest", "blob", "missing"])
def test_damaged_checkpoint_is_passed_over(folder: Path, damage: str) -> None:
    store = MemoryStore()
    write(folder, a="first")
    save(store, folder)
    before = set(store.objects)
    write(folder, a="second")
    save(store, folder)
    fresh = set(store.objects) - before
    manifest = next(key for key in fresh if b'"files"' in store.objects[key])
    blob = next(key for key in fresh if store.objects[key] == b"second")
    target = {"pointer": "2.json", "manifest": manifest, "blob": blob, "missing": blob}[damage]
    store.objects[target] = b"{}"
    if damage == "missing":
        del store.objects[blob]
    restored = Checkpoints(store).restore(folder, NO_PATIENCE)
    assert restored
    assert (restored.number, contents(folder)) == (1, {"a": "first"})


def test_folder_that_changes_while_it_is_uploaded_is_no_checkpoint(folder: Path) -> None:
    store = MemoryStore()
    write(folder, a="1", b="1")
    snapshot = take_snapshot(folder)
    assert snapshot
    store.after_put = lambda path: change(folder / "b", "2") if path.startswith("blobs/sha256/") else None
    assert Checkpoints(store).save(folder, snapshot) is None
    assert not [path for path in store.objects if path.endswith(".json")]


def test_pointer_is_the_last_write(folder: Path) -> None:
    store = MemoryStore()
    write(folder, a="1")
    save(store, folder)
    assert store.writes[-1] == "1.json"


def test_same_state_is_one_checkpoint(folder: Path) -> None:
    store = MemoryStore()
    write(folder, a="1")
    assert save(store, folder) == save(store, folder) == 1
    snapshot = take_snapshot(folder)
    assert snapshot
    assert Checkpoints(store).is_newest(folder, snapshot)
    write(folder, a="2")
    newer = take_snapshot(folder)
    assert newer
    assert not Checkpoints(store).is_newest(folder, newer)


def test_number_that_another_pod_has_taken_is_left_to_it(folder: Path) -> None:
    store = MemoryStore()
    write(folder, a="1")

    def take(path: str) -> None:
        if path.startswith("blobs/sha256/"):
            store.objects.setdefault("1.json", b"{}")

    store.after_put = take
    assert save(store, folder) == 2


def test_old_checkpoints_are_dropped_with_what_only_they_need(folder: Path) -> None:
    store = MemoryStore()
    for turn in range(5):
        write(folder, weights=str(turn), vocabulary="the same")
        save(store, folder)
    assert {path for path in store.objects if path.endswith(".json")} == {"4.json", "5.json"}
    kept = [data for path, data in store.objects.items() if path.startswith("blobs/sha256/")]
    assert sorted(data for data in kept if b'"files"' not in data) == [b"", b"3", b"4", b"the same"]
    assert len([data for data in kept if b'"files"' in data]) == KEPT


def test_store_that_is_away_is_said(folder: Path) -> None:
    store = MemoryStore()
    store.outages = 1
    write(folder, a="1")
    with pytest.raises(StoreUnreachable):
        save(store, folder)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(
    ("work", "checkpoint", "resumes", "lost"),
    [
        (None, None, 0, 0),
        (Work("p", 100, 160), None, 0, 60),
        (Work("p", 100, 160), at(150), 1, 10),
        (Work("p", 100, 160), at(161), 1, 0),
        (Work("p", 100, 160), at(50), 1, 60),
        (Work("p", 100, 160), at(159.9), 1, 0),
    ],
)
def test_what_is_lost_lies_between_the_checkpoint_and_the_end(
    work: Work | None, checkpoint: datetime | None, resumes: int, lost: int
) -> None:
    after = draw(Balance(), work, checkpoint)
    assert (after.resumes, after.lost_seconds) == (resumes, lost)
    assert draw(after, work, checkpoint) == after


@given(
    works=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 10**4)), max_size=8),
    again=st.integers(0, 3),
)
def test_each_pod_is_counted_once_however_often_fetch_runs(works: list[tuple[int, int, int]], again: int) -> None:
    store = MemoryStore()
    expected = 0
    for number, (start, length, saved_after) in enumerate(works):
        note(store, Work(f"pod-{number}", start, start + length))
        expected += max(0, length - saved_after)
        for _ in range(again + 1):
            balance = settle(store, at(start + saved_after))
            assert (balance.resumes, balance.lost_seconds) == (number + 1, expected)


@pytest.mark.parametrize("junk", [b"", b"[]", b'{"pod": 1}', b"{" * 5000])
def test_balance_that_cannot_be_read_starts_anew(junk: bytes) -> None:
    store = MemoryStore()
    store.objects |= {"work.json": junk, "balance.json": junk}
    assert settle(store, None) == Balance()


def test_clock_of_the_marker_is_the_kernels(folder: Path) -> None:
    write(folder, a="1")
    os.utime(folder / MARKER, (0, 0))
    snapshot = take_snapshot(folder)
    assert snapshot
    assert snapshot.changed_ns > 10**18

import threading
from pathlib import Path

import numpy as np
import pytest

from ogiri.captioning.data import sharded_array
from ogiri.captioning.data.sharded_array import ShardedArray

ROWS, PER_SHARD = 23, 4
PLAIN = np.random.default_rng(0).standard_normal((ROWS, 2, 5)).astype(np.float16)


@pytest.fixture
def array(tmp_path: Path) -> ShardedArray:
    paths = []
    for start in range(0, ROWS, PER_SHARD):
        paths.append(tmp_path / f"{start}")
        paths[-1].write_bytes(PLAIN[start : start + PER_SHARD].tobytes() + b"what comes after")
    return ShardedArray(paths, PER_SHARD, PLAIN.shape, np.float16)


def test_says_what_it_is(array: ShardedArray):
    assert (array.shape, array.dtype, len(array)) == (PLAIN.shape, PLAIN.dtype, ROWS)


@pytest.mark.parametrize(
    "rows",
    [
        0,
        22,
        -1,
        np.int64(5),
        [3],
        [22, 0, 7, 7, -23, 8],
        np.arange(ROWS)[::-1],
        np.array([4, 3], np.uint8),
        [],
        np.zeros(0, np.int64),
        slice(None),
        slice(3, 9),
        slice(None, None, -5),
        slice(30, 40),
    ],
    ids=repr,
)
def test_rows_are_those_of_a_plain_array(array: ShardedArray, rows: object):
    expected = PLAIN[np.asarray(rows, np.int64)] if isinstance(rows, list) else PLAIN[rows]
    found = array[rows]
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found, expected)


def test_what_was_read_is_a_copy(array: ShardedArray):
    array[:][:] = 0
    np.testing.assert_array_equal(array[:], PLAIN)


@pytest.mark.parametrize("rows", [ROWS, -ROWS - 1, [0, ROWS]])
def test_a_row_that_is_not_there_is_an_error(array: ShardedArray, rows: object):
    with pytest.raises(IndexError, match=r"rows .+ of 23"):
        array[rows]


@pytest.mark.parametrize("rows", [[True] * ROWS, [[0, 1]], 1.0, "0", None])
def test_rows_are_asked_for_by_number(array: ShardedArray, rows: object):
    with pytest.raises((IndexError, ValueError)):
        array[rows]


def test_few_files_are_open_at_a_time(array: ShardedArray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sharded_array, "MAX_OPEN", 2)
    order = np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_array_equal(array[order], PLAIN[order])


def test_nothing_stays_open(array: ShardedArray):
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [array[:] for _ in range(3)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(kept) == 3


def test_threads_read_beside_each_other(array: ShardedArray):
    wrong = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(100):
            rows = rng.integers(0, ROWS, 9)
            if not np.array_equal(array[rows], PLAIN[rows]):
                wrong.append(rows)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_that_was_cut_off_is_named(array: ShardedArray, tmp_path: Path):
    (tmp_path / "4").write_bytes(b"short")
    with pytest.raises(OSError, match="/4 ends before byte 20"):
        array[4]
    np.testing.assert_array_equal(array[3], PLAIN[3])

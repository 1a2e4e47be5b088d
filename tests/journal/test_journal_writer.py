"""Writing: sequences, watermarks, rotation, one writer a directory, and a disk that refuses."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.core.records import Kind, Record
from atmand.errors import ExitCode, UnsafeError
from atmand.journal import JournalError, JournalSettings, JournalWriter, read

LAZY = JournalSettings(flush_ms=200, sync_ms=60_000)


async def until(condition: Callable[[], bool]) -> None:
    """Let the writer's thread get on until something is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 2**62), st.binary(max_size=2_000)), max_size=15),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_what_is_written_over_segments_and_restarts_is_read_back(
    runs: list[list[tuple[int, int, bytes]]], rotate: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        expected: list[Record] = []
        for run in runs:
            with JournalWriter(directory, JournalSettings(segment_bytes=4_096)) as writer:
                assert writer.opened.last_sequence == len(expected)
                assert writer.opened.last_time_ns == (expected[-1].time_ns if expected else 0)
                assert writer.opened.cut_bytes == 0
                for kind, time_ns, body in run:
                    sequence = writer.append(kind, time_ns, body, 2, version=3, source=4, connection=5)
                    expected.append(Record(kind, sequence, time_ns, body, 2, 3, 4, 5))
                if rotate:
                    writer.rotate()
        assert [record.sequence for record in expected] == list(range(1, len(expected) + 1))
        assert list(read(directory)) == expected


async def test_watermarks_follow_each_other(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, LAZY) as writer:
        first = writer.append(Kind.TIMER, 1, bytes(8))
        second = writer.append(Kind.TIMER, 2, bytes(8))
        assert (first, second, writer.appended) == (1, 2, 2)
        await writer.written_to(second)
        assert (writer.written, writer.durable) == (2, 0)
        assert [record.sequence for record in read(tmp_path)] == [1, 2]
        await writer.synced(first)
        assert writer.durable == 2
        assert writer.health().waiting_bytes == 0


async def test_waiting_for_what_was_not_appended_is_refused(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer, pytest.raises(ValueError, match="record 1 was not appended"):
        await writer.synced(1)


async def test_a_full_buffer_is_written_before_its_time(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, LAZY) as writer:
        sequence = writer.append(Kind.FRAME, 1, bytes(LAZY.flush_bytes))
        await asyncio.wait_for(writer.written_to(sequence), 30)
        assert writer.durable == 0


async def test_while_records_come_the_thread_is_woken_for_a_full_buffer_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings: list[int] = []
    with JournalWriter(tmp_path, JournalSettings(flush_ms=1, sync_ms=60_000)) as writer:
        await writer.written_to(writer.append(Kind.TIMER, 0, bytes(8)))
        ring = writer._bell.ring

        def count() -> None:
            rings.append(writer.appended)
            ring()

        monkeypatch.setattr(writer._bell, "ring", count)
        for index in range(50):
            await writer.written_to(writer.append(Kind.FRAME, index, bytes(100)))
        assert rings == []
        await writer.written_to(writer.append(Kind.FRAME, 60, bytes(1 << 17)))
        assert rings == [52]


async def test_the_first_record_after_a_pause_wakes_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atmand.journal.writer._LINGER_NS", 0)
    with JournalWriter(tmp_path, JournalSettings(flush_ms=1, sync_ms=5)) as writer:
        for index in range(3):
            await until(lambda: writer._asleep)
            await writer.synced(writer.append(Kind.TIMER, index, bytes(8)))
        assert [record.time_ns for record in read(tmp_path)] == [0, 1, 2]


async def test_written_data_becomes_durable_though_nobody_waits(tmp_path: Path, small: JournalSettings) -> None:
    with JournalWriter(tmp_path, small) as writer:
        sequence = writer.append(Kind.TIMER, 1, bytes(8))
        await until(lambda: writer.durable == sequence)


async def test_a_cancelled_wait_harms_nobody(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, LAZY) as writer:
        sequence = writer.append(Kind.TIMER, 1, bytes(8))
        waiting = asyncio.create_task(writer.written_to(sequence))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await writer.synced(sequence)


async def test_rotation_seals_the_segment(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append(Kind.TIMER, 1, bytes(8))
    await asyncio.wrap_future(writer.rotate())
    await asyncio.wrap_future(writer.rotate())  # nothing was appended: no empty segment
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{1:020d}.json", f"{1:020d}.seg.zst", "lock"]
    writer.append(Kind.TIMER, 2, bytes(8))
    await writer.aclose()
    assert [record.sequence for record in read(tmp_path)] == [1, 2]
    assert (tmp_path / f"{2:020d}.seg").exists()


async def test_a_segment_is_closed_at_its_size(tmp_path: Path, small: JournalSettings) -> None:
    with JournalWriter(tmp_path, small) as writer:
        for index in range(40):
            writer.append(Kind.FRAME, index, bytes(952))  # 1,000 bytes each: the fifth passes 4,096
        await asyncio.wrap_future(writer.rotate())
    assert [int(path.name[:20]) for path in sorted(tmp_path.glob("*.seg.zst"))] == [1, 6, 11, 16, 21, 26, 31, 36]
    assert len(list(read(tmp_path))) == 40


async def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    writer.append(Kind.TIMER, 1, bytes(8))
    writer.close()
    writer.close()
    assert writer.durable == 1
    with pytest.raises(JournalError, match="closed"):
        writer.append(Kind.TIMER, 2, bytes(8))


def test_a_record_past_the_largest_body_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atmand.journal.writer.MAX_BODY", 1_000)
    with JournalWriter(tmp_path) as writer:
        with pytest.raises(JournalError, match="1049 bytes, at most 1000"):
            writer.append(Kind.FRAME, 1, bytes(1_001))
        assert writer.append(Kind.FRAME, 1, bytes(900)) == 1


def test_a_second_writer_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from atmand.journal import JournalWriter\n"
    code += "w = JournalWriter(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(UnsafeError, match=f"process {child.pid};") as refused:
            JournalWriter(tmp_path)
        assert refused.value.exit_code is ExitCode.UNSAFE
        child.kill()
    with JournalWriter(tmp_path) as writer:
        assert writer.append(Kind.TIMER, 1, bytes(8)) == 1


class Disk:
    """The system calls of a disk that can be told to refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.room = 0
        self._writev = os.writev
        monkeypatch.setattr(os, "writev", self.writev)

    def writev(self, fd: int, buffers: list[bytes]) -> int:
        if not self.full:
            return self._writev(fd, buffers)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = b"".join(buffers)[: self.room]
        self.room -= len(part)
        return self._writev(fd, [part])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def test_a_short_write_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: writev(fd, [b"".join(buffers)[:7]]))
    with JournalWriter(tmp_path, LAZY) as writer:
        for index in range(20):
            writer.append(Kind.FRAME, index, bytes([index]) * index)
        await writer.synced(20)
    assert [record.body for record in read(tmp_path)] == [bytes([index]) * index for index in range(20)]


async def test_more_records_than_one_call_takes_are_written(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, LAZY) as writer:
        for index in range(3_000):
            writer.append(Kind.TIMER, index, bytes(8))
        await writer.synced(3_000)
    assert [record.time_ns for record in read(tmp_path)] == list(range(3_000))


@pytest.mark.parametrize("room", [0, 1, 47, 48, 60, 148, 149, 300, 1_000])
async def test_a_full_disk_never_keeps_half_a_record_and_writing_goes_on(
    tmp_path: Path, small: JournalSettings, disk: Disk, room: int
) -> None:
    with JournalWriter(tmp_path, small) as writer:
        await writer.synced(writer.append(Kind.TIMER, 0, bytes(8)))
        disk.room, disk.full = room, True
        last = [writer.append(Kind.FRAME, index, bytes(100)) for index in range(30)][-1]
        with pytest.raises(JournalError, match="No space left"):
            await writer.synced(last)
        health = writer.health()
        assert (health.failed, health.final) == ("write: No space left on device", False)
        whole = 1 + room // 148
        assert writer.written == whole
        assert [record.sequence for record in read(tmp_path)] == list(range(1, whole + 1))
        assert (tmp_path / f"{1:020d}.seg").stat().st_size == 48 + 56 + 148 * (whole - 1)
        disk.full = False
        await until(lambda: not writer.health().failed)
        await writer.synced(last)
    assert [record.sequence for record in read(tmp_path)] == list(range(1, last + 1))


async def test_memory_is_bounded_while_the_disk_refuses(tmp_path: Path, disk: Disk) -> None:
    settings = JournalSettings(flush_ms=1, sync_ms=5).model_copy(update={"memory_bytes": 65_536})
    with JournalWriter(tmp_path, settings) as writer:
        disk.full = True
        with pytest.raises(JournalError, match="wait to be written"):
            for index in range(100):
                writer.append(Kind.FRAME, index, bytes(952))
        assert writer.appended == 32  # frames are refused from half
        with pytest.raises(JournalError, match="wait to be written"):
            for index in range(100):
                writer.append(Kind.ORDER_UPDATE, index, bytes(952))
        assert writer.appended == 65
        assert writer.health().waiting_bytes <= settings.memory_bytes
        disk.full = False
        await until(lambda: writer.written == 65)
    assert len(list(read(tmp_path))) == 65


async def test_closing_on_a_full_disk_says_what_is_lost(tmp_path: Path, small: JournalSettings, disk: Disk) -> None:
    writer = JournalWriter(tmp_path, small)
    await writer.synced(writer.append(Kind.TIMER, 0, bytes(8)))
    disk.full = True
    writer.append(Kind.TIMER, 1, bytes(8))
    with pytest.raises(JournalError, match=r"1 records are not durable: write: No space left on device"):
        writer.close()
    with JournalWriter(tmp_path) as again:
        assert again.opened.last_sequence == 1


async def test_a_failed_sync_is_final(tmp_path: Path, small: JournalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, small)
    await writer.synced(writer.append(Kind.TIMER, 0, bytes(8)))
    with monkeypatch.context() as broken:

        def refuse(_: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        broken.setattr(os, "fdatasync", refuse)
        with pytest.raises(JournalError, match="sync: Input/output error"):
            await writer.synced(writer.append(Kind.TIMER, 1, bytes(8)))
    assert writer.health().final
    with pytest.raises(JournalError, match="sync: Input/output error"):
        await writer.synced(2)
    with pytest.raises(JournalError, match="1 records are not durable"):
        writer.close()
    assert writer.durable == 1


async def test_a_half_record_that_cannot_be_cut_off_is_final_and_cut_at_the_next_start(
    tmp_path: Path, small: JournalSettings, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, small)
    await writer.synced(writer.append(Kind.TIMER, 0, bytes(8)))

    def refuse(_: int, __: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", refuse)
        disk.full, disk.room = True, 20
        with pytest.raises(JournalError, match="cut: Input/output error"):
            await writer.synced(writer.append(Kind.TIMER, 1, bytes(8)))
        with pytest.raises(JournalError):
            writer.close()
    with JournalWriter(tmp_path) as again:
        assert (again.opened.last_sequence, again.opened.cut_bytes) == (1, 20)


async def test_a_defect_in_the_thread_reaches_those_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path, LAZY)
    monkeypatch.setattr(writer, "_drain", lambda: 1 // 0)
    with pytest.raises(JournalError, match="ZeroDivisionError"):
        await writer.synced(writer.append(Kind.TIMER, 0, bytes(8)))
    assert writer.health().final
    with pytest.raises(JournalError):
        writer.close()


async def test_a_segment_that_cannot_be_created_is_tried_again(
    tmp_path: Path, small: JournalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JournalWriter(tmp_path, small) as writer:
        with monkeypatch.context() as broken:
            broken.setattr(os, "write", lambda fd, data: len(data) - 1)
            with pytest.raises(JournalError, match="No space left"):
                await writer.synced(writer.append(Kind.TIMER, 0, bytes(8)))
            assert list(read(tmp_path)) == []
        await until(lambda: writer.durable == 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{1:020d}.seg", "lock"]


async def test_a_segment_that_cannot_be_sealed_stays_readable_and_is_sealed_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with JournalWriter(tmp_path) as writer:
        writer.append(Kind.TIMER, 0, bytes(8))
        with monkeypatch.context() as broken:
            broken.setattr("atmand.journal.sealer.seal", refuse)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wrap_future(writer.rotate())
        writer.append(Kind.TIMER, 1, bytes(8))
        await writer.synced(2)
        assert [record.sequence for record in read(tmp_path)] == [1, 2]
        await asyncio.wrap_future(writer.rotate())
    assert [path.name for path in sorted(tmp_path.glob("*.seg*"))] == [f"{n:020d}.seg.zst" for n in (1, 2)]
    assert [record.sequence for record in read(tmp_path)] == [1, 2]


async def test_free_space_is_the_disk_s(tmp_path: Path) -> None:
    huge = 1 << 62
    with JournalWriter(tmp_path, JournalSettings(min_free_bytes=huge)) as writer:
        assert 0 < writer.free_bytes() < huge
        assert writer.low_on_space()
    with JournalWriter(tmp_path, JournalSettings(min_free_bytes=0)) as writer:
        assert not writer.low_on_space()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB; skipped where it cannot be mounted."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def test_a_really_full_disk_is_survived(tiny_disk: Path) -> None:
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(128 * 1024))
    with JournalWriter(tiny_disk, JournalSettings(flush_ms=1, sync_ms=5)) as writer:
        last = [writer.append(Kind.ORDER_UPDATE, index, os.urandom(777)) for index in range(220)][-1]
        with pytest.raises(JournalError, match="No space left"):
            await writer.synced(last)
        whole = writer.written
        assert 0 < whole < last
        assert [record.sequence for record in read(tiny_disk)] == list(range(1, whole + 1))
        filler.unlink()
        await until(lambda: not writer.health().failed)
        await writer.synced(last)
    assert [record.sequence for record in read(tiny_disk)] == list(range(1, last + 1))


def test_a_limit_on_the_file_s_size_is_survived(tmp_path: Path) -> None:
    code = """
        import asyncio, resource, sys
        from pathlib import Path
        from atmand.journal import JournalError, JournalSettings, JournalWriter

        async def main(directory):
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
            writer = JournalWriter(directory, JournalSettings(flush_ms=1, sync_ms=5))
            last = [writer.append(20, index, bytes(500)) for index in range(100)][-1]
            try:
                await writer.synced(last)
            except JournalError as error:
                print(error)
            print(writer.written)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            while writer.health().failed:
                await asyncio.sleep(0.001)
            await writer.synced(last)
            writer.close()

        asyncio.run(main(Path(sys.argv[1])))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "journal_" not in line]
    assert lines == [f"{tmp_path}: write: File too large", str((10_000 - 48) // 548)]
    assert [record.sequence for record in read(tmp_path)] == list(range(1, 101))

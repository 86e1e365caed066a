"""Pools of token, text and tensor buffers: reuse, views, bounds, statistics, shrinking, pressure, misuse."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen import memory, pressure
from fastgen.blocks import Pool
from fastgen.errors import InvalidParameterError
from fastgen.memory import Buffer, TensorPool, TextPool, TokenPool


def address(buffer: Buffer) -> int:
    return int(np.asarray(buffer).ctypes.data)


class TestBuffers:
    def test_tokens(self) -> None:
        pool = TokenPool(dtype="int64")
        with pool.take(4096) as buffer:
            ids = memoryview(buffer)
            assert (ids.format, ids.itemsize, ids.shape, ids.nbytes, ids.readonly) == ("q", 8, (4096,), 32768, False)
            ids[4095] = -17
            assert np.asarray(buffer)[-1] == -17
            assert (len(buffer), buffer.shape, buffer.nbytes) == (4096, (4096,), 32768)

    def test_text(self) -> None:
        with TextPool().take(5) as buffer:
            memoryview(buffer)[:] = b"hello"
            assert bytes(buffer) == b"hello"

    def test_the_default_of_tokens_is_int32(self) -> None:
        assert memoryview(TokenPool().take(1)).format == "i"

    @pytest.mark.parametrize(
        "size", [*range(70), *(2**k + d for k in range(7, 22) for d in (-1, 0, 1)), 3 << 12, 3 << 20]
    )
    def test_sizes_and_alignment(self, size: int) -> None:
        pool = TextPool(limit=1 << 22)
        buffer, other = pool.take(size), pool.take(size)
        view = np.asarray(buffer)
        view[:], np.asarray(other)[:] = 1, 2
        assert address(buffer) % 64 == 0
        assert view.size == size
        assert (view == 1).all()
        room = pool.stats().lent_bytes // 2
        assert max(64, size) <= room <= max(64, 1.5 * size) or size > 1 << 22

    def test_memory_comes_back_by_every_way(self) -> None:
        pool = TokenPool()
        with pool.take(100) as buffer:
            first = address(buffer)
        assert address(pool.take(100)) == first  # and dropped
        buffer = pool.take(100)
        assert buffer.release()
        assert buffer.release()  # again
        assert address(pool.take(100)) == first
        assert pool.stats()[:4] == (3, 1, 0, 0)

    def test_an_error_in_the_block_gives_it_back(self) -> None:
        pool = TokenPool()
        with pytest.raises(KeyError), pool.take(10):
            raise KeyError
        assert pool.stats().lent == 0

    def test_a_buffer_keeps_its_pool(self) -> None:
        buffer = TokenPool().take(10)
        gc.collect()
        view = memoryview(buffer)
        del buffer
        gc.collect()
        view[9] = 5
        assert view[9] == 5

    def test_many(self) -> None:
        pool = TokenPool()
        buffers = pool.take_many(1024, 50)
        assert len({address(buffer) for buffer in buffers}) == 50
        assert pool.stats().lent == 50
        assert pool.take_many(1024, 0) == []
        del buffers
        assert pool.stats().lent == 0


class TestViews:
    """Memory that is viewed is never handed out again: it goes back when the last view does."""

    @pytest.mark.parametrize("view", [memoryview, np.asarray, np.from_dlpack, lambda buffer: np.asarray(buffer)[3:]])
    def test_release_waits_for_views(self, view: Callable[[Any], Any]) -> None:
        pool = TokenPool()
        with pool.take(100) as buffer:
            where = address(buffer)
            seen = view(buffer)
            assert buffer.views == 1
        assert not buffer.release()
        others = [pool.take(100) for _ in range(5)]
        assert where not in {address(other) for other in others}
        assert len(seen) in (97, 100)
        with pytest.raises(InvalidParameterError, match="was given back"):
            buffer.__dlpack__()
        del seen
        assert buffer.views == 0
        assert address(pool.take(100)) == where

    def test_no_view_after_release(self) -> None:
        buffer = TokenPool().take(10)
        buffer.release()
        for act in (memoryview, np.from_dlpack, lambda buffer: buffer.__enter__(), lambda buffer: buffer.tensor()):
            with pytest.raises(InvalidParameterError, match="was given back"):
                act(buffer)

    def test_a_capsule_that_nobody_uses(self) -> None:
        buffer = TokenPool().take(10)
        capsule = buffer.__dlpack__(stream=None, max_version=(1, 0))
        assert buffer.views == 1
        del capsule
        assert buffer.views == 0
        assert buffer.__dlpack_device__() == (1, 0)
        with pytest.raises(BufferError):
            buffer.__dlpack__(copy=True)
        with pytest.raises(BufferError):
            buffer.__dlpack__(dl_device=(2, 0))
        assert buffer.release()

    def test_no_copies(self) -> None:
        for thing in (TokenPool(), TokenPool().take(3)):
            for act in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError):
                    act(thing)


class TestTensors:
    @pytest.mark.parametrize(
        ("dtype", "form"), [("float32", "f"), ("float16", "e"), ("bfloat16", "H"), ("float64", "d"), ("uint8", "B")]
    )
    def test_numpy(self, dtype: Any, form: str) -> None:
        buffer = TensorPool(dtype).take(3, 1, 5)
        view = memoryview(buffer)
        assert (view.format, view.shape, view.c_contiguous) == (form, (3, 1, 5), True)
        array = np.asarray(buffer)
        array[:] = np.arange(15).reshape(3, 1, 5)
        assert array.reshape(-1).tolist() == list(range(15))
        assert array.strides == np.empty((3, 1, 5), array.dtype).strides

    @pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (1,) * 8, (7,), (4, 5, 6)])
    def test_shapes(self, shape: tuple[int, ...]) -> None:
        buffer = TensorPool().take(*shape)
        assert buffer.shape == np.asarray(buffer).shape == np.from_dlpack(buffer).shape == shape  # type: ignore[call-overload]

    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int32", "int64", "uint8"])
    def test_torch(self, dtype: Any) -> None:
        torch = pytest.importorskip("torch")
        pool = TensorPool(dtype)
        with pool.take(2, 3) as buffer:
            tensor = buffer.tensor()
            assert (tensor.dtype, tuple(tensor.shape)) == (getattr(torch, dtype), (2, 3))
            tensor.fill_(3)
            part = tensor[1]
            where = tensor.data_ptr()
        del tensor
        assert not buffer.release()  # `part` is a view too
        assert pool.take(2, 3).tensor().data_ptr() != where
        assert part.tolist() == [3, 3, 3]
        del part
        assert buffer.release()
        assert pool.take(2, 3).tensor().data_ptr() == where

    @pytest.mark.parametrize("shape", [(), (1,) * 9, (-1,), (2, "3"), (1 << 30, 1 << 30), (1 << 80,), (2.0,), (None,)])
    def test_what_is_no_shape(self, shape: tuple[Any, ...]) -> None:
        pool = TensorPool()
        with pytest.raises(InvalidParameterError):
            pool.take(*shape)
        assert pool.stats().lent == 0


class TestBounds:
    def test_what_does_not_fit_comes_from_the_heap(self) -> None:
        pool = TextPool(limit=10_000)
        buffers = [pool.take(4096) for _ in range(5)]
        stats = pool.stats()
        assert (stats.misses, stats.overflows, stats.lent) == (2, 3, 5)
        assert (stats.lent_bytes, stats.held_bytes, stats.high_water_bytes) == (5 * 4096, 2 * 4096, 5 * 4096)
        buffers.clear()
        stats = pool.stats()
        assert (stats.lent_bytes, stats.held_bytes, stats.high_water_bytes) == (0, 2 * 4096, 5 * 4096)
        big = pool.take(20_000)
        assert pool.stats().held_bytes == 2 * 4096
        assert pool.stats().lent_bytes == 20_000 or pool.stats().lent_bytes == 24_576
        del big

    def test_another_size_gets_the_room_of_one_that_is_not_used(self) -> None:
        pool = TextPool(limit=100_000)
        for buffer in [pool.take(1024) for _ in range(90)]:
            buffer.release()
        assert pool.stats().held_bytes == 90 * 1024
        for _ in range(3):
            buffers = [pool.take(4096) for _ in range(20)]
            del buffers
        assert pool.stats().held_bytes <= 100_000
        before = pool.stats()
        assert len({address(buffer) for buffer in [pool.take(4096) for _ in range(20)]}) == 20
        assert pool.stats().hits - before.hits == 20

    def test_no_limit_at_all(self) -> None:
        pool = TextPool(limit=0)
        assert pool.take(10).nbytes == 10
        assert pool.stats()[:6] == (0, 0, 1, 0, 0, 0)

    def test_so_much_that_there_is_none(self) -> None:
        pool = TokenPool("int64")
        with pytest.raises(MemoryError):
            pool.take(1 << 46)
        assert pool.stats().lent == 0
        assert pool.take(10).nbytes == 80

    @pytest.mark.parametrize("count", [-1, 1 << 47, 1 << 64, -(1 << 70), 1.0, "1", None, True])
    def test_what_is_no_count(self, count: Any) -> None:
        pool = TokenPool()
        with pytest.raises(InvalidParameterError):
            pool.take(count)
        with pytest.raises(InvalidParameterError):
            pool.take_many(1, count)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: TokenPool("float32"),  # type: ignore[arg-type]
            lambda: TokenPool(4),  # type: ignore[arg-type]
            lambda: TensorPool("complex64"),  # type: ignore[arg-type]
            lambda: TextPool(limit=-1),
            lambda: TextPool(limit=1 << 60),
            lambda: TextPool(name=3),  # type: ignore[arg-type]
        ],
    )
    def test_arguments(self, make: Callable[[], object]) -> None:
        with pytest.raises(InvalidParameterError):
            make()

    def test_made_by_hand(self) -> None:
        for cls in (Pool, Buffer):
            with pytest.raises(TypeError):
                cls()
        buffer = Buffer.__new__(Buffer)
        with pytest.raises(InvalidParameterError):
            memoryview(buffer)
        assert buffer.release()
        assert len(buffer) == 0
        assert TokenPool.__new__(TokenPool).take(3).nbytes == 12


class TestShrinking:
    def test_trim(self) -> None:
        pool = TextPool()
        held = pool.take(1000)
        [pool.take(1000) for _ in range(9)].clear()
        assert pool.trim() == 9 * 1024
        assert pool.trim() == 0
        stats = pool.stats()
        assert (stats.held_bytes, stats.trimmed_bytes) == (1024, 9 * 1024)
        held.release()
        again = [pool.take(1000) for _ in range(10)]
        assert len({address(buffer) for buffer in again}) == 10
        assert pool.stats().hits == 1

    def test_classes_that_are_not_used_shrink(self) -> None:
        pool = TextPool()
        [pool.take(1 << 16) for _ in range(50)].clear()
        assert pool.stats().held_bytes == 50 << 16
        for _ in range(4 * 4096):
            pool.take(64)
        assert pool.stats().held_bytes == 64

    def test_classes_that_are_used_do_not(self) -> None:
        pool = TextPool()
        for _ in range(3000):
            [pool.take(1000) for _ in range(10)].clear()
        assert pool.stats()[:3] == (29_990, 10, 0)
        assert pool.stats().hit_rate > 0.999

    def test_statistics_of_all_pools(self) -> None:
        one, two = TextPool(name="test of statistics"), TextPool(name="test of statistics")
        buffers = one.take(64), two.take(100)
        assert memory.stats()["test of statistics"].lent_bytes == 64 + 128
        del buffers
        assert memory.trim() >= 64 + 128
        assert memory.stats()["test of statistics"].held_bytes == 0
        del one, two
        assert "test of statistics" not in memory.stats()


class TestPressure:
    @pytest.fixture(autouse=True)
    def no_limit(self) -> Iterator[None]:
        yield
        memory.set_memory_limit(None)
        TextPool().take(1 << 25)  # looks again

    def test_the_process_has_a_limit(self) -> None:
        assert memory.memory_limit() is None
        used = pressure.resident()
        assert used > 1 << 20
        memory.set_memory_limit(4 * used)
        assert memory.memory_limit() == 4 * used
        assert 0.2 < memory.pressure() < 0.5
        for limit in (0, -1, 1.5, "1", True):
            with pytest.raises(InvalidParameterError):
                memory.set_memory_limit(limit)  # type: ignore[arg-type]

    def test_under_pressure_nothing_is_kept(self) -> None:
        pool = TextPool()
        kept = pool.take(1000)
        [pool.take(1000) for _ in range(9)].clear()
        memory.set_memory_limit(1 << 20)
        for _ in range(3):  # new memory, so that somebody looks
            pool.take(1 << 24)
        stats = pool.stats()
        assert stats.held_bytes == 1024
        assert stats.overflows >= 1
        kept.release()
        assert pool.stats().held_bytes == 0
        memory.set_memory_limit(None)
        for _ in range(3):
            pool.take(1 << 24)
        pool.take(1000)
        assert pool.stats().held_bytes >= 1024

    def test_control_groups(self, tmp_path: Path) -> None:
        assert pressure.pressure(tmp_path) == 0
        (tmp_path / "memory.max").write_text("1000\n")
        (tmp_path / "memory.current").write_text("900\n")
        assert pressure.pressure(tmp_path) == 0.9
        (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 400\nactive_file 0\n")
        assert pressure.pressure(tmp_path) == 0.5
        (tmp_path / "memory.max").write_text("max\n")
        assert pressure.pressure(tmp_path) == 0
        first = tmp_path / "memory"
        first.mkdir()
        (first / "memory.limit_in_bytes").write_text("2000")
        (first / "memory.usage_in_bytes").write_text("500")
        assert pressure.pressure(tmp_path) == 0.25
        (first / "memory.limit_in_bytes").write_text(str((1 << 63) - 4096))  # what version 1 says for "no limit"
        assert pressure.pressure(tmp_path) == 0


class TestUse:
    @given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3)), max_size=150), st.integers(0, 60_000))
    def test_books_balance(self, steps: list[tuple[int, int]], limit: int) -> None:
        pool = TextPool(limit=limit)
        held: list[tuple[Buffer, Any, int]] = []
        for number, (size, act) in enumerate(steps):
            if act < 2:
                buffer = pool.take(size)
                array = np.asarray(buffer)
                array[:] = number % 251
                held.append((buffer, array, number % 251))
            elif held:
                buffer, array, value = held.pop(size % len(held))
                assert (array == value).all()  # nobody else wrote there
                del array
                assert buffer.release()
            if act == 3:
                pool.trim()
            stats = pool.stats()
            assert stats.held_bytes <= limit
            assert stats.lent == len(held)
            assert stats.hits + stats.misses + stats.overflows >= len(held)
        held.clear()
        buffer = array = None
        assert (pool.stats().lent, pool.stats().lent_bytes) == (0, 0)
        pool.trim()
        assert pool.stats().held_bytes == 0

    def test_threads(self) -> None:
        pool = TokenPool()
        faults: list[int] = []

        def work(number: int) -> None:
            rng = random.Random(number)
            held: list[tuple[Buffer, Any]] = []
            for _ in range(800):
                if rng.random() < 0.5 and len(held) < 20:
                    buffer = pool.take(rng.randrange(1, 3000))
                    array = np.asarray(buffer)
                    array[:] = number
                    held.append((buffer, array))
                elif held:
                    buffer, array = held.pop(rng.randrange(len(held)))
                    if not (array == number).all():
                        faults.append(number)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert faults == []
        del threads
        assert (pool.stats().lent, pool.stats().lent_bytes) == (0, 0)

    def test_ten_thousand_requests_of_mixed_lengths_hit(self) -> None:
        """As an engine works: up to 200 live requests, whose prompts and answers have lengths of all kinds."""
        pool, rng = TokenPool(), random.Random(1)
        live: list[Buffer] = []

        def serve(requests: int) -> None:
            for _ in range(requests):
                if len(live) == 200:
                    live.pop(rng.randrange(200))
                live.append(pool.take(int(rng.lognormvariate(6, 1)) + 1))

        serve(2000)
        before = pool.stats()
        serve(10_000)
        after = pool.stats()
        hits = after.hits - before.hits
        assert hits / (hits + after.misses - before.misses + after.overflows - before.overflows) >= 0.99

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_child_goes_on_with_its_own(self) -> None:
        pool = TokenPool()
        buffer = pool.take(10)
        memoryview(buffer)[0] = 5
        child = os.fork()
        if child == 0:
            memoryview(buffer)[0] = 6
            buffer.release()
            os._exit(pool.stats().lent + (pool.take(10) is None))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.stats().lent == 1
        assert memoryview(buffer)[0] == 5

    def test_exit_with_everything_alive(self) -> None:
        code = (
            "import sys, threading, time, numpy as np\n"
            "from fastgen import memory\n"
            "from fastgen.lockfree.pool import BlockPool\n"
            "from fastgen.lockfree.snapshot import Snapshot\n"
            "from fastgen.lockfree.counter import Counter\n"
            "from fastgen.lockfree.histogram import Histogram\n"
            "pool = memory.TokenPool()\n"
            "sys.kept = pool.take(100), np.asarray(pool.take(7)), np.from_dlpack(pool.take(8))\n"
            "blocks = BlockPool(900); blocks.acquire(); snapshot = Snapshot(pool); sys.reader = snapshot.reader()\n"
            "sys.reader.get(); sys.cycle = [snapshot, blocks, Counter(), Histogram()]; snapshot.publish(sys.cycle)\n"
            "def work():\n"
            "    while True: pool.take(50); blocks.release(blocks.acquire())\n"
            "for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
            "time.sleep(0.05)\n"
        )
        for _ in range(5):
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


class TestAllocationFailure:
    def test_every_allocation_fails_once(self) -> None:
        """Each of these works, raises MemoryError and leaves the books right, or does not need the memory."""
        testcapi = pytest.importorskip("_testcapi")
        from fastgen.lockfree.counter import Counters
        from fastgen.lockfree.histogram import Histogram
        from fastgen.lockfree.pool import BlockPool
        from fastgen.lockfree.snapshot import Snapshot

        pool = TokenPool()
        snapshot: Snapshot[object] = Snapshot(0)
        reader = snapshot.reader()
        blocks = BlockPool(2000)
        for _ in range(1000):  # numbers that Python has no objects of
            blocks.acquire()
        sizes = iter(range(6, 26))

        def takes() -> object:
            return pool.take((1 << next(sizes)) // 4)  # a new class each time

        scenarios: list[Callable[[], object]] = [
            takes,
            lambda: pool.take(5).__dlpack__(),
            lambda: TensorPool().take(2, 3, 4),
            lambda: snapshot.publish(object()),
            snapshot.collect,
            lambda: (Snapshot(1).reader(), Counters(5).read(), Histogram().quantile(0.5)),
            blocks.acquire,
            lambda: BlockPool(7).acquire(),
        ]
        failures = 0
        for scenario in scenarios:
            for number in range(20):
                reader.get()
                failed, lent = False, blocks.lent
                testcapi.set_nomemory(number, number + 1)
                try:
                    scenario()
                except MemoryError:
                    failed = True
                except StopIteration:
                    break
                finally:
                    testcapi.remove_mem_hooks()
                failures += failed
                assert blocks.lent - lent == (scenario == blocks.acquire and not failed)
        assert failures >= 10
        reader.park()
        assert snapshot.collect() == 0
        assert (pool.stats().lent, pool.stats().lent_bytes) == (0, 0)
        assert pool.take(100).nbytes == 400
        assert snapshot.publish("sound") == snapshot.version
        assert reader.get() == "sound"

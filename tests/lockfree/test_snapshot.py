"""Snapshot: readers see a whole version, and old ones live as long as somebody reads them. The C code has its stress in
tests/native."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import sys
import threading
import weakref
from typing import Any

import pytest

from fastgen.errors import InvalidParameterError, OverloadedError
from fastgen.lockfree.snapshot import Snapshot, SnapshotReader


class Config:
    """Something that weak references can watch."""

    def __init__(self, number: int) -> None:
        self.numbers = [number] * 10


class TestVersions:
    def test_the_latest(self) -> None:
        snapshot = Snapshot("a")
        assert (snapshot.get(), snapshot.version) == ("a", 1)
        assert snapshot.publish("b") == 2
        assert (snapshot.get(), snapshot.version) == ("b", 2)
        assert snapshot.publish(None) == 3  # type: ignore[arg-type]
        assert snapshot.get() is None

    def test_old_ones_go_at_once_if_nobody_reads_them(self) -> None:
        config = Config(1)
        gone = weakref.ref(config)
        snapshot = Snapshot(config)
        del config
        assert gone() is not None
        snapshot.publish(Config(2))
        assert gone() is None

    def test_what_get_returned_is_the_callers(self) -> None:
        snapshot = Snapshot(Config(1))
        mine = snapshot.get()
        snapshot.publish(Config(2))
        assert mine.numbers == [1] * 10

    def test_a_reader_keeps_what_it_read(self) -> None:
        snapshot = Snapshot(Config(1))
        gone = weakref.ref(snapshot.get())
        with snapshot.reader() as reader:
            assert reader.get().numbers[0] == 1
            snapshot.publish(Config(2))
            assert gone() is not None
            assert snapshot.collect() == 1
            assert reader.get().numbers[0] == 2
            assert snapshot.collect() == 0
            assert gone() is None

    @pytest.mark.parametrize("act", ["park", "close"])
    def test_a_reader_lets_go(self, act: str) -> None:
        snapshot = Snapshot(Config(1))
        gone = weakref.ref(snapshot.get())
        reader = snapshot.reader()
        reader.get()
        snapshot.publish(Config(2))
        getattr(reader, act)()
        assert snapshot.collect() == 0
        assert gone() is None

    def test_one_object_may_be_several_versions(self) -> None:
        first, second = Config(1), Config(2)
        gone = weakref.ref(first)
        snapshot = Snapshot(first, readers=2)
        reader = snapshot.reader()
        for _ in range(3):
            assert reader.get() is first
            snapshot.publish(second)
            assert reader.get() is second
            snapshot.publish(first)
        assert snapshot.publish(second) == 8
        assert reader.get() is second
        snapshot.collect()
        del first
        assert gone() is None

    def test_so_many_old_versions_and_no_more(self) -> None:
        snapshot = Snapshot(0, readers=3)
        readers = [snapshot.reader() for _ in range(3)]
        for number in range(1, 100):
            readers[number % 3].get()
            snapshot.publish(number)
            assert snapshot.collect() <= 3
        assert [reader.get() for reader in readers] == [99] * 3

    def test_no_readers_at_all(self) -> None:
        snapshot = Snapshot(1, readers=0)
        snapshot.publish(2)
        assert snapshot.get() == 2
        with pytest.raises(OverloadedError):
            snapshot.reader()


class TestMisuse:
    def test_too_many_readers(self) -> None:
        snapshot = Snapshot(1, readers=2)
        readers = [snapshot.reader(), snapshot.reader()]
        with pytest.raises(OverloadedError):
            snapshot.reader()
        readers.pop()
        assert snapshot.reader().get() == 1

    def test_a_closed_reader(self) -> None:
        reader = Snapshot(1).reader()
        reader.close()
        reader.close()
        with pytest.raises(InvalidParameterError):
            reader.get()
        with pytest.raises(InvalidParameterError):
            reader.park()

    @pytest.mark.parametrize("readers", [-1, 65535, "1", None, 1 << 70])
    def test_arguments(self, readers: Any) -> None:
        with pytest.raises(InvalidParameterError):
            Snapshot(1, readers=readers)

    def test_made_by_new(self) -> None:
        with pytest.raises(TypeError):
            SnapshotReader.__new__(SnapshotReader)
        with pytest.raises(TypeError):
            Snapshot.__new__(Snapshot)

    def test_no_copies(self) -> None:
        for thing in (Snapshot(1), Snapshot(1).reader()):
            for act in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError):
                    act(thing)


class TestReentry:
    def test_a_finalizer_that_publishes(self) -> None:
        snapshot: Snapshot[object] = Snapshot(None)
        count = 0

        class Last:
            def __del__(self) -> None:
                nonlocal count
                count += 1
                if count < 50:
                    snapshot.publish(Last())
                    snapshot.publish(count)

        snapshot.publish(Last())
        snapshot.publish(0)
        assert count == 50

    def test_cycles_are_collected(self) -> None:
        config = Config(1)
        gone = weakref.ref(config)
        snapshot = Snapshot(config)
        config.snapshot, config.reader = snapshot, snapshot.reader()  # type: ignore[attr-defined]
        config.reader.get()  # type: ignore[attr-defined]
        snapshot.publish([snapshot, config])  # type: ignore[arg-type]
        del config, snapshot
        gc.collect()
        assert gone() is None

    def test_a_finalizer_in_a_cycle_that_reads(self) -> None:
        class Reading:
            def __del__(self) -> None:
                self.seen = self.reader.get()

        thing: Any = Reading()
        snapshot = Snapshot(thing)
        thing.reader = snapshot.reader()
        thing.reader.get()
        gone = weakref.ref(thing)
        del thing, snapshot
        gc.collect()
        gc.collect()
        assert gone() is None


class TestThreads:
    def test_every_reader_sees_whole_versions_in_order(self) -> None:
        snapshot = Snapshot(Config(0), readers=4)
        faults: list[str] = []
        done = threading.Event()

        def read(through_reader: bool) -> None:
            reader = snapshot.reader() if through_reader else None
            last = 0
            while not done.is_set():
                numbers = (reader or snapshot).get().numbers
                if len(set(numbers)) != 1 or numbers[0] < last:
                    faults.append(f"{numbers} after {last}")
                last = numbers[0]

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=read, args=(number < 3,)) for number in range(5)]
            for thread in threads:
                thread.start()
            for number in range(1, 3000):
                snapshot.publish(Config(number))
            done.set()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert faults == []
        assert snapshot.collect() == 0

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_child_goes_on(self) -> None:
        snapshot = Snapshot(1)
        reader = snapshot.reader()
        reader.get()
        child = os.fork()
        if child == 0:
            snapshot.publish(7)
            os._exit(reader.get())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert reader.get() == 1

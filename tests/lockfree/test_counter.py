"""Counter, Counters, Rate: literals, properties, threads. The C code has its stress in tests/native."""

from __future__ import annotations

import copy
import math
import os
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError
from fastgen.lockfree.counter import Counter, Counters, Rate, Sharded
from fastgen.lockfree.histogram import Histogram


def in_threads(count: int, work: Callable[[], None]) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


class TestCounter:
    def test_it_grows(self) -> None:
        counter = Counter()
        assert counter.value == 0
        counter.add()
        counter.add(41)
        counter.add(0)
        assert counter.value == 42

    def test_it_wraps(self) -> None:
        counter = Counter()
        counter.add((1 << 63) - 1)
        counter.add((1 << 63) - 1)
        counter.add(5)
        assert counter.value == 3

    @pytest.mark.parametrize("amount", [-1, 1 << 63, 1 << 64, -(1 << 80), 1.0, math.nan, "1", None, True])
    def test_what_is_no_amount(self, amount: Any) -> None:
        counter = Counter()
        with pytest.raises(InvalidParameterError):
            counter.add(amount)
        assert counter.value == 0

    @pytest.mark.parametrize("shards", [0, -1, 4097, 1 << 70, 1.5])
    def test_shards(self, shards: Any) -> None:
        with pytest.raises(InvalidParameterError):
            Counter(shards=shards)

    def test_a_numpy_integer_is_one(self) -> None:
        counter = Counter()
        counter.add(np.int64(7))  # type: ignore[arg-type]
        assert counter.value == 7

    def test_threads_lose_nothing(self) -> None:
        counter = Counter()

        def work() -> None:
            for _ in range(5000):
                counter.add(3)

        in_threads(8, work)
        assert counter.value == 8 * 5000 * 3

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_child_goes_on_from_the_parents_value(self) -> None:
        counter = Counter()
        counter.add(5)
        child = os.fork()
        if child == 0:
            counter.add(1)
            os._exit(counter.value)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6
        assert counter.value == 5

    def test_the_common_part_is_no_counter(self) -> None:
        with pytest.raises(TypeError):
            Sharded()

    @pytest.mark.parametrize("make", [Counter, lambda: Counters(3), Histogram, lambda: Rate(1, 0)])
    def test_no_copies(self, make: Callable[[], object]) -> None:
        for act in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                act(make())


class TestCounters:
    def test_side_by_side(self) -> None:
        counters = Counters(3, shards=2)
        counters.add(0)
        counters.add(2, 10)
        assert len(counters) == 3
        assert counters.value(2) == 10
        assert counters.read() == ((1, 0, 10), True)

    @pytest.mark.parametrize("counter", [-1, 3, 1 << 70, "0", None])
    def test_what_is_no_counter(self, counter: Any) -> None:
        counters = Counters(3)
        with pytest.raises(InvalidParameterError):
            counters.add(counter)
        with pytest.raises(InvalidParameterError):
            counters.value(counter)

    def test_threads(self) -> None:
        counters = Counters(4)

        def work() -> None:
            before: tuple[int, ...] = (0, 0, 0, 0)
            for number in range(2000):
                counters.add(number % 4)
                values, _ = counters.read()
                assert all(new >= old for new, old in zip(values, before, strict=True))
                before = values

        in_threads(4, work)
        assert counters.read() == ((2000, 2000, 2000, 2000), True)


class TestRate:
    def test_a_steady_stream_is_exact_at_once(self) -> None:
        rate = Rate(10, 100.0)
        assert rate.last == 0
        rate.add(50)
        assert rate.read(100.5) == pytest.approx(100)
        rate.add(300)
        assert rate.read(103.5) == pytest.approx(100)
        assert rate.total == 350

    def test_the_past_fades(self) -> None:
        rate = Rate(1, 0)
        rate.add(10)
        assert rate.read(1) == pytest.approx(10)
        # a second of 10/s and a second of nothing: weights e^-1 (1 - e^-1) of 1 - e^-2
        assert rate.read(2) == pytest.approx(10 * math.exp(-1) * (1 - math.exp(-1)) / (1 - math.exp(-2)))
        assert rate.read(100) < 1e-30

    def test_time_that_stands_or_goes_back(self) -> None:
        rate = Rate(1, 5)
        rate.add(10)
        assert rate.read(5) == 0
        assert rate.read(4) == 0
        assert rate.read(6) == pytest.approx(10)
        assert rate.read(1) == rate.last == pytest.approx(10)

    @pytest.mark.parametrize("now", [math.nan, math.inf, -1, "0", None, 1e10])
    def test_what_is_no_time(self, now: Any) -> None:
        with pytest.raises(InvalidParameterError):
            Rate(1, now)
        with pytest.raises(InvalidParameterError):
            Rate(1, 0).read(now)

    @pytest.mark.parametrize("constant", [0, -1, math.nan, math.inf, "1"])
    def test_what_is_no_time_constant(self, constant: Any) -> None:
        with pytest.raises(InvalidParameterError):
            Rate(constant, 0)

    @given(st.lists(st.floats(0.001, 100), min_size=1, max_size=30), st.integers(1, 1000))
    def test_a_steady_stream_whatever_the_steps(self, steps: list[float], events: int) -> None:
        rate, now = Rate(7, 0), 0.0
        for step in steps:
            # as many events for each second, in whole numbers: a step of 1/1000 of a second has `events` of them
            count = round(step * 1000)
            now += count / 1000
            rate.add(events * count)
            assert rate.read(now) == pytest.approx(events * 1000, rel=1e-5) or count == 0

"""Counter, Counters, Histogram, Rate: literals, properties, threads. The C code has its stress in tests/native."""

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
from fastgen.lockfree.counter import Counter, Counters, Histogram, Rate, Sharded


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


class TestHistogram:
    def test_small_values_are_exact(self) -> None:
        histogram = Histogram(unit=1, bits=20, precision=3)
        for value in (0, 3, 3, 7, 15):
            histogram.record(value)
        assert histogram.count == 5
        assert histogram.sum == 28
        assert histogram.mean == 5.6
        assert [histogram.quantile(share) for share in (0, 0.2, 0.21, 0.6, 0.61, 0.8, 0.81, 1)] == [0, 0, 3, 3, 7, 7, 15, 15]
        assert histogram.read() == ([(0.0, 1), (3.0, 2), (7.0, 1), (15.0, 1)], True)

    def test_large_values_are_rounded_up(self) -> None:
        histogram = Histogram(unit=1, bits=20, precision=3)
        histogram.record(1000)  # 1111101000: buckets of 64 from 512 on
        assert histogram.read() == ([(1023.0, 1)], True)
        assert histogram.sum == 1000

    def test_nothing_recorded(self) -> None:
        histogram = Histogram()
        assert (histogram.count, histogram.sum, histogram.mean, histogram.quantile(0.5)) == (0, 0, 0, 0)
        assert histogram.read() == ([], True)

    def test_what_is_too_large_counts_as_the_largest(self) -> None:
        histogram = Histogram(unit=1, bits=8, precision=3)
        histogram.record(1e300)
        histogram.record(256)
        assert histogram.read() == ([(255.0, 2)], True)
        assert histogram.sum == 510

    def test_seconds(self) -> None:
        histogram = Histogram()
        histogram.record_many(np.linspace(0.001, 1.0, 1000))
        assert histogram.count == 1000
        assert histogram.quantile(0.5) == pytest.approx(0.5, rel=1 / 32)
        assert histogram.quantile(0.99) == pytest.approx(0.99, rel=1 / 32)
        assert histogram.mean == pytest.approx(0.5005)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -1e-9, -math.inf, "1", None, 1 << 2000])
    def test_what_is_no_value(self, value: Any) -> None:
        histogram = Histogram()
        with pytest.raises(InvalidParameterError):
            histogram.record(value)
        if isinstance(value, float):
            with pytest.raises(InvalidParameterError, match="index=1"):
                histogram.record_many(np.array([1.0, value]))
        assert histogram.count == 0

    @pytest.mark.parametrize("values", [np.zeros(3, np.float32), np.zeros((2, 2)), np.zeros(6)[::2], b"12345678", None])
    def test_what_is_no_array_of_values(self, values: Any) -> None:
        with pytest.raises((ValueError, TypeError)):
            Histogram().record_many(values)

    @pytest.mark.parametrize(
        "arguments",
        [{"unit": 0}, {"unit": -1}, {"unit": math.nan}, {"bits": 0}, {"bits": 63}, {"precision": 11}, {"precision": -1}],
    )
    def test_arguments(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(InvalidParameterError):
            Histogram(**arguments)

    @pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, "0.5"])
    def test_what_is_no_quantile(self, share: Any) -> None:
        with pytest.raises(InvalidParameterError):
            Histogram().quantile(share)

    def test_merge(self) -> None:
        first, second = Histogram(unit=1), Histogram(unit=1)
        first.record(1)
        second.record_many(np.array([1.0, 500.0]))
        first.merge(second)
        assert first.count == 3
        assert first.sum == 502
        first.merge(first)
        assert first.count == 6
        assert second.count == 2
        with pytest.raises(InvalidParameterError):
            first.merge(Histogram(unit=2))
        with pytest.raises(TypeError):
            first.merge(None)  # type: ignore[arg-type]

    @given(
        st.lists(st.integers(0, (1 << 30) - 1), min_size=1, max_size=100),
        st.integers(0, 10),
        st.floats(0, 1),
    )
    def test_quantiles_are_close_and_never_too_low(self, values: list[int], precision: int, share: float) -> None:
        histogram = Histogram(unit=1, bits=30, precision=precision)
        for value in values:
            histogram.record(value)
        exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
        found = histogram.quantile(share)
        assert exact <= found <= exact * (1 + 2.0**-precision)
        assert histogram.count == len(values)
        assert histogram.sum == sum(values)

    def test_count_is_the_sum_of_the_buckets_while_others_write(self) -> None:
        histogram = Histogram(unit=1)
        values = np.arange(1000, dtype=np.float64)

        def work() -> None:
            for _ in range(20):
                histogram.record_many(values)  # without the GIL
                histogram.read()

        in_threads(4, work)
        buckets, consistent = histogram.read()
        assert consistent
        assert sum(count for _, count in buckets) == histogram.count == 80_000
        assert histogram.sum == 80 * 499_500


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

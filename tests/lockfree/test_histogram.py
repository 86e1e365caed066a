"""Histogram: literals, properties, threads."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError
from fastgen.lockfree.histogram import Histogram


class TestHistogram:
    def test_small_values_are_exact(self) -> None:
        histogram = Histogram(unit=1, bits=20, precision=3)
        for value in (0, 3, 3, 7, 15):
            histogram.record(value)
        assert histogram.count == 5
        assert histogram.sum == 28
        assert histogram.mean == 5.6
        assert [histogram.quantile(share) for share in (0, 0.2, 0.21, 0.6, 0.61, 0.8, 0.81, 1)] == [
            0,
            0,
            3,
            3,
            7,
            7,
            15,
            15,
        ]
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
        [
            {"unit": 0},
            {"unit": -1},
            {"unit": math.nan},
            {"bits": 0},
            {"bits": 63},
            {"precision": 11},
            {"precision": -1},
        ],
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

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        buckets, consistent = histogram.read()
        assert consistent
        assert sum(count for _, count in buckets) == histogram.count == 80_000
        assert histogram.sum == 80 * 499_500

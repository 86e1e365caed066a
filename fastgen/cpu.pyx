# cython: language_level=3
"""Which SIMD level runs: what the machine offers, what is in use, and a switch for tests.

Levels are named ``scalar``, ``avx2``, ``avx512`` (x86-64) and ``neon`` (arm64). The environment variable
``FASTGEN_SIMD`` (``auto`` or a level) caps the level when the package is imported. Results have the same bits on every
level.
"""

import os
import warnings

cdef extern from "cpu.h" nogil:
    uint32_t FG_SCALAR, FG_AVX2, FG_AVX512, FG_NEON
    uint32_t fg_cpu_detect()


# Lowest first. A level brings the features of the levels before it that share its architecture.
cdef list LEVELS = [("scalar", FG_SCALAR), ("avx2", FG_AVX2), ("avx512", FG_AVX2 | FG_AVX512), ("neon", FG_NEON)]
cdef dict FEATURES = dict(LEVELS)
cdef uint32_t machine = fg_cpu_detect()
cdef str level_in_use = "scalar"

cdef on_change_fn listeners[64]
cdef int listener_count = 0


cdef int on_change(on_change_fn select) except -1:
    """Register a kernel family: `select` is called now, and again whenever the level changes."""
    global listener_count
    if listener_count == 64:
        raise RuntimeError("more kernel families than on_change() has room for")
    listeners[listener_count] = select
    listener_count += 1
    select(FEATURES[level_in_use])
    return 0


cdef void use(str level) noexcept:
    global level_in_use
    cdef uint32_t features = FEATURES[level]
    level_in_use = level
    for index in range(listener_count):
        listeners[index](features)


def detected():
    """Return the levels that this build holds and this machine can run, lowest first.

    Returns
    -------
    tuple of str
        ``("scalar", "avx2", "avx512")`` on a recent x86-64 server, for example.
    """
    return tuple([name for name, features in LEVELS if (features & machine) == features])


def active():
    """Return the level in use, one of `detected()`."""
    return level_in_use


class force:
    """Use another level: ``with force("avx2"): ...`` for a while, or ``force("avx2")`` for good.

    Meant for tests and benchmarks: the switch is for the whole process and must not be thrown while other threads are
    inside fastgen.

    Raises
    ------
    ValueError
        If the machine or the build lacks the level.
    """

    def __init__(self, level):
        if level not in detected():
            raise ValueError(f"SIMD level {level!r} is not available here; available: {', '.join(detected())}")
        self._before = level_in_use
        use(level)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        use(self._before)


cdef str wanted(str text):
    """Return the level to start with; a value that can't be had is answered with a warning, never with a crash."""
    best = detected()[-1]
    if text in ("", "auto"):
        return best
    if text in detected():
        return text
    reason = "this machine or build lacks it" if text in FEATURES else "there is no such level"
    warnings.warn(
        f"FASTGEN_SIMD={text}: {reason}; using {best!r}. Available: auto, {', '.join(detected())}",
        RuntimeWarning,
        stacklevel=2,
    )
    return best


use(wanted(os.environ.get("FASTGEN_SIMD", "auto").strip().lower()))

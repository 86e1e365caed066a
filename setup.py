"""Extensions by the path rule: fastgen/<path>.pyx + csrc/<path>.c + csrc/<path>/*.c make one module.

Metadata is in pyproject.toml. Which instructions a file may use is written in the file (csrc/base/target.h), so every
file gets the same flags. Switches, all environment variables:

FASTGEN_BUILD_SIMD=0      scalar code only
FASTGEN_REQUIRE_SIMD=1    a compiler too old for a level is an error, not a lesser build
FASTGEN_SANITIZE=address,undefined    instrumented build
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
HEADERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.h"))


def c_sources(pyx: Path) -> list[str]:
    """Return the C files that belong to fastgen/<path>.pyx."""
    base = Path("csrc", *pyx.with_suffix("").parts[1:])
    return [str(path) for path in (base.with_suffix(".c"), *sorted(base.glob("*.c"))) if path.exists()]


def flags() -> tuple[list[str], list[str]]:
    """Return compiler and linker flags, the same for every file. Never -ffast-math: equal bits are a promise."""
    if sys.platform == "win32":
        return ["/O2", "/std:c11", "/experimental:c11atomics"], []
    compiler = ["-O3", "-std=c11", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Wextra"]
    compiler += ["-Wno-unused-function", "-Wno-unused-parameter", "-Wno-sign-compare", "-Wno-cast-function-type"]
    if sanitize := os.environ.get("FASTGEN_SANITIZE"):
        return [*compiler, "-g", "-O1", f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"], [f"-fsanitize={sanitize}"]
    return [*compiler, "-g0"], []  # Python's own flags ask for debug symbols: ten times the size


def extensions() -> list[Extension]:
    os.chdir(ROOT)
    compile_args, link_args = flags()
    macros = [(name, os.environ[name]) for name in ("FASTGEN_BUILD_SIMD", "FASTGEN_REQUIRE_SIMD") if name in os.environ]
    return [
        Extension(
            ".".join(pyx.with_suffix("").parts),
            [str(pyx), *c_sources(pyx)],
            include_dirs=["csrc"],
            depends=HEADERS,
            define_macros=macros,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
        for pyx in sorted(Path("fastgen").rglob("*.pyx"))
    ]


setup(ext_modules=cythonize(extensions(), build_dir="build/cython", nthreads=os.cpu_count() or 1))

"""Import times, each in a fresh interpreter."""

from __future__ import annotations


class Import:
    version = "1"
    number = 1
    repeat = 10
    param_names = ("module",)
    params = (["numpy", "fastgen", "fastgen.sampler", "fastgen.generator", "fastgen.cli"],)

    def timeraw_import(self, module: str) -> str:
        return f"import {module}"

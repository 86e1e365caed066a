"""Write cluster_table.h from the Unicode properties that the package `regex` carries.

    pip install regex && python csrc/detokenizer/make_cluster_table.py 18.0.0

The argument is the version of Unicode that the installed `regex` supports, as its description says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import regex

TABULATED = 0x20000
BLOCK = 64
EVERY = range(0x110000)

# In the order of fg_cluster_class; a code point takes the last class that fits.
CLASSES = {
    0: r".",
    1: r"\p{GCB=Control}",
    2: r"(?V1)[\p{GCB=Extend}&&\p{InCB=Extend}]",
    3: r"(?V1)[\p{GCB=Extend}--\p{InCB=Extend}--\p{InCB=Linker}]",
    4: r"(?V1)[\p{GCB=Extend}&&\p{InCB=Linker}]",
    5: r"(?V1)[\p{InCB=Linker}--\p{GCB=Extend}]",
    6: r"\p{InCB=Consonant}",
    7: r"\p{GCB=ZWJ}",
    8: r"\p{GCB=Regional_Indicator}",
    9: r"\p{GCB=Prepend}",
    10: r"\p{GCB=SpacingMark}",
    11: r"\p{GCB=L}",
    12: r"\p{GCB=V}",
    13: r"\p{GCB=T}",
    14: r"(?V1)[\p{GCB=LV}||\p{GCB=LVT}]",
    15: r"\p{Extended_Pictographic}",
}


def members(pattern: str) -> set[int]:
    matches = regex.compile(pattern, regex.DOTALL).match
    return {point for point in EVERY if matches(chr(point))}


def classes() -> list[int]:
    """Return the class of each code point, after checking what the C code takes for granted."""
    found = [0] * len(EVERY)
    for number, pattern in CLASSES.items():
        for point in members(pattern) if number else ():
            assert not found[point], hex(point)
            found[point] = number
    assert {point for point in EVERY if found[point] == 14} == set(range(0xAC00, 0xAC00 + 11172))
    assert members(r"\p{GCB=LV}") == set(range(0xAC00, 0xAC00 + 11172, 28))
    controls = {*range(0x20), 0x7F} - {0x0A, 0x0D}
    assert {point for point in range(0x80) if found[point]} == controls == members(r"\p{GCB=Control}") & {*range(0x80)}
    assert members(r"\p{GCB=CR}") == {0x0D}
    assert members(r"\p{GCB=LF}") == {0x0A}
    extenders = {*range(0xE0020, 0xE0080), *range(0xE0100, 0xE01F0)}
    for point in range(TABULATED, len(EVERY)):
        expected = 0 if point >> 12 != 0xE0 else 2 if point in extenders else 1
        assert found[point] == expected, hex(point)
    return found[:TABULATED]


def rows(texts: list[str], width: int) -> str:
    return "\n".join("    " + " ".join(texts[start : start + width]) for start in range(0, len(texts), width))


def main(version: str) -> None:
    found = classes()
    blocks: dict[tuple[int, ...], int] = {}
    index = [
        blocks.setdefault(tuple(found[start : start + BLOCK]), len(blocks)) for start in range(0, TABULATED, BLOCK)
    ]
    assert len(blocks) <= 256
    lines = []
    for block in blocks:
        words = [sum(one << 4 * place for place, one in enumerate(block[at : at + 16])) for at in range(0, BLOCK, 16)]
        lines.append("{" + ", ".join(f"0x{word:x}" for word in words) + "},")
    Path(__file__).with_name("cluster_table.h").write_text(
        f"""/** Classes of code points for grapheme clusters, of Unicode {version}. Written by make_cluster_table.py. */
/* clang-format off */
#ifndef FG_DETOKENIZER_CLUSTER_TABLE_H
#define FG_DETOKENIZER_CLUSTER_TABLE_H

#include "base/base.h"

enum {{ FG_CLUSTER_TABULATED = 0x{TABULATED:X} }};

/** For each {BLOCK} code points the place of their classes in fg_cluster_blocks. */
static uint8_t const fg_cluster_index[FG_CLUSTER_TABULATED / {BLOCK}] = {{
{rows([f"{place}," for place in index], 22)}
}};

/** Blocks of {BLOCK} classes, each four bits, the first lowest. */
static uint64_t const fg_cluster_blocks[{len(blocks)}][4] = {{
{rows(lines, 1)}
}};

#endif
""",
        "utf-8",
    )


if __name__ == "__main__":
    main(sys.argv[1])

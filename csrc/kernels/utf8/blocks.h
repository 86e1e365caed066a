/** How a level validates with registers of FG_UTF8_BLOCK bytes. Before it includes this, it has defined
 *
 *     int ascii(uint8_t const *text, size_t size)         whether all bytes are below 0x80
 *     int faulty(uint8_t const *text, size_t size)        whether any byte does not fit the three before it
 *     int faulty_start(uint8_t const *text, size_t size)  the same for the first block of a text, or for a text of less
 *
 * The first two take multiples of a block. Whether a byte fits is a matter of four bytes, so `faulty` keeps no state
 * from block to block but reads the three bytes before `text`, and blocks may overlap. A sequence that is cut short
 * shows at the byte behind it: `faulty_start` sees that one, too, behind a text of less than a block. */

/** The exact offset, which blocks can't tell: before `at` there was no fault. */
static size_t locate(uint8_t const *text, size_t size, size_t at) {
    size_t const start = fg_utf8_boundary(text, at);
    return start + fg_utf8_prefix(text + start, size - start);
}

/** Whether the bytes before `text` want more, which ASCII is not. */
FG_INLINE int cut_short(uint8_t const *text) { return text[-1] >= 0xC0 || text[-2] >= 0xE0 || text[-3] >= 0xF0; }

static size_t validate(uint8_t const *text, size_t size) {
    enum { BLOCK = FG_UTF8_BLOCK, GROUP = 512 };
    if (size == 0) return 0;
    size_t const start = size < BLOCK ? size : BLOCK;
    if (faulty_start(text, start)) return locate(text, size, 0);
    if (size < BLOCK) return size;
    if (size < BLOCK + 3) return locate(text, size, start);
    size_t at = BLOCK - (uintptr_t)text % BLOCK; /* aligned from here on */
    if (at < 3) at = BLOCK;
    while (size - at >= BLOCK) {
        size_t const length = size - at < GROUP ? (size - at) / BLOCK * BLOCK : GROUP;
        int const fault = ascii(text + at, length) ? cut_short(text + at) : faulty(text + at, length);
        if (fault) return locate(text, size, at);
        at += length;
    }
    if (at < size && faulty(text + size - BLOCK, BLOCK)) return locate(text, size, size - BLOCK);
    return locate(text, size, size); /* the last sequence may want more */
}

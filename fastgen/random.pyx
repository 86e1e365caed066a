# cython: language_level=3
"""The one random generator: Philox 4x32-10, a pure function of its arguments.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from fastgen.errors import InvalidParameterError

cdef extern from "base/random.h" nogil:
    void fg_philox4x32(const uint32_t *counter, const uint32_t *key, uint32_t *out)
    double fg_uniform(uint64_t seed, uint32_t choice, uint32_t position, uint32_t purpose, uint32_t attempt)


cdef double uniform_at(uint64_t seed, uint32_t choice, uint32_t position, uint32_t purpose,
                       uint32_t attempt) noexcept nogil:
    return fg_uniform(seed, choice, position, purpose, attempt)


def philox4x32(counter, key):
    """Return four 32-bit words for a counter of four words and a key of two.

    Raises
    ------
    InvalidParameterError
        If there are not four and two words, or a word is not below 2**32.
    """
    cdef uint32_t[4] words
    cdef uint32_t[2] keys
    cdef uint32_t[4] out
    if len(counter) != 4 or len(key) != 2 or not all(0 <= word < 1 << 32 for word in (*counter, *key)):
        raise InvalidParameterError("philox4x32 takes a counter of four and a key of two 32-bit words")
    for index in range(4):
        words[index] = counter[index]
    keys[0], keys[1] = key[0], key[1]
    fg_philox4x32(words, keys, out)
    return out[0], out[1], out[2], out[3]


def uniform(seed, choice=0, position=0, purpose=0, attempt=0):
    """Return the uniform number in (0, 1), of 53 bits, that fastgen draws at this place.

    Parameters
    ----------
    seed : int
        64 bits; a negative seed stands for its two's complement.
    choice, position, purpose, attempt : int
        32 bits each: the continuation of a request, the token in it, what the draw is for, and which try it is.

    Raises
    ------
    InvalidParameterError
        If a number has too many bits.
    """
    if not -(1 << 63) <= seed < 1 << 64 or not all(0 <= x < 1 << 32 for x in (choice, position, purpose, attempt)):
        raise InvalidParameterError("seed takes 64 bits, the other arguments 32 bits each")
    return fg_uniform(seed & 0xFFFFFFFFFFFFFFFF, choice, position, purpose, attempt)

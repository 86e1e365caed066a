"""StopMatcher: finds stop strings in a stream of text and holds back no more of it than it must."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from fastgen.errors import InvalidParameterError, StreamClosedError

__all__ = ["Match", "StopMatcher"]


class Match(NamedTuple):
    """What a step of a `StopMatcher` yields."""

    text: bytes  # what is now safe to emit
    stopped: bool
    stop: str | None  # the stop string that ended the text


class StopMatcher:
    """Streaming search for stop strings.

    The stop that completes first wins; of several that complete at the same byte, the longest. Held back is the longest
    end of the text that is the beginning of a stop, and it leaves as soon as it no longer is; so at most the longest
    stop less one byte is kept, however long the stream.

    The search runs on UTF-8 bytes. If every piece fed ends with a whole character (as any ``str`` does), so does every
    `Match.text`: a stop starts with the first byte of a character, hence so does what is held back, the beginning of a
    stop. Pieces of bytes that are cut inside a character may leave cut at the same place.

    Parameters
    ----------
    stops : iterable of str
        The stop strings, any number; a plain ``str`` is one stop.
    include : bool, default False
        Whether the text keeps the stop that ended it.

    Raises
    ------
    InvalidParameterError
        A stop is empty, not a string, or holds a lone surrogate.
    """

    __slots__ = ("_automaton", "_flushed", "_held", "_include", "_state", "_stop", "_stops")

    def __init__(self, stops: Iterable[str], include: bool = False) -> None:
        self._stops = (stops,) if isinstance(stops, str) else tuple(stops)
        self._automaton = _build([_encode_stop(stop, place) for place, stop in enumerate(self._stops)])
        self._include = include
        self._state = 0
        self._held = b""
        self._stop: str | None = None
        self._flushed = False

    def feed(self, text: bytes | str) -> Match:
        """Add text and return what is safe to emit.

        Parameters
        ----------
        text : bytes or str
            The next piece. What follows a stop in it is dropped.

        Returns
        -------
        Match
            Nothing that comes later can make `Match.text` part of a stop.

        Raises
        ------
        StreamClosedError
            A stop was found before, or the matcher was flushed.
        InvalidParameterError
            The text is of another type or holds a lone surrogate; nothing has changed.
        """
        if self._flushed or self._stop is not None:
            raise StreamClosedError("the text has already ended", hint="use a new StopMatcher for each stream")
        data = _encode_text(text)
        edges, fails, depths, ends = self._automaton
        state = self._state
        for place, byte in enumerate(data):
            while state and (state << 8 | byte) not in edges:
                state = fails[state]
            state = edges.get(state << 8 | byte, 0)
            if (which := ends[state]) >= 0:
                return self._finish(data[: place + 1], self._stops[which])
        unsent = self._held + data
        cut = len(unsent) - depths[state]
        self._state, self._held = state, unsent[cut:]
        return Match(unsent[:cut], False, None)

    def flush(self) -> Match:
        """End the text: return what was held back, which is no stop after all. After a stop there is nothing left."""
        held, self._held, self._flushed = self._held, b"", True
        return Match(held, self._stop is not None, self._stop)

    def _finish(self, data: bytes, stop: str) -> Match:
        unsent = self._held + data
        self._held, self._stop = b"", stop
        return Match(unsent if self._include else unsent[: len(unsent) - len(stop.encode())], True, stop)


class _Automaton(NamedTuple):
    """Aho-Corasick. A state is the beginning of a stop, its depth the length of that in bytes; state 0 is the root."""

    edges: dict[int, int]  # state << 8 | byte -> state
    fails: list[int]  # the state of the longest proper suffix that is also the beginning of a stop
    depths: list[int]
    ends: list[int]  # place in the list of the longest stop that the state ends with, -1 for none


def _build(stops: list[bytes]) -> _Automaton:
    edges: dict[int, int] = {}
    fails, depths, ends = [0], [0], [-1]
    for place, stop in enumerate(stops):
        state = 0
        for byte in stop:
            edge = state << 8 | byte
            if edge not in edges:
                edges[edge] = len(fails)
                fails.append(0)
                depths.append(depths[state] + 1)
                ends.append(-1)
            state = edges[edge]
        if ends[state] < 0:
            ends[state] = place
    children: list[list[tuple[int, int]]] = [[] for _ in fails]
    for edge, child in edges.items():
        children[edge >> 8].append((edge & 255, child))
    queue = deque([0])
    while queue:  # breadth first: the fail state is always shallower, so it is already complete
        parent = queue.popleft()
        for byte, child in children[parent]:
            if parent:
                state = fails[parent]
                while state and (state << 8 | byte) not in edges:
                    state = fails[state]
                fails[child] = edges.get(state << 8 | byte, 0)
            if ends[child] < 0:
                ends[child] = ends[fails[child]]
            queue.append(child)
    return _Automaton(edges, fails, depths, ends)


def _encode_stop(stop: str, place: int) -> bytes:
    if not isinstance(stop, str):
        raise InvalidParameterError(
            "a stop must be a string", hint="decode bytes first", place=place, type=type(stop).__name__
        )
    if not stop:
        raise InvalidParameterError("a stop string is empty", hint="leave it out: it would stop at once", place=place)
    try:
        return stop.encode()
    except UnicodeEncodeError as error:
        raise InvalidParameterError(
            "a stop string holds a lone surrogate", hint="no text can contain it", place=place, offset=error.start
        ) from error


def _encode_text(text: bytes | str) -> bytes:
    if isinstance(text, str):
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise InvalidParameterError(
                "the text holds a lone surrogate", hint="decode the bytes as UTF-8", offset=error.start
            ) from error
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise InvalidParameterError("the text must be str or bytes", hint="decode it first", type=type(text).__name__)

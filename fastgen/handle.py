"""Handle: a request at work in a thread of its own, and the stream of its pieces."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from fastgen.errors import GenerationTimeout
from fastgen.output import GenerationOutput, Piece
from fastgen.streams import TokenStream

__all__ = ["Handle"]

LAST_STEP: Final = 60.0  # seconds that a pass of the model may take while the interpreter ends


_working: dict[threading.Thread, Any] = {}  # the writers of the threads at work


@atexit.register
def _end_all() -> None:
    """End all requests before the interpreter does: torch does not survive a thread that is stopped inside it."""
    for writer in list(_working.values()):
        writer.abort("shutdown")
    for thread in list(_working):
        thread.join(LAST_STEP)


os.register_at_fork(after_in_child=_working.clear)  # their threads are the parent's


class _State:
    """What the working thread and the handle share; neither keeps the other alive."""

    __slots__ = ("done", "error", "outputs", "stopping")

    def __init__(self) -> None:
        self.outputs: list[GenerationOutput] = []
        self.error: BaseException | None = None
        self.done = threading.Event()
        self.stopping = False  # all sequences shall end, and what they hold shall still come


class Handle:
    """A request that works in the background; made by `Generator.submit`.

    Its pieces are read once, by a loop (``for``) or an asynchronous one; or only its `result` is asked for. Dropping
    the handle, and leaving a loop over it, cancels the request.

    Parameters
    ----------
    work : callable
        ``work(ended) -> pieces``: generates, and ends all sequences as soon as ``ended()`` is true.
    collect : callable
        Makes the result of the outputs.
    capacity : int
        Pieces that may wait for the reader; then the request pauses.
    """

    __slots__ = ("_collect", "_reader", "_state", "_stream", "_thread")

    def __init__(
        self,
        work: Callable[[Callable[[], bool]], Iterator[Piece]],
        collect: Callable[[list[GenerationOutput]], Any],
        capacity: int,
    ) -> None:
        self._collect = collect
        self._state = _State()
        self._stream = TokenStream(capacity)
        self._reader: Iterator[Any] | None = None  # kept, so that a loop that was interrupted can go on
        writer = self._stream.writer()
        self._thread = threading.Thread(
            target=_produce, args=(work, writer, self._state), name="fastgen-request", daemon=True
        )
        _working[self._thread] = writer
        try:
            self._thread.start()
        except BaseException:  # no more threads can be had
            del _working[self._thread]
            raise

    def cancel(self) -> None:
        """End the request: nothing more is delivered when this returns, and the work stops within a step."""
        self._stream.cancel()

    def stop(self) -> None:
        """End all sequences; what they hold back, and their outputs, are still delivered."""
        self._state.stopping = True

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Returns
        -------
        GenerationOutput, or a list of them if a list of prompts was given
            Of a cancelled request what there was, with ``finish_reason == "abort"``.

        Raises
        ------
        GenerationTimeout
            There is no result yet; the request goes on.
        Exception
            What the model or the sampler raised.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        state = self._state
        if not state.done.wait(timeout):
            raise GenerationTimeout("there is no result yet", hint="the request goes on", timeout=timeout)
        if state.error is not None:
            raise state.error
        self._thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self._collect(list(state.outputs))

    @property
    def done(self) -> bool:
        """Whether the request has ended."""
        return self._state.done.is_set()

    def __iter__(self) -> Iterator[Piece]:
        if self._reader is None:
            self._reader = iter(self._stream)
        try:
            for chunk in self._reader:
                yield from chunk.payloads
        except GeneratorExit:
            self.cancel()
            raise

    async def __aiter__(self) -> AsyncIterator[Piece]:
        async for chunk in self._stream:
            for piece in chunk.payloads:
                yield piece


def _produce(work: Callable[[Callable[[], bool]], Iterator[Piece]], writer: Any, state: _State) -> None:
    """Put the pieces into the stream; it waits where the reader is behind, and so does the model."""
    try:
        for piece in work(lambda: state.stopping or writer.cancelled):
            if piece.output is not None:
                state.outputs.append(piece.output)
            writer.send(piece.token_ids, piece.text, piece)
    except BaseException as error:
        state.error = error
        writer.fail(error)
    else:
        writer.finish()
    finally:
        state.done.set()
        _working.pop(threading.current_thread(), None)

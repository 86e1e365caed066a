# cython: language_level=3
"""CancellationToken: the wish that work should stop, for a request and all that belongs to it."""

import math
import time
import weakref

cimport cython

from fastgen.pipe cimport fg_load_acquire, fg_store_release

from fastgen.errors import CancelledError, GenerationTimeout, InvalidParameterError


@cython.auto_pickle(False)
cdef class CancellationToken:
    """A wish to stop that spreads from a token to its children, once and for all.

    Parameters
    ----------
    parent : CancellationToken, optional
        Its cancellation, also an earlier one, is this token's. See `child`.
    timeout : float, optional
        Seconds from now until it cancels itself, with the reason ``timeout``. No timer runs for it: whoever works or
        waits on behalf of the token looks at `cancelled`, which looks at the clock.
    clock : callable, default that of the parent, else time.monotonic

    Attributes
    ----------
    reason : str or None
        What it was cancelled with.

    Raises
    ------
    InvalidParameterError
        `timeout` is no number of at least 0.

    Notes
    -----
    All of it may be used from any thread. Where the GIL is not held, C code reads the state by one atomic load.
    """

    def __cinit__(self, CancellationToken parent=None, *, timeout=None, clock=None):
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))
                                    or not timeout >= 0):
            raise InvalidParameterError("timeout must be a number of at least 0", timeout=timeout)
        self.observers = {}
        self.clock = clock or (time.monotonic if parent is None else parent.clock)
        self.deadline = math.inf if timeout is None else self.clock() + timeout
        if parent is not None:
            self.parent = parent
            self.deadline = min(self.deadline, parent.deadline)
            self.key = parent.observe(Child(self))

    def __dealloc__(self):
        if self.parent is not None and self.parent.observers is not None:
            self.parent.observers.pop(self.key, None)

    cdef bint is_cancelled(self) noexcept nogil:
        return fg_load_acquire(&self.state) != 0

    def child(self, *, timeout=None):
        """Return a token that is cancelled with this one, or alone, or after `timeout` seconds."""
        return CancellationToken(self, timeout=timeout)

    def cancel(self, reason="cancelled"):
        """Cancel it and its children; the observers are called by this thread, each once.

        Returns
        -------
        bool
            Whether it was this call that did it.

        Raises
        ------
        BaseException
            What the first observer that failed raised, after all have been called.
        """
        cdef str why = str(reason)
        if fg_load_acquire(&self.state):
            return False
        self.reason = why
        fg_store_release(&self.state, 1)        # under the GIL since the look, so nobody came first
        observers, self.observers = self.observers, {}
        failure = None
        for observer in observers.values():
            try:
                observer(self.reason)
            except BaseException as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return True

    def observe(self, observer not None):
        """Have a function called with the reason when the token is cancelled; at once if it is.

        Returns
        -------
        object
            What `remove` takes.
        """
        key = object()
        if self.cancelled:
            observer(self.reason)
        else:
            self.observers[key] = observer
        return key

    def remove(self, key):
        """Forget an observer; it need not be known any more."""
        self.observers.pop(key, None)

    def poll(self):
        """Look at the clock: true if the token is cancelled, now or before."""
        return self.cancelled

    def check(self):
        """Raise if it is cancelled: GenerationTimeout for a deadline, else CancelledError."""
        if self.cancelled:
            if self.reason == "timeout":
                raise GenerationTimeout("the deadline passed first")
            raise CancelledError("the work was cancelled", reason=self.reason)

    def remaining(self):
        """Return the seconds until the deadline, at least 0; infinite if there is none."""
        return max(0.0, self.deadline - self.clock()) if self.deadline != math.inf else math.inf

    @property
    def cancelled(self):
        """Whether it is cancelled; if the deadline has passed, it is from now on."""
        if fg_load_acquire(&self.state):
            return True
        if self.deadline != math.inf and self.clock() >= self.deadline:
            self.cancel("timeout")
            return True
        return False

    def __repr__(self):
        return f"CancellationToken({self.reason or 'not cancelled'})"


@cython.final
cdef class Child:
    """Cancels a token that its parent knows weakly: a request's tokens go when the request does."""
    cdef object token

    def __cinit__(self, token):
        self.token = weakref.ref(token)

    def __call__(self, reason):
        token = self.token()
        if token is not None:
            token.cancel(reason)

"""Queue between threads, across a fork and at the interpreter's exit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from fastgen.errors import ForkedError, StreamClosedError
from fastgen.lockfree.queue import Queue

KINDS = pytest.mark.parametrize("capacity", [None, 8], ids=["unbounded", "bounded"])


@KINDS
def test_many_threads(capacity: int | None) -> None:
    queue, producers, each = Queue(capacity), 3, 1000
    got: list[list[tuple[int, int]]] = [[], [], []]
    left = threading.Semaphore(0)

    def produce(number: int) -> None:
        sent = 0
        while sent < each:
            pushed = queue.push_many((number, item) for item in range(sent, min(sent + 1 + sent % 5, each)))
            sent += pushed
            time.sleep(0 if pushed else 1e-5)
        left.release()

    def consume(number: int) -> None:
        try:
            while True:
                popped = queue.pop_many(4)
                got[number] += popped
                time.sleep(0 if popped else 1e-5)
        except StreamClosedError:
            pass

    def close() -> None:
        for _ in range(producers):
            left.acquire()
        queue.close()

    threads = [threading.Thread(target=target, args=(i,)) for target in (produce, consume) for i in range(producers)]
    threads.append(threading.Thread(target=close))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(item for items in got for item in items) == [(i, j) for i in range(producers) for j in range(each)]
    for items in got:
        for producer in range(producers):
            own = [item for number, item in items if number == producer]
            assert own == sorted(own)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@KINDS
def test_a_forked_child_is_told(capacity: int | None) -> None:
    queue = Queue(capacity)
    queue.push("a")
    child = os.fork()
    if not child:
        calls = [queue.pop, queue.pop_many, queue.close, lambda: queue.push(1), lambda: queue.push_many([1])]
        calls += [lambda: len(queue), lambda: queue.closed]
        refused = 0
        for call in calls:
            try:
                call()
            except ForkedError:
                refused += 1
        del calls, call, queue
        fresh = Queue(capacity)
        os._exit(0 if refused == 7 and fresh.push(1) and fresh.pop() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert queue.pop() == "a"


EXIT = """
import threading
import time
from fastgen.lockfree.queue import Queue
from fastgen.lockfree.ring import Ring
queue, ring = Queue(), Ring(8)
def spin():
    while True:
        queue.push_many([object()] * 300), queue.pop_many(), ring.push_many([1, 2]), ring.pop_many()
threads = [threading.Thread(target=spin, daemon=True) for _ in range(3)]
for thread in threads: thread.start()
queue.push(queue)
"""


def test_the_interpreter_can_exit_while_threads_are_inside() -> None:
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

"""Threads that load images while others run the network."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from gfkeras.errors import ImageError
from gfkeras.inference.runtimes import Runtime

Task = TypeVar("Task")
Result = TypeVar("Result")


class Loaded:
    """The images of one batch that could be loaded, and the reasons why others could not.

    `load` returns one or more images, (F, H, W, 3) uint8, for a position. `index` has the position
    of each image, and `images` is None if no image could be loaded.
    """

    def __init__(self, positions: range, load: Callable[[int], np.ndarray]):
        self.index: list[int] = []
        self.failed: list[tuple[int, str]] = []
        images = []
        for position in positions:
            try:
                loaded = load(position)
            except ImageError as error:
                self.failed.append((position, error.reason))
                continue
            images.append(loaded)
            self.index += [position] * len(loaded)
        self.images = np.concatenate(images) if images else None


class Runtimes:
    """One runtime for a single batch, or one per thread for many batches.

    Two interpreters with one thread each need less time for two batches than one interpreter with
    two threads. They also do not wait for each other's images.

    A runtime with a `copy` serves one thread at a time, so each thread borrows a runtime. The first
    gets `main`, which has several threads. Others get copies with one thread each. There are at
    most `num_threads` copies, and further threads wait for one.
    """

    def __init__(self, runtime: Runtime, num_threads: int):
        self.main, self.num_threads = runtime, num_threads
        self._copy: Callable[[], Runtime] | None = getattr(runtime, "copy", None)
        self._main_taken = threading.Lock()
        self._idle: queue.LifoQueue[Runtime] = queue.LifoQueue()
        self._making = threading.Lock()
        self._made = 0

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Runtime]:
        """Returns a runtime that no other thread uses inside the block."""
        if self._copy is None:
            yield self.main
        elif self._main_taken.acquire(blocking=self.num_threads == 1):
            try:
                yield self.main
            finally:
                self._main_taken.release()
        else:
            with self._borrowed_copy() as runtime:
                yield runtime

    def map(
        self,
        tasks: Iterable[Task],
        load: Callable[[Task], Any],
        run: Callable[[Any, Runtime], Result],
    ) -> Iterator[Result]:
        """Yields `run(load(task), runtime)` for each task in order, and loads ahead on threads."""
        if self._copy is None or self.num_threads == 1:
            # Only loading uses the pool. The runtime has its own threads, and some runtimes must
            # be called from the same thread each time.
            with ThreadPoolExecutor(max(2, self.num_threads)) as pool:
                for loaded in _in_order(pool, load, tasks, 2 * self.num_threads):
                    with self.borrowed() as runtime:
                        result = run(loaded, runtime)
                    yield result
            return

        def both(task: Task) -> Result:
            loaded = load(task)
            with self._borrowed_copy() as runtime:
                return run(loaded, runtime)

        with ThreadPoolExecutor(self.num_threads) as pool:
            yield from _in_order(pool, both, tasks, 4 * self.num_threads)

    @contextlib.contextmanager
    def _borrowed_copy(self) -> Iterator[Runtime]:
        assert self._copy is not None
        # Making a copy takes time, so copies are made only when all others are in use.
        with self._making:
            if self._idle.empty() and self._made < self.num_threads:
                self._idle.put(self._copy())
                self._made += 1
        runtime = self._idle.get()
        try:
            yield runtime
        finally:
            self._idle.put(runtime)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Task], Result], tasks: Iterable[Task], ahead: int
) -> Iterator[Result]:
    """Does the same as `pool.map`, but starts at most `ahead` tasks before their results are read.

    This limits the memory for results that nobody has read yet.
    """
    coming: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            coming.append(pool.submit(function, task))
            if len(coming) > ahead:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        for future in coming:
            future.cancel()

"""Loading images on some threads while others run the network."""

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
    """The images of one batch: those that could be loaded, and why the others could not.

    `load` gives one or more images, (F, H, W, 3) uint8, of a position.

    Attributes:
        index: the position of each image.
        images: (M, H, W, 3) uint8, or None where M is 0.
        failed: (position, reason) of the others.
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
    """One runtime for a single batch, and for many batches as many as there are threads.

    Two interpreters of one thread each take two batches in less time than one of two threads takes
    them one after another, and need not wait for each other's images.

    A runtime with a `copy` serves one thread at a time, so that each thread borrows one: the first
    gets `main`, with all of its threads, and those that come meanwhile get copies with one thread
    each. There are never more copies than `num_threads`; whoever comes then waits for one.
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
        """A runtime that no other thread uses inside of the block."""
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
        """`run(load(task), runtime)` of each task in order; loading goes ahead on threads."""
        if self._copy is None or self.num_threads == 1:
            # The runtime has threads of its own, and some may be run by their thread only.
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
    """As `pool.map`, but no more than so many tasks ahead of who takes the results."""
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

"""Loading images on some threads while others run the network."""

import queue
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
    """

    def __init__(self, runtime: Runtime, num_threads: int):
        self.main, self.num_threads = runtime, num_threads
        copy = getattr(runtime, "copy", None)
        self._copy: Callable[[], Runtime] | None = copy if num_threads > 1 else None
        self._idle: queue.SimpleQueue[Runtime] = queue.SimpleQueue()
        self._made = 0

    def map(
        self,
        tasks: Iterable[Task],
        load: Callable[[Task], Any],
        run: Callable[[Any, Runtime], Result],
    ) -> Iterator[Result]:
        """`run(load(task), runtime)` of each task in order; loading goes ahead on threads."""
        if self._copy is None:
            # The runtime has threads of its own, and some may be run by their thread only.
            with ThreadPoolExecutor(max(2, self.num_threads)) as pool:
                for loaded in _in_order(pool, load, tasks, 2 * self.num_threads):
                    yield run(loaded, self.main)
            return
        while self._made < self.num_threads:
            self._idle.put(self._copy())
            self._made += 1

        def both(task: Task) -> Result:
            loaded = load(task)
            runtime = self._idle.get()
            try:
                return run(loaded, runtime)
            finally:
                self._idle.put(runtime)

        with ThreadPoolExecutor(self.num_threads) as pool:
            yield from _in_order(pool, both, tasks, 4 * self.num_threads)


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

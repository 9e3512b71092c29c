"""Worker processes that do one job after another and end with their parent."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

_state: list[Any] = []


def run_all(
    work: Callable[[Any, Any], Any], jobs: Iterable[Any], shared: Any, workers: int
) -> Iterator[Any]:
    """Yields `work(shared, job)` of each job as they are done, in any order.

    `work` is a function of a module. Each process gets `shared` once and takes jobs as it becomes
    free, so there may be any number of them; with one worker this process does them all. Raises
    what `work` raises, and ChildProcessError, an OSError, if a process was killed, perhaps for want
    of memory.
    """
    if workers == 1:
        for job in jobs:
            yield work(shared, job)
        return
    # Spawned, not forked: the parent's threads would be copied in whatever state they are in.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (shared,))
    try:
        waiting: set[Future[Any]] = set()
        remaining = iter(jobs)
        while True:
            for job in itertools.islice(remaining, 2 * workers - len(waiting)):
                waiting.add(pool.submit(_work, work, job))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process was killed, perhaps for want of memory; run the command again to "
            "go on, with fewer workers if need be"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(shared: Any) -> None:
    _state[:] = [shared]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A pool's workers wait for jobs for ever when their parent is killed outright.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Callable[[Any, Any], Any], job: Any) -> Any:
    return work(_state[0], job)

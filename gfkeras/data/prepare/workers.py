"""Worker processes that run one job after another and end with their parent."""

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
    """Yields `work(shared, job)` of each job as soon as it is done, in any order.

    `work` is a function of a module. Each process gets `shared` once and takes the next job when it
    is free, so any number of jobs is possible. With one worker, this process does all the work.
    Exceptions of `work` are raised here. If a process was killed, for example because memory ran
    out, ChildProcessError (an OSError) is raised.
    """
    if workers == 1:
        for job in jobs:
            yield work(shared, job)
        return
    # Spawned, not forked: a fork copies locks that other threads of the parent hold at that moment.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (shared,))
    try:
        waiting: set[Future[Any]] = set()
        remaining = iter(jobs)
        while True:
            # Submit only a few jobs ahead, because `jobs` can be long.
            for job in itertools.islice(remaining, 2 * workers - len(waiting)):
                waiting.add(pool.submit(_work, work, job))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process was killed, perhaps because memory ran out. Run the command again "
            "to continue, with fewer workers if necessary"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(shared: Any) -> None:
    _state[:] = [shared]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # If the parent is killed, the workers of a pool would otherwise wait for jobs forever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Callable[[Any, Any], Any], job: Any) -> Any:
    return work(_state[0], job)

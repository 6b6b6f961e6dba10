"""How the operating system shares its cores among this process's threads."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def batch_scheduling() -> Iterator[None]:
    """This thread, and those that it begins inside the block, take fewer and longer turns on a core.

    On Linux alone (SCHED_BATCH): a thread that wakes up does not interrupt one that works, whose caches stay warm. For
    work that nobody waits for frame by frame. What has another priority than the usual one keeps it.
    """
    changed = False
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with suppress(OSError):  # a sandbox that forbids it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            changed = True
    try:
        yield
    finally:
        if changed:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def restore_priority() -> Iterator[None]:
    """An encoder that is opened inside the block leaves the priority of this thread and of its own as it was.

    libsvtav1, run by root, makes its caller and its threads real-time ones: until it is done, little else on the
    machine gets to run, and what the caller starts later inherits it.
    """
    if sys.platform != "linux":
        yield
        return
    before, policy, parameter = native_thread_ids(), os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    for task in {*(native_thread_ids() - before), threading.get_native_id()}:
        with suppress(ProcessLookupError):  # it has ended
            if os.sched_getscheduler(task) != policy:
                os.sched_setscheduler(task, policy, parameter)


def native_thread_ids() -> set[int]:
    """The native numbers of this process's threads."""
    return {int(name) for name in os.listdir("/proc/self/task")}

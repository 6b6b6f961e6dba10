"""The processor cores this process may use, and how the operating system shares them among its threads."""

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")  # where Linux shows control groups; containers and services are limited by them
OWN_CGROUPS = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Return how many processor cores this process may use, 1 or more.

    Counts the cores of its affinity mask (`taskset`), and at most its CPU quota (`docker --cpus`, Kubernetes limits),
    rounded up.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def half_of_cores() -> int:
    """Return half of the available cores, 1 or more: a stage with this many threads leaves room for the others."""
    return max(1, available_cores() // 2)


def cpu_quota() -> float:
    """Return how many cores' worth of time this process's control groups allow, `math.inf` where they set no limit.

    Reads both versions of Linux control groups. A group's parents limit it too.
    """
    quota = math.inf
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return quota
    for line in lines:
        _, controllers, group = line.split(":", 2)  # version 2: "0::/group"; version 1: "4:cpu,cpuacct:/group"
        if not controllers:
            root, read = CGROUPS, read_quota_v2
        elif "cpu" in controllers.split(","):
            root, read = CGROUPS / controllers, read_quota_v1
            root = root if root.is_dir() else CGROUPS / "cpu"
        else:
            continue
        folder = root / group.lstrip("/")
        # Inside a container the path may be that of the host: what does not exist is passed over on the way up.
        for each in (folder, *folder.parents):
            quota = min(quota, read(each))
            if each == root:
                break
    return quota


def read_quota_v2(folder: Path) -> float:
    """Return the cores that a control group of version 2 allows."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def read_quota_v1(folder: Path) -> float:
    """Return the cores that a control group of version 1 allows."""
    try:
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return math.inf if quota < 0 else quota / period
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


@contextmanager
def batch_scheduling() -> Iterator[None]:
    """Give this thread, and threads started inside the block, fewer and longer turns on a core.

    Linux only (SCHED_BATCH): a thread that wakes up does not interrupt a running one, whose caches stay warm. For
    work where nobody waits for single frames. A thread with another policy than the default keeps it.
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
    """Undo what an encoder opened inside the block does to the priority of this thread and of its own threads.

    libsvtav1, run by root, makes its caller and its threads real-time threads: until it is done, little else on the
    machine gets to run, and threads that the caller starts later inherit the priority.
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
    """Return the native ids of this process's threads."""
    return {int(name) for name in os.listdir("/proc/self/task")}

"""Children forked from a process that has everything imported: a run of the command without its start."""

import gc
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

# What the command imports only when it is needed is imported here, before the forks, once.
import cv2
import torch

import liquidvision.cli.infer_output
import liquidvision.inference.pipeline
import liquidvision.inference.records
import liquidvision.video.write.av_writer
import liquidvision.workflows.infer_source  # noqa: F401
from liquidvision.cli.main import main as command_line


def prepare() -> None:
    """Keep this process to one thread, and do once what every child would repeat."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with redirect_stderr(StringIO()):
        command("infer", "--top-k", "none")  # a wrong option is reported before the command starts
    gc.freeze()


def require_one_thread() -> None:
    """Raise where this process has threads: a forked child would lack them, and hold their locks."""
    count = len(os.listdir("/proc/self/task"))
    if count != 1:
        raise RuntimeError(f"the process has {count} threads; expected 1, or its forks may hang")


def start(run: Callable[[], int], out: Path, err: Path) -> int:
    """Fork a child that runs `run` with its streams in two files and exits with its result; gives its number."""
    require_one_thread()
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        return number
    code = 99
    try:
        for path, stream in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        code = run()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(number: int, seconds: float) -> int | None:
    """The child's exit code, negative where a signal ended it; None where it ran longer and was killed."""
    watch = os.pidfd_open(number)
    try:
        ended, _, _ = select.select([watch], [], [], seconds)
        if not ended:
            os.kill(number, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        return code if ended else None
    finally:
        os.close(watch)


def ended(number: int) -> bool:
    """Whether the child has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def limit(memory: int, file_size: int) -> None:
    """Limit memory to `memory` bytes above what is used now, and files to `file_size` bytes."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def command(*arguments: str | Path) -> int:
    """Run the `liquidvision` command in this process; its exit code."""
    sys.argv = ["liquidvision", *map(str, arguments)]
    try:
        command_line()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    raise RuntimeError("the command returned without an exit code")

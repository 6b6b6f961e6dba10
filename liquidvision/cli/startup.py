"""The imports that take seconds, left until a command needs them, so that --help is quick."""

import gc
import sys


def import_torch() -> None:
    """Import torch and torchvision, and keep the garbage collector away from their objects.

    They create half a million objects and no garbage. The collector would visit them again and again, during the
    import and for as long as the process runs. Does nothing in a process that has imported torch already.

    Raises:
        DependencyError: the installed versions do not fit each other.
    """
    if "torch" in sys.modules:
        return
    gc.disable()
    try:
        from liquidvision.models import backbone  # imports torchvision too  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def prepare_torch() -> None:
    """Import torch and let it use half of the cores: the other half decodes, draws and encodes.

    Small networks gain nothing from more threads.

    Raises:
        DependencyError: see `import_torch`.
    """
    import_torch()
    import torch

    from liquidvision.concurrency.cores import half_of_cores

    torch.set_num_threads(half_of_cores())

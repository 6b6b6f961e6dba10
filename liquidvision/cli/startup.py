"""The imports that take seconds."""

import gc
import sys


def import_torch() -> None:
    """Import torch and torchvision, whose objects the garbage collector never looks at again.

    They make half a million objects and no garbage, and the collector would go through them time and again: while
    they are imported, and for as long as the process runs. A process that has imported torch already is left as it is.

    Raises:
        DependencyError: the two do not fit each other.
    """
    if "torch" in sys.modules:
        return
    gc.disable()
    try:
        from liquidvision.models import backbone  # the one door to torchvision  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()

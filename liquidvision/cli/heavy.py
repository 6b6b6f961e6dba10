"""The imports that take seconds."""

import gc
import sys
from contextlib import suppress
from importlib import import_module


def import_torch() -> None:
    """Import torch and torchvision, whose objects the garbage collector never looks at again.

    They make half a million objects and no garbage, and the collector would go through them time and again: while
    they are imported, and for as long as the process runs. A process that has imported torch already is left as it is.
    """
    if "torch" in sys.modules:
        return
    gc.disable()
    try:
        with suppress(ImportError, RuntimeError):  # told where they are used: they may not fit each other
            import_module("torchvision")  # and with it torch
    finally:
        gc.freeze()
        gc.enable()

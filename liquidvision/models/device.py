"""Choose the device on which torch computes."""

import torch

from liquidvision.errors import UsageError, first_line


def choose_device(wanted: str = "auto") -> torch.device:
    """Return a torch device.

    Args:
        wanted: "auto" takes CUDA if it is available, then MPS, then the CPU; any other name is used as it is.

    Raises:
        UsageError: the device is unknown or not available.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device {wanted!r} cannot be used: {first_line(error)}; try auto, cpu, cuda, mps or openvino"
        ) from error
    return device

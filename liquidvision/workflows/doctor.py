"""check_machine(): the versions, devices and codecs of this machine, and what is wrong with it."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from liquidvision.errors import DependencyError

PACKAGES = (
    *("torch", "torchvision", "opencv-python", "av", "numpy", "numba", "safetensors", "matplotlib", "scikit-learn"),
    *("platformdirs", "jinja2", "typer", "rich"),
)
# Packages that one feature needs: what for, and the extra that installs them.
OPTIONAL_PACKAGES = {
    "openvino": ("faster backbones on the CPU", "openvino"),
    "aiohttp": ("webcam --web", "web"),
    "prometheus-client": ("infer --metrics-port", "metrics"),
    "paho-mqtt": ("infer --mqtt", "mqtt"),
    "tensorboard": ("train --tensorboard", "tensorboard"),
}
NUMBA_ENDS = 3, 15  # from this Python on, numba is not a dependency
ABSENT = "not installed"


@dataclass(slots=True)
class MachineReport:
    """What `check_machine` found.

    Attributes:
        facts: (name, value) in the order in which they were found.
        problems: what is wrong and what to do, a line each.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_machine() -> MachineReport:
    """Return the versions, devices and codecs of this machine, and what is wrong with it."""
    report = MachineReport()
    check_packages(report)
    _check(report, check_models, "{error}")
    _check(
        report,
        check_opencv,
        "OpenCV cannot be loaded ({error}); on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0",
    )
    _check(report, check_video, "PyAV cannot be loaded ({error}): pip install --force-reinstall av")
    return report


def _check(report: MachineReport, check: Callable[[MachineReport], None], problem: str) -> None:
    """Run a check; an import that fails is a problem."""
    try:
        check(report)
    except (ImportError, DependencyError) as error:
        report.problems.append(problem.format(error=error))


def check_packages(report: MachineReport) -> None:
    """Add the versions of all packages that liquidvision uses."""
    for package in PACKAGES:
        found = installed_version(package)
        report.facts.append((package, found or ABSENT))
        if found is None and (package != "numba" or sys.version_info < NUMBA_ENDS):
            report.problems.append(f"{package} is not installed: pip install {package}")
    for package, (purpose, extra) in OPTIONAL_PACKAGES.items():
        absent = f"{ABSENT}; for {purpose}: pip install 'liquidvision[{extra}]'"
        report.facts.append((package, installed_version(package) or absent))


def installed_version(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_models(report: MachineReport) -> None:
    """Add the cores, the device, what runs cells and backbones, and the bundled models."""
    import torch

    from liquidvision.concurrency.cores import available_cores
    from liquidvision.models import backbone  # whether torchvision can be imported  # noqa: F401
    from liquidvision.models.device import choose_device
    from liquidvision.models.folder import bundled_models
    from liquidvision.models.runtime.openvino import openvino_installed

    bundled = bundled_models()
    report.facts += [
        ("cores", f"{available_cores()} for this process; torch uses {torch.get_num_threads()} threads"),
        ("device", str(choose_device())),
        ("liquid cells", describe_kernels(report)),
        ("backbones", "OpenVINO on the CPU" if openvino_installed() else "torch (OpenVINO is faster on the CPU)"),
        ("bundled models", ", ".join(bundled) or "none"),
    ]
    if not bundled:
        report.problems.append("no bundled model was found; install liquidvision again")


def describe_kernels(report: MachineReport) -> str:
    """Return what runs the liquid cells; a numba that is installed and cannot be used is a problem."""
    from liquidvision.liquid import dispatch

    if dispatch.compiled_kernels() is not None:
        return "kernels compiled by numba"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "plain torch, slower (NUMBA_DISABLE_JIT is set)"
    if installed_version("numba") is not None:
        report.problems.append("numba does not work here: pip install --force-reinstall numba")
        return "plain torch, slower (numba does not work here)"
    return "plain torch, slower (numba is not installed)"


def check_opencv(report: MachineReport) -> None:
    """Raise ImportError where OpenCV cannot be loaded."""
    from liquidvision.rendering import overlay  # imports OpenCV  # noqa: F401


def check_video(report: MachineReport) -> None:
    """Add the codecs that can be written, and the GPUs that can decode."""
    from liquidvision.video.read.hardware import working_devices
    from liquidvision.video.write.codecs import available_codecs

    for codec, encoder, here in available_codecs():
        report.facts.append((codec, f"{encoder}{'' if here else ' (not in this build of PyAV)'}"))
    report.facts.append(("decoding GPUs", ", ".join(working_devices()) or "none"))

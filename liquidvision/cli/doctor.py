"""`liquidvision doctor`: does this machine have what is needed?"""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

import liquidvision
from liquidvision.errors import DependencyError

PACKAGES = (
    *("torch", "torchvision", "opencv-python", "av", "numpy", "safetensors", "matplotlib", "scikit-learn"),
    *("platformdirs", "jinja2", "typer", "rich"),
)


def doctor_command(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Say which versions, codecs and devices are here, and what does not fit; exit 1 if anything is wrong."""
    problems: list[str] = []
    typer.echo(f"liquidvision {liquidvision.__version__}, Python {platform.python_version()}, {platform.platform()}")
    for package in PACKAGES:
        try:
            typer.echo(f"  {package:15} {version(package)}")
        except PackageNotFoundError:
            problems.append(f"{package} is not installed: pip install {package}")
    try:
        import torch

        from liquidvision.liquid import dispatch
        from liquidvision.models import backbone  # noqa: F401
        from liquidvision.models.device import choose_device
        from liquidvision.models.folder import bundled_models  # torchvision's import is what is tried
        from liquidvision.models.runtime.openvino import openvino_installed

        typer.echo(f"  torch and torchvision fit; {torch.get_num_threads()} threads; device {choose_device()}")
        typer.echo(
            f"  liquid cells    {'compiled kernels' if dispatch.compiled_kernels() else 'plain torch (no numba)'}"
        )
        typer.echo(
            f"  backbones       {'OpenVINO on the CPU' if openvino_installed() else 'torch; OpenVINO is quicker'}"
        )
        bundled = bundled_models()
        typer.echo(f"  bundled models  {', '.join(bundled) or 'none'}")
        if not bundled:
            problems.append("no bundled model was found; install liquidvision again")
    except (ImportError, DependencyError) as error:
        problems.append(str(error))
    try:
        from liquidvision.rendering import overlay  # loads OpenCV  # noqa: F401
    except ImportError as error:
        problems.append(f"OpenCV cannot be loaded ({error}); on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0")
    try:
        from liquidvision.video.read.hardware import working_devices
        from liquidvision.video.write.codecs import available_codecs

        for codec, encoder, here in available_codecs():
            typer.echo(f"  {codec:15} {encoder}{'' if here else ' (not in this build of PyAV)'}")
        typer.echo(f"  decoding GPUs   {', '.join(working_devices()) or 'none'}")
    except ImportError as error:
        problems.append(f"PyAV cannot be loaded ({error}): pip install --force-reinstall av")
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    typer.echo("no problem found" if not problems else f"{len(problems)} problem(s)")
    raise typer.Exit(1 if problems else 0)

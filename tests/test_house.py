"""The house keeps its own rules: layers, doors, public names, a quick face."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import liquidvision

PACKAGE = Path(liquidvision.__file__).parent
# Rooms by floor; a room may import from its own floor's room or from lower ones. See CONTRIBUTING.md.
FLOORS = (
    ("errors", "frame", "prediction", "interrupt", "scheduling", "device", "runtime", "liquid"),
    ("sources", "sinks", "preprocessing", "backbone", "gaze", "checkpoint"),
    ("model",),
    ("session", "stillness", "summary", "outputs", "learn"),
    ("pipeline",),
    ("web", "bench", "together"),
    ("cli",),
)
DOORS = {
    "av": {
        *(
            "sources/avfile.py",
            "sources/decoded.py",
            "sources/color.py",
            "sources/container.py",
            "sources/tracks.py",
            "sources/hardware.py",
        ),
        *("sinks/video.py", "sinks/codecs.py", "sinks/tracks.py"),
    },
    "cv2": {
        "preprocessing.py",
        "sources/camera.py",
        "sinks/cvvideo.py",
        "sinks/panels.py",
        "sinks/ink.py",
        "sinks/canvas.py",
        "sinks/stills.py",
        "sinks/window.py",
        "web/pictures.py",
    },
    "torchvision": {"backbone.py", "preprocessing.py"},
    "safetensors": {"checkpoint.py"},
    "matplotlib": {"sinks/chart.py"},
    "jinja2": {"learn/report.py"},
    "openvino": {"runtime.py"},
    "prometheus_client": {"cli/metrics.py"},
    "aiohttp": {"web/server.py", "web/transfer.py"},
    "numba": {"liquid/kernels/scalar.py"},
    "llvmlite": {"liquid/kernels/scalar.py"},
}


def modules() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def test_imports_run_downward():
    """No room imports from a floor above it, and the wings do not import each other."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path, tree in modules().items():
        room = room_of(path)
        if room.startswith("__"):
            continue
        for name in imports(tree):
            parts = name.split(".")
            if parts[0] != "liquidvision" or len(parts) < 2 or parts[1] not in floor:
                continue
            other = parts[1]
            assert floor[other] <= floor[room], f"{path} imports {name}, which is above it"
            assert {room, other} != {"sources", "sinks"}, f"{path} imports {name}: one wing from another"


def test_outside_libraries_have_named_doors():
    """Each outside library is imported in its named files alone."""
    for library, doors in DOORS.items():
        users = {path for path, tree in modules().items() if any(n.split(".")[0] == library for n in imports(tree))}
        assert users == doors, library


def test_every_file_says_what_it_is_for():
    """The first line of every file says what the room is for, and no file passes 300 lines."""
    for path, tree in modules().items():
        assert ast.get_docstring(tree), path
        assert len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) <= 300, path


def test_the_public_names_are_pinned():
    """The face shows exactly these names, and each of them is there."""
    assert liquidvision.__all__ == [
        "ArrayReader",
        "Backbone",
        "Frame",
        "Head",
        "LiquidHeadConfig",
        "LiquidVisionError",
        "Live",
        "Model",
        "Overlay",
        "Prediction",
        "Preprocessing",
        "RecordSink",
        "Session",
        "Summary",
        "VideoInfo",
        "__version__",
        "infer",
        "layouts_of",
        "open_video",
        "predict",
    ]
    assert all(getattr(liquidvision, name) is not None for name in liquidvision.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = liquidvision.nonsense


def test_the_names_of_the_liquid_core_are_pinned():
    """`liquidvision.liquid` shows exactly these names."""
    from liquidvision import liquid

    assert liquid.__all__ == [
        *(
            "GRU",
            "LSTM",
            "LTC",
            "Cell",
            "CfC",
            "ConductanceLTC",
            "GatedLTC",
            "Head",
            "LiquidHeadConfig",
            "HeadOutput",
            "Layout",
        ),
        *("LiquidCell", "Magnitudes", "Memoryless", "MixedMemory", "Traces", "Wiring", "auto_ncp", "from_ncps", "full"),
        *("ncp", "plain_torch"),
    ]
    assert all(hasattr(liquid, name) for name in liquid.__all__)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["infer", "--help"], ["explain", "--help"], ["webcam", "--help"]]
)
def test_help_needs_no_torch(arguments):
    """Help and version are told without importing torch, OpenCV or PyAV."""
    program = (
        "import sys; sys.argv = ['liquidvision', *sys.argv[1:]]\n"
        "from liquidvision.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'torchvision', 'cv2', 'av', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def test_errors_are_builtin_errors_too():
    """Every error of the project is also the builtin error that a caller would expect."""
    from liquidvision import errors

    pairs = {"UsageError": ValueError, "SourceError": OSError, "SinkError": OSError, "ModelError": ValueError}
    for name, builtin in pairs.items():
        error = getattr(errors, name)
        assert issubclass(error, builtin)
        assert issubclass(error, errors.LiquidVisionError)

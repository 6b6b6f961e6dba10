"""The package's own rules: imports, importers of outside libraries, sizes, unique names, one list of the API."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import liquidvision

PACKAGE = Path(liquidvision.__file__).parent
# Layers from low to high; a module imports from its own layer or from lower ones. See CONTRIBUTING.md.
LAYERS = (
    ("errors", "prediction", "files"),
    ("concurrency",),
    ("video",),
    ("liquid",),
    ("annotation",),
    ("metrics",),
    ("models",),
    ("inference",),
    ("triggers",),
    ("rendering",),
    ("data",),
    ("training",),
    ("evaluation",),
    ("report",),
    ("workflows",),
    ("web",),
    ("cli",),
)
IMPORTERS = {
    "av": {
        *("video/read/av_reader.py", "video/read/decoded.py", "video/read/to_rgb.py", "video/read/container.py"),
        *("video/read/side_tracks.py", "video/read/hardware.py", "video/read/orientation.py", "video/read/cropping.py"),
        *("video/read/stills.py", "video/read/deinterlace.py", "video/read/webp.py"),
        *("video/write/av_writer.py", "video/write/codecs.py"),
        *("video/write/copied_tracks.py", "video/write/side_tracks.py", "video/write/remux.py"),
        "video/write/packet_copy.py",
    },
    "cv2": {
        *("models/preprocessing.py", "video/read/opencv_reader.py", "video/write/opencv_writer.py"),
        *("video/write/images.py", "rendering/primitives.py", "rendering/canvas.py"),
        *("rendering/window.py", "web/jpeg.py"),
    },
    "torchvision": {"models/backbone.py", "models/zoo.py", "models/preprocessing.py"},
    "safetensors": {"models/folder.py"},
    "sklearn": {"metrics/classification.py", "training/probe.py", "evaluation/baselines.py"},
    "platformdirs": {"data/embeddings.py", "models/runtime/openvino.py"},
    "matplotlib": {"rendering/chart.py"},
    "jinja2": {"report/report.py"},
    "openvino": {"models/runtime/openvino.py"},
    "paho": {"triggers/mqtt.py"},
    "prometheus_client": {"workflows/monitoring.py"},
    "aiohttp": {"web/server.py", "web/transfer.py"},
    "numba": {"liquid/kernels/scalar.py"},
    "llvmlite": {"liquid/kernels/scalar.py"},
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every file of the package by its path, parsed once."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def dotted(path: str) -> str:
    """The module name of a file of the package."""
    parts = ["liquidvision", *path.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: str) -> set[str]:
    """The full names that a file imports, at its top or inside functions; relative imports are resolved."""
    found: set[str] = set()
    own = dotted(path).split(".")
    package = own if path.endswith("__init__.py") else own[:-1]
    for node in ast.walk(modules()[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def layer_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def test_imports_run_downward():
    """No module imports from a layer above its own."""
    floor = {layer: number for number, layers in enumerate(LAYERS) for layer in layers}
    wrong = []
    for path in modules():
        layer = layer_of(path)
        if layer.startswith("__"):
            continue
        assert layer in floor, f"{path} lies in no known layer"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "liquidvision" and len(parts) > 1 and floor.get(parts[1], 0) > floor[layer]:
                wrong.append(f"{path} imports {name}, which is above it")
    assert not wrong, "\n".join(wrong)


def test_readers_do_not_import_writers():
    """video/read imports nothing of video/write, and the frames import neither."""
    wrong = [
        f"{path} imports {name}"
        for path in modules()
        if path.startswith("video/")
        for name in imports(path)
        if (name.startswith("liquidvision.video.write") and not path.startswith("video/write/"))
        or (name.startswith("liquidvision.video.read") and not path.startswith(("video/read/", "video/write/")))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other():
    """No circle of imports, also within one layer and with imports inside functions."""
    names = {dotted(path): path for path in modules()}
    edges = {
        path: {
            names[name]
            for name in imports(path)
            if name in names and names[name] != path and not names[name].endswith("__init__.py")
        }
        for path in modules()
        if not path.startswith("__")
    }
    done: set[str] = set()

    def walk(path: str, trail: tuple[str, ...]) -> None:
        assert path not in trail, " → ".join([*trail[trail.index(path) :], path])
        if path in done:
            return
        for other in sorted(edges.get(path, ())):
            walk(other, (*trail, path))
        done.add(path)

    for path in edges:
        walk(path, ())


def test_libraries_have_named_importers():
    """Each outside library is imported by its named files alone."""
    for library, importers in IMPORTERS.items():
        users = {path for path in modules() if any(name.split(".")[0] == library for name in imports(path))}
        assert users == importers, library


def test_files_and_functions_stay_small():
    """Every file has a docstring; no function is longer than 100 lines, and none in cli/ than 60."""
    wrong = []
    for path, tree in modules().items():
        if not ast.get_docstring(tree):
            wrong.append(f"{path} has no docstring")
        limit = 60 if path.startswith("cli/") else 100
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > limit:
                    wrong.append(f"{path}: {node.name} has {length} lines, more than {limit}")
    assert not wrong, "\n".join(wrong)


def test_public_names_are_defined_once():
    """No public function or class name is defined at the top of two files."""
    where: dict[str, list[str]] = {}
    for path, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                where.setdefault(node.name, []).append(path)
    twice = {name: paths for name, paths in where.items() if len(paths) > 1}
    assert not twice, twice


def test_the_api_is_one_list():
    """`__all__` lists every public name, each can be had, and `vars()` after that shows no other."""
    for name in liquidvision.__all__:
        assert getattr(liquidvision, name) is not None, name
    modules_and_private = {name for name, value in vars(liquidvision).items() if name[0] == "_" or is_module(value)}
    shown = set(vars(liquidvision)) - modules_and_private - {"TYPE_CHECKING", "import_module"}
    assert shown <= set(liquidvision.__all__), shown - set(liquidvision.__all__)
    (checked,) = (node for node in modules()["__init__.py"].body if isinstance(node, ast.If))
    for_editors = {
        alias.asname: f"{node.module.removeprefix('liquidvision').removeprefix('.') or alias.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert for_editors == liquidvision._PUBLIC
    errors = {node.name for node in modules()["errors.py"].body if isinstance(node, ast.ClassDef)}
    assert errors <= set(liquidvision.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = liquidvision.nonsense


def is_module(value: object) -> bool:
    return type(value) is type(sys)


def test_the_liquid_layer_stands_alone():
    """Every name in `liquidvision.liquid.__all__` exists, and the layer imports errors alone of the package."""
    from liquidvision import liquid

    assert all(hasattr(liquid, name) for name in liquid.__all__)
    for path in modules():
        if path.startswith("liquid/"):
            own = {name for name in imports(path) if name.startswith("liquidvision.")}
            assert all(name.startswith(("liquidvision.liquid", "liquidvision.errors")) for name in own), path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["infer", "--help"], ["explain", "--help"], ["webcam", "--help"]]
)
def test_help_needs_no_torch(arguments):
    """Help and version are printed without importing torch, OpenCV or PyAV."""
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

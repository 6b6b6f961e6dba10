"""liquidvision: per-frame video classifiers with a memory that runs on the seconds that really passed."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# The public names and their rooms; imported at first use, so that `--help` needs no torch.
_ROOMS = {
    "ArrayReader": "sources.arrays",
    "Backbone": "backbone",
    "Frame": "frame",
    "Head": "liquid.head",
    "HeadConfig": "liquid.head",
    "LiquidVisionError": "errors",
    "Live": "sources.reader",
    "Model": "model",
    "Overlay": "sinks.overlay",
    "Prediction": "prediction",
    "Preprocessing": "preprocessing",
    "RecordSink": "sinks.records",
    "Session": "session",
    "Summary": "summary",
    "VideoInfo": "frame",
    "infer": "pipeline",
    "layouts_of": "model",
    "open_video": "sources.open",
    "predict": "pipeline",
}
__all__ = [
    "ArrayReader",
    "Backbone",
    "Frame",
    "Head",
    "HeadConfig",
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

if TYPE_CHECKING:
    from liquidvision.backbone import Backbone
    from liquidvision.errors import LiquidVisionError
    from liquidvision.frame import Frame, VideoInfo
    from liquidvision.liquid.head import Head, HeadConfig
    from liquidvision.model import Model, layouts_of
    from liquidvision.pipeline import infer, predict
    from liquidvision.prediction import Prediction
    from liquidvision.preprocessing import Preprocessing
    from liquidvision.session import Session
    from liquidvision.sinks.overlay import Overlay
    from liquidvision.sinks.records import RecordSink
    from liquidvision.sources.arrays import ArrayReader
    from liquidvision.sources.open import open_video
    from liquidvision.sources.reader import Live
    from liquidvision.summary import Summary


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])

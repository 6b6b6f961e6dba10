"""liquidvision: per-frame video classifiers with a memory that runs on the seconds that really passed."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# The public names and the modules that define them, the single list of the API. Imported at first use, so that
# `--help` needs no torch.
_PUBLIC = {
    "ArrayReader": "video.read.arrays",
    "Backbone": "models.backbone",
    "Frame": "video.frame",
    "LiquidHead": "models.heads.liquid_head",
    "LiquidHeadConfig": "models.heads.liquid_head",
    "LiquidVisionError": "errors",
    "LiveOptions": "video.read.reader",
    "Model": "models.model",
    "Overlay": "rendering.overlay",
    "Prediction": "prediction",
    "Preprocessing": "models.preprocessing",
    "RecordSink": "inference.records",
    "Session": "inference.session",
    "Summary": "inference.summary",
    "VideoInfo": "video.frame",
    "infer": "workflows.infer_source",
    "layouts_of": "models.model",
    "open_video": "video.read.open",
    "predict": "inference.pipeline",
}
__all__ = [
    "ArrayReader",
    "Backbone",
    "Frame",
    "LiquidHead",
    "LiquidHeadConfig",
    "LiquidVisionError",
    "LiveOptions",
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
    from liquidvision.errors import LiquidVisionError
    from liquidvision.inference.pipeline import predict
    from liquidvision.inference.records import RecordSink
    from liquidvision.inference.session import Session
    from liquidvision.inference.summary import Summary
    from liquidvision.models.backbone import Backbone
    from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig
    from liquidvision.models.model import Model, layouts_of
    from liquidvision.models.preprocessing import Preprocessing
    from liquidvision.prediction import Prediction
    from liquidvision.rendering.overlay import Overlay
    from liquidvision.video.frame import Frame, VideoInfo
    from liquidvision.video.read.arrays import ArrayReader
    from liquidvision.video.read.open import open_video
    from liquidvision.video.read.reader import LiveOptions
    from liquidvision.workflows.infer_source import infer


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])

"""liquidvision: video classifiers with a memory whose steps use the time that passed between frames."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# The single list of the API: each public name, and the module that defines it; a subpackage stands for itself.
# Modules are imported at first use, so that `--help` needs no torch.
_PUBLIC = {
    "AVVideoSink": "video.write.av_writer",
    "ArrayReader": "video.read.arrays",
    "AuditReport": "data.audit",
    "Backbone": "models.backbone",
    "ChartSink": "rendering.chart",
    "ClipEmbeddings": "data.embedding_file",
    "DecodedPicture": "video.read.reader",
    "DependencyError": "errors",
    "EvaluateJob": "workflows.jobs",
    "Evaluation": "workflows.evaluation_result",
    "Event": "triggers.event",
    "Frame": "video.frame",
    "FrameFolder": "video.write.image_folder",
    "FrameReader": "video.read.frames",
    "InferJob": "workflows.jobs",
    "InferResult": "workflows.infer",
    "Interval": "annotation.interval",
    "IntervalRecordSink": "inference.interval_records",
    "IntervalRule": "annotation.interval_rule",
    "IntervalSettings": "annotation.interval_rule",
    "IntervalSink": "inference.interval_records",
    "IntervalTracker": "inference.intervals",
    "LabelIntervals": "inference.summary",
    "LiquidHead": "models.heads.liquid_head",
    "LiquidHeadConfig": "models.heads.liquid_head",
    "LiquidVisionError": "errors",
    "LiveOptions": "video.read.reader",
    "Model": "models.model",
    "ModelError": "errors",
    "OpenCVVideoSink": "video.write.opencv_writer",
    "Overlay": "rendering.overlay",
    "Prediction": "prediction",
    "PredictionSink": "inference.records",
    "Preprocessing": "models.preprocessing",
    "ProgressListener": "workflows.progress",
    "ReadWindow": "video.read.reader",
    "RecordSink": "inference.records",
    "SubtitleSink": "rendering.subtitle_sink",
    "Session": "inference.session",
    "Sink": "video.write.sink",
    "SinkError": "errors",
    "SourceError": "errors",
    "SourceListener": "workflows.listener",
    "Summary": "inference.summary",
    "TrainJob": "workflows.jobs",
    "TrainResult": "workflows.train",
    "UsageError": "errors",
    "VideoInfo": "video.frame",
    "VideoReader": "video.read.reader",
    "VideoSink": "video.write.sink",
    "WeightsError": "errors",
    "check": "workflows.check",
    "embed": "workflows.embed",
    "evaluate": "workflows.evaluate",
    "events": "triggers.engine",
    "infer": "workflows.infer_source",
    "intervals": "inference.intervals",
    "liquid": "liquid",
    "open_video": "video.read.open",
    "predict": "inference.pipeline",
    "run_evaluate": "workflows.evaluate",
    "run_infer": "workflows.infer",
    "run_train": "workflows.train",
    "train": "workflows.train",
}
__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:  # the same names for editors and type checkers, held equal by a test
    from liquidvision import liquid as liquid
    from liquidvision.annotation.interval import Interval as Interval
    from liquidvision.annotation.interval_rule import IntervalRule as IntervalRule
    from liquidvision.annotation.interval_rule import IntervalSettings as IntervalSettings
    from liquidvision.data.audit import AuditReport as AuditReport
    from liquidvision.data.embedding_file import ClipEmbeddings as ClipEmbeddings
    from liquidvision.errors import DependencyError as DependencyError
    from liquidvision.errors import LiquidVisionError as LiquidVisionError
    from liquidvision.errors import ModelError as ModelError
    from liquidvision.errors import SinkError as SinkError
    from liquidvision.errors import SourceError as SourceError
    from liquidvision.errors import UsageError as UsageError
    from liquidvision.errors import WeightsError as WeightsError
    from liquidvision.inference.interval_records import IntervalRecordSink as IntervalRecordSink
    from liquidvision.inference.interval_records import IntervalSink as IntervalSink
    from liquidvision.inference.intervals import IntervalTracker as IntervalTracker
    from liquidvision.inference.intervals import intervals as intervals
    from liquidvision.inference.pipeline import predict as predict
    from liquidvision.inference.records import PredictionSink as PredictionSink
    from liquidvision.inference.records import RecordSink as RecordSink
    from liquidvision.inference.session import Session as Session
    from liquidvision.inference.summary import LabelIntervals as LabelIntervals
    from liquidvision.inference.summary import Summary as Summary
    from liquidvision.models.backbone import Backbone as Backbone
    from liquidvision.models.heads.liquid_head import LiquidHead as LiquidHead
    from liquidvision.models.heads.liquid_head import LiquidHeadConfig as LiquidHeadConfig
    from liquidvision.models.model import Model as Model
    from liquidvision.models.preprocessing import Preprocessing as Preprocessing
    from liquidvision.prediction import Prediction as Prediction
    from liquidvision.rendering.chart import ChartSink as ChartSink
    from liquidvision.rendering.overlay import Overlay as Overlay
    from liquidvision.rendering.subtitle_sink import SubtitleSink as SubtitleSink
    from liquidvision.triggers.engine import events as events
    from liquidvision.triggers.event import Event as Event
    from liquidvision.video.frame import Frame as Frame
    from liquidvision.video.frame import VideoInfo as VideoInfo
    from liquidvision.video.read.arrays import ArrayReader as ArrayReader
    from liquidvision.video.read.frames import FrameReader as FrameReader
    from liquidvision.video.read.open import open_video as open_video
    from liquidvision.video.read.reader import DecodedPicture as DecodedPicture
    from liquidvision.video.read.reader import LiveOptions as LiveOptions
    from liquidvision.video.read.reader import ReadWindow as ReadWindow
    from liquidvision.video.read.reader import VideoReader as VideoReader
    from liquidvision.video.write.av_writer import AVVideoSink as AVVideoSink
    from liquidvision.video.write.image_folder import FrameFolder as FrameFolder
    from liquidvision.video.write.opencv_writer import OpenCVVideoSink as OpenCVVideoSink
    from liquidvision.video.write.sink import Sink as Sink
    from liquidvision.video.write.sink import VideoSink as VideoSink
    from liquidvision.workflows.check import check as check
    from liquidvision.workflows.embed import embed as embed
    from liquidvision.workflows.evaluate import evaluate as evaluate
    from liquidvision.workflows.evaluate import run_evaluate as run_evaluate
    from liquidvision.workflows.evaluation_result import Evaluation as Evaluation
    from liquidvision.workflows.infer import InferResult as InferResult
    from liquidvision.workflows.infer import run_infer as run_infer
    from liquidvision.workflows.infer_source import infer as infer
    from liquidvision.workflows.jobs import EvaluateJob as EvaluateJob
    from liquidvision.workflows.jobs import InferJob as InferJob
    from liquidvision.workflows.jobs import TrainJob as TrainJob
    from liquidvision.workflows.listener import SourceListener as SourceListener
    from liquidvision.workflows.progress import ProgressListener as ProgressListener
    from liquidvision.workflows.train import TrainResult as TrainResult
    from liquidvision.workflows.train import run_train as run_train
    from liquidvision.workflows.train import train as train


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_PUBLIC[name]}")
    return module if _PUBLIC[name] == name else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])

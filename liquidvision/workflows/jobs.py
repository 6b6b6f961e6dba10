"""Whole jobs as plain data: they can be pickled, and run elsewhere."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class InferJob:
    """Everything that a run of `infer` needs; `run_infer` runs it.

    The command `liquidvision infer` has an option for each field, with the same default.

    Attributes:
        sources: files, folders, globs, lists (.txt), URLs and camera indices.
        model: a bundled model, a model folder, or torchvision:NAME.
        out: the annotated video, or the folder for several; "-" streams one to standard output. None: runs/infer.
        no_save: write no video.
        save_json, save_csv: where to record every frame; a folder for several sources.
        save_frames: the folder for the annotated frames as pictures.
        frames_format: png or jpg.
        per_frame, time_constants, hidden_state: what to record as well, see `RecordSink`.
        overlay: what to draw, of label, bars, timeline, tau and state, between commas; or none.
        compare: draw the answer of each frame alone beside the answer with memory.
        codec, writer: see `infer`.
        exist_ok: replace outputs that already exist.
        resume: skip sources whose outputs already exist.
        top_k: how many labels to draw and record.
        conf: labels below this probability are neither drawn nor recorded.
        start, end: the part of each source, in seconds from its beginning.
        vid_stride: use every Nth frame.
        max_frames: stop after this many frames of each source.
        reader, strict, max_pixels, hwaccel, follow: see `open_video`.
        policy, max_staleness, reconnect, timeout: see `LiveOptions`.
        batch, adaptive: see `predict`.
        jobs: how many sources to run at once. None: all of them where one is live, else 1.
        device, half: see `Model.from_pretrained`.
        max_gap, gap_policy: see `Session`.
        state_in, state_out: where to load the memory from, and where to save it; for one source.
        metrics_port: serve Prometheus metrics on this port of 127.0.0.1.
    """

    sources: list[str]
    _: KW_ONLY
    model: str = "objects"
    out: Path | None = None
    no_save: bool = False
    save_json: Path | None = None
    save_csv: Path | None = None
    save_frames: Path | None = None
    frames_format: str = "png"
    per_frame: bool = False
    time_constants: bool = False
    hidden_state: bool = False
    overlay: str = "label,bars,timeline"
    compare: bool = False
    codec: str = "h264"
    writer: str = "av"
    exist_ok: bool = False
    resume: bool = False
    top_k: int = 5
    conf: float = 0.0
    start: float = 0.0
    end: float | None = None
    vid_stride: int = 1
    max_frames: int | None = None
    reader: str = "auto"
    strict: bool = False
    max_pixels: int = 100_000_000
    hwaccel: str | None = None
    follow: bool = False
    policy: str = "drop-oldest"
    max_staleness: float | None = None
    reconnect: int | None = 5
    timeout: float = 15.0
    batch: int | None = None
    adaptive: bool = False
    jobs: int | None = None
    device: str = "auto"
    half: bool = False
    max_gap: float = 5.0
    gap_policy: str = "decay"
    state_in: Path | None = None
    state_out: Path | None = None
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class ExplainJob:
    """Everything that a run of `explain` needs; `run_explain` runs it.

    Attributes:
        source: a file, a URL, or a camera index.
        model: a bundled model, a model folder, or torchvision:NAME.
        out: a .png, .svg or .pdf, or a folder. None: runs/explain.
        exist_ok: replace a picture that already exists.
        start, end: the part of the source, in seconds from its beginning.
        vid_stride: use every Nth frame.
        max_frames: stop after this many frames.
        reader: see `open_video`.
        device: see `Model.from_pretrained`.
    """

    source: str
    _: KW_ONLY
    model: str = "objects"
    out: Path | None = None
    exist_ok: bool = False
    start: float = 0.0
    end: float | None = None
    vid_stride: int = 1
    max_frames: int | None = None
    reader: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class BenchJob:
    """Everything that a run of `bench` needs; `run_bench` runs it.

    Attributes:
        source: a video file. None: a generated clip.
        model: a bundled model, a model folder, or torchvision:NAME.
        frames: measure the first N frames.
        rounds: how often everything is measured.
        codec: see `infer`.
        device, half: see `Model.from_pretrained`.
        save_json: where to write the figures.
    """

    source: str | None = None
    _: KW_ONLY
    model: str = "objects"
    frames: int = 300
    rounds: int = 3
    codec: str = "h264"
    device: str = "auto"
    half: bool = False
    save_json: Path | None = None

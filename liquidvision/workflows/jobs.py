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
        save_intervals: where to write the intervals, as CSV or JSON Lines; a folder for several sources.
        enter, leave, min_duration, merge_gap: change the model's rule for intervals, see `IntervalSettings`: a number
            for all labels, or a text such as ".7,fight=.8". None: as the model says.
        on: rules that fire events, see the guide on events.
        event_log: where to append events as JSON Lines; "-" writes them to standard output.
        exec: programs with arguments, to be run with each event on their standard input.
        webhook: web addresses that each event is sent to.
        mqtt: MQTT brokers that each event is published to.
        event_clips: the folder for a clip of each event, cut from the source's file without encoding.
        clip_lead, clip_tail: seconds before the start and after the end of an event that its clip shows.
        cooldown: seconds after an event in which its rule fires no other one.
        update_every: seconds between updates while an event lasts. None: it has none.
        event_queue: where events wait on disk while their receiver is away. None: runs/events.sqlite.
        save_frames: the folder for the annotated frames as pictures.
        frames_format: png or jpg.
        per_frame, time_constants, hidden_state: what to record as well, see `RecordSink`.
        annotate: drawn (into the pictures, which are encoded again) or subtitles (a track that players switch on and
            off; pictures and sound are copied bit for bit), see `SubtitleSink`.
        overlay: what to draw, of label, bars, timeline, tau and state, comma-separated; or none.
        compare: draw the answer of each frame alone beside the answer with memory.
        codec, writer: see `infer`.
        no_sound: leave the source's sound out of the video.
        exist_ok: replace outputs that already exist.
        resume: skip sources whose outputs are complete.
        top_k: how many labels to draw and record.
        conf: below this probability the drawn label is a dash, and records omit it.
        start, end: the part of each source, in seconds from its beginning.
        vid_stride: use every Nth frame.
        max_frames: stop after this many frames of each source.
        reader, strict, max_pixels, hwaccel, follow, video_track, rate, deinterlace: see `open_video`.
        policy, max_staleness, reconnect, timeout: see `LiveOptions`.
        batch, adaptive, two_pass, look_ahead, shortest_run: see `infer`.
        jobs: how many sources to run at once. None: all of them where one is live, else 1.
        device, half: see `Model.from_pretrained`.
        max_gap, gap_policy, adapt: see `Session`.
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
    save_intervals: Path | None = None
    enter: str | None = None
    leave: str | None = None
    min_duration: str | None = None
    merge_gap: str | None = None
    on: list[str] | None = None
    event_log: Path | None = None
    exec: list[str] | None = None
    webhook: list[str] | None = None
    mqtt: list[str] | None = None
    event_clips: Path | None = None
    clip_lead: float = 5.0
    clip_tail: float = 5.0
    cooldown: float = 0.0
    update_every: float | None = None
    event_queue: Path | None = None
    save_frames: Path | None = None
    frames_format: str = "png"
    per_frame: bool = False
    time_constants: bool = False
    hidden_state: bool = False
    annotate: str = "drawn"
    overlay: str = "label,bars,timeline"
    compare: bool = False
    codec: str = "h264"
    writer: str = "av"
    no_sound: bool = False
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
    video_track: int | None = None
    rate: float | None = None
    deinterlace: str = "auto"
    follow: bool = False
    policy: str = "drop-oldest"
    max_staleness: float | None = None
    reconnect: int | None = 5
    timeout: float = 15.0
    batch: int | None = None
    adaptive: bool = False
    two_pass: bool = False
    look_ahead: float | None = None
    shortest_run: float | None = None
    jobs: int | None = None
    device: str = "auto"
    half: bool = False
    max_gap: float = 5.0
    gap_policy: str = "decay"
    adapt: bool = False
    state_in: Path | None = None
    state_out: Path | None = None
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class ExplainJob:
    """Everything that a run of `explain` needs; `run_explain` runs it.

    Attributes:
        source: a file, a folder or pattern of pictures, a URL, or a camera index.
        model: a bundled model, a model folder, or torchvision:NAME.
        out: a .png, .svg or .pdf, or a folder. None: runs/explain.
        exist_ok: replace a picture that already exists.
        start, end: the part of the source, in seconds from its beginning.
        vid_stride: use every Nth frame.
        max_frames: stop after this many frames.
        reader, video_track, rate, deinterlace: see `open_video`.
        device: see `Model.from_pretrained`.
        two_pass, shortest_run: see `predict`.
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
    video_track: int | None = None
    rate: float | None = None
    deinterlace: str = "auto"
    device: str = "auto"
    two_pass: bool = False
    shortest_run: float | None = None


@dataclass(frozen=True, slots=True)
class SummarizeJob:
    """Everything that a run of `summarize` needs; `run_summarize` runs it.

    Attributes:
        sources: files, folders, globs, lists (.txt) and URLs.
        model: a bundled model, a model folder, or torchvision:NAME.
        out: the page, an .html file, or a folder. None: runs/summarize.
        exist_ok: replace a page that already exists.
        start, end: the part of each source, in seconds from its beginning.
        vid_stride: use every Nth frame.
        reader, rate, deinterlace: see `open_video`.
        device: see `Model.from_pretrained`.
    """

    sources: list[str]
    _: KW_ONLY
    model: str = "objects"
    out: Path | None = None
    exist_ok: bool = False
    start: float = 0.0
    end: float | None = None
    vid_stride: int = 1
    reader: str = "auto"
    rate: float | None = None
    deinterlace: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class BenchJob:
    """Everything that a run of `bench` needs; `run_bench` runs it.

    Attributes:
        source: a video file, or a folder or pattern of pictures. None: a generated clip.
        model: a bundled model, a model folder, or torchvision:NAME.
        frames: measure the first N frames.
        rounds: how often everything is measured.
        rate, deinterlace: see `open_video`.
        codec: see `infer`.
        device, half: see `Model.from_pretrained`.
        save_json: where to write the figures.
    """

    source: str | None = None
    _: KW_ONLY
    model: str = "objects"
    frames: int = 300
    rounds: int = 3
    rate: float | None = None
    deinterlace: str = "auto"
    codec: str = "h264"
    device: str = "auto"
    half: bool = False
    save_json: Path | None = None


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Everything that a run of `train` needs; `run_train` runs it.

    The command `liquidvision train` has an option for each field, with the same default.

    Attributes:
        data: a folder of class folders, a CSV or a JSON, see `read_dataset`.
        out: the model folder to make.
        background: the class of the time outside all intervals.
        cache: the folder where embeddings are kept. None: see `default_cache_folder`.
        vid_stride: use every Nth frame; the frames keep their times.
        rate, deinterlace: see `FileOptions`; with a rate, folders of pictures are clips.
        views: augmented copies of the clips to train on as well, comma-separated, see `make_view`.
        backbone: a torchvision classifier, or a liquidvision model to take the backbone from.
        weights: a file with the torchvision classifier's weights. None: ImageNet's.
        features: nodes of the torchvision classifier and the sides of their grids, "NODE:SIDE,...". None: chosen.
        motion_crop: crop each frame around what moves, see `Backbone`. None: the setting of a liquidvision model
            given as `backbone`; off for torchvision backbones.
        traces: time constants of the traces in seconds, comma-separated. None: .05, .1, .2, .4, .8, 1.6.
        head: the cell, see `LiquidHeadConfig`.
        epochs: None: by the number of clips.
        seed: seed of all random numbers, 0 to 2**32 - 1.
        folds: number of folds of a cross-validation, after which the model is trained on all clips. 0: one split into
            training, validation and test. None: 0 where the data gives a split, with `refit` off, or where there are
            many groups; else up to 5.
        seeds: repetitions of the cross-validation, each with its own folds and initial weights.
        two_pass: also train a backward head, for `two_pass` and `look_ahead` of `infer`.
        refit: after training on one split, train again on all clips but those that the data gives as test.
        device: auto, cpu, cuda, mps or openvino.
        resume: continue the training that was begun in `out`.
        tensorboard: also write each epoch's figures for TensorBoard into `out`.
        exist_ok: replace a model that already exists.
    """

    data: Path
    _: KW_ONLY
    out: Path
    background: str = "background"
    cache: Path | None = None
    vid_stride: int = 1
    rate: float | None = None
    deinterlace: str = "auto"
    views: str = "plain"
    backbone: str = "mobilenet_v2"
    weights: Path | None = None
    features: str | None = None
    motion_crop: bool | None = None
    traces: str | None = None
    head: str = "gated"
    epochs: int | None = None
    seed: int = 0
    folds: int | None = None
    seeds: int = 1
    two_pass: bool = False
    refit: bool = True
    device: str = "auto"
    resume: bool = False
    tensorboard: bool = False
    exist_ok: bool = False


@dataclass(frozen=True, slots=True)
class EvaluateJob:
    """Everything that a run of `eval` needs; `run_evaluate` runs it.

    The command `liquidvision eval` has an option for each field, with the same default.

    Attributes:
        data: a folder of class folders, a CSV or a JSON, see `read_dataset`.
        model: a model folder or a bundled model.
        part: which clips to evaluate: all, or the train, validation or test part of the data's split, else of the
            model's own. auto: those that training did not see; all, if it saw every clip.
        save_json: where to write all figures.
        report: where to write the report, an HTML page.
        compare: also compare the head with other heads and simpler methods: cross-validated, or where the data gives a
            split, trained on its other parts and tested on its part test.
        folds: number of folds of the comparison, where the data gives no split.
        seeds: repetitions of the comparison, each with its own folds and initial weights.
        degrade: also evaluate with noise, blur and darkness, and with lost frames where the backbone crops around
            motion. Embeds every clip 9 more times, 18 with a motion crop.
        two_pass: also evaluate two passes over each clip, see `predict`.
        adapt: also evaluate a memory that adapts to the clips of each group, see `Session`.
        background: the class of the time outside all intervals.
        rate, deinterlace: see `TrainJob`.
        cache: the folder where embeddings are kept. None: see `default_cache_folder`.
        device: auto, cpu, cuda, mps or openvino.
        exist_ok: replace outputs that already exist.
    """

    data: Path
    _: KW_ONLY
    model: str
    part: str = "auto"
    save_json: Path | None = None
    report: Path | None = None
    compare: bool = False
    folds: int = 5
    seeds: int = 3
    degrade: bool = False
    two_pass: bool = False
    adapt: bool = False
    background: str = "background"
    rate: float | None = None
    deinterlace: str = "auto"
    cache: Path | None = None
    device: str = "auto"
    exist_ok: bool = False


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """Everything that a run of `extract` needs; `run_extract` runs it.

    The command `liquidvision extract` has an option for each field, with the same default.

    Attributes:
        sources: annotated data, see `read_dataset`, or videos and folders of them.
        views: the views to embed, comma-separated, see `make_view`.
        vid_stride: use every Nth frame; the frames keep their times.
        rate, deinterlace: see `TrainJob`.
        cache: the folder where embeddings are kept. None: see `default_cache_folder`.
        model: a liquidvision model whose backbone to use; excludes the four options of a backbone below.
        backbone: a torchvision classifier. None: mobilenet_v2.
        weights: see `TrainJob`.
        features: see `TrainJob`.
        motion_crop: see `TrainJob`.
        device: auto, cpu, cuda, mps or openvino.
    """

    sources: list[str]
    _: KW_ONLY
    views: str = "plain"
    vid_stride: int = 1
    rate: float | None = None
    deinterlace: str = "auto"
    cache: Path | None = None
    model: str | None = None
    backbone: str | None = None
    weights: Path | None = None
    features: str | None = None
    motion_crop: bool | None = None
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Everything that a run of `check` needs.

    Attributes:
        data: a folder of class folders, a CSV or a JSON, see `read_dataset`.
        background: the class of the time outside all intervals.
        rate, deinterlace: see `TrainJob`.
    """

    data: Path
    _: KW_ONLY
    background: str = "background"
    rate: float | None = None
    deinterlace: str = "auto"


@dataclass(frozen=True, slots=True)
class ConvertJob:
    """Everything that a run of `convert` needs; `run_convert` runs it.

    Attributes:
        source: a file of annotations, or a folder of them.
        out: the file to write; a folder, where the format holds one video in a file and there are several.
        from_format: the name of the source's format. None: by its ending and what it holds.
        to_format: the name of the format to write. None: by the ending of `out`.
        video: the video, or the folder of the videos, if the annotations do not lead to them.
        exist_ok: replace outputs that already exist.
    """

    source: Path
    out: Path
    _: KW_ONLY
    from_format: str | None = None
    to_format: str | None = None
    video: Path | None = None
    exist_ok: bool = False

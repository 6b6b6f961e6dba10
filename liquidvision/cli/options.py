"""The options that several commands share: the same name and the same help everywhere."""

from dataclasses import replace

from liquidvision.cli.command import OldOption, Option

INPUT, OUTPUT, MODEL, DATA, FUTURE = "Input", "Output", "Model", "Data", "Looking ahead"

# By field of a job: `vid_stride` becomes `--vid-stride`, unless `flags` says otherwise. Types and defaults are in
# workflows/jobs.py.
SHARED = {
    "source": Option("A file, a URL, or a camera index.", flags=(), metavar="SOURCE"),
    "sources": Option(
        "Files, folders, globs, lists (.txt), URLs, camera indices, or - for standard input.",
        flags=(),
        metavar="SOURCE",
    ),
    "adapt": Option("Adapt, without labels, to a new person, place or light."),
    "start": Option("Start this many seconds into the source.", INPUT, metavar="SECONDS"),
    "end": Option("Stop this many seconds into the source.", INPUT, metavar="SECONDS"),
    "vid_stride": Option("Use every Nth frame; the frames keep their times.", INPUT, metavar="N"),
    "max_frames": Option("Stop after this many frames.", INPUT),
    "video_track": Option("The video track to read, counted from 0. Default: the main one.", INPUT),
    "rate": Option("Pictures per second of a folder of pictures, or of a pattern such as shots/%05d.jpg.", INPUT),
    "deinterlace": Option("auto deinterlaces pictures that are marked as interlaced; off leaves them.", INPUT),
    "reader": Option("auto, av or opencv.", INPUT),
    "model": Option("A bundled model, a model folder, or torchvision:NAME.", MODEL, ("-m", "--model")),
    "device": Option("auto, cpu, cuda, mps or openvino.", MODEL),
    "two_pass": Option("Read the source first, then label each frame from what came before and after it.", FUTURE),
    "look_ahead": Option(
        "Label each frame with the seconds after it too, that much later. For files and streams.",
        FUTURE,
        metavar="SECONDS",
    ),
    "shortest_run": Option(
        "Read the source first, and dissolve shorter runs of a label. Default: 0.3 with --two-pass, else none.",
        FUTURE,
        metavar="SECONDS",
    ),
    "half": Option("Run the backbone in bfloat16: faster on hardware that supports it, slightly less exact.", MODEL),
    "codec": Option("h264, h265, vp9, av1, prores or mjpeg; h264-hardware and others encode on a GPU.", OUTPUT),
    "exist_ok": Option("Replace outputs that already exist.", OUTPUT),
    "data": Option("A folder of class folders, a CSV or a JSON; see docs/guides/train.md.", flags=(), metavar="DATA"),
    "background": Option("The class of the time outside all intervals.", DATA),
    "cache": Option("The folder where embeddings are kept. Default: the user's cache folder.", DATA),
}

# How the files of annotated data are read: of `train`, `eval`, `extract` and `check`.
FILES = {
    "rate": replace(SHARED["rate"], panel=DATA),
    "deinterlace": replace(SHARED["deinterlace"], panel=DATA),
}

# Of `train` and `extract`. `--look` is its earlier name.
MOTION_CROP = Option(
    "Crop each frame around what moves. Default: the setting of a liquidvision model; off for torchvision's.",
    MODEL,
    ("--motion-crop/--no-motion-crop",),
    old=OldOption("--look", {"whole": False, "moving": True}),
)

"""The options of `infer`: their names, their help, and the panels that `--help` shows them in."""

from pathlib import Path
from typing import Annotated

import typer

OUTPUT, INPUT, LIVE = "Output", "Input", "Cameras, streams, growing files"
MODEL, REPORT = "Model and memory", "What is said"

Source = Annotated[
    list[str],
    typer.Argument(help="Files, folders, globs, lists (.txt), URLs, or a camera's index.", show_default=False),
]
Model = Annotated[
    str,
    typer.Option("-m", "--model", help="A bundled model, a model folder, or torchvision:NAME.", rich_help_panel=MODEL),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        help="Output file or folder, or - to stream Matroska to standard output. Default: runs/infer.",
        rich_help_panel=OUTPUT,
    ),
]
NoSave = Annotated[bool, typer.Option("--no-save", help="Write no video.", rich_help_panel=OUTPUT)]
SaveJson = Annotated[
    Path | None,
    typer.Option(help="Record every frame as JSON Lines (a folder for several sources).", rich_help_panel=OUTPUT),
]
SaveCsv = Annotated[Path | None, typer.Option(help="Record every frame as CSV (likewise).", rich_help_panel=OUTPUT)]
SaveFrames = Annotated[
    Path | None,
    typer.Option(
        help="Write the annotated frames as pictures into this folder (several sources: into folders in it).",
        rich_help_panel=OUTPUT,
    ),
]
FramesFormat = Annotated[str, typer.Option(help="png or jpg.", rich_help_panel=OUTPUT)]
PerFrame = Annotated[
    bool, typer.Option("--per-frame", help="Record also what each frame alone says.", rich_help_panel=OUTPUT)
]
TimeConstants = Annotated[
    bool, typer.Option("--time-constants", help="Record also the time constants.", rich_help_panel=OUTPUT)
]
HiddenState = Annotated[
    bool, typer.Option("--hidden-state", help="Record also the hidden state.", rich_help_panel=OUTPUT)
]
Overlay = Annotated[
    str, typer.Option(help="What to draw, of label,bars,timeline,tau,state; or none.", rich_help_panel=OUTPUT)
]
Compare = Annotated[
    bool, typer.Option("--compare", help="Draw each frame alone beside the memory.", rich_help_panel=OUTPUT)
]
Codec = Annotated[str, typer.Option(help="h264, h265, vp9, av1, prores, mjpeg; h264-hardware.", rich_help_panel=OUTPUT)]
Writer = Annotated[str, typer.Option(help="av, or opencv (no sound, constant rate).", rich_help_panel=OUTPUT)]
ExistOk = Annotated[bool, typer.Option("--exist-ok", help="Replace outputs that are there.", rich_help_panel=OUTPUT)]
Resume = Annotated[bool, typer.Option("--resume", help="Skip sources whose outputs are there.", rich_help_panel=OUTPUT)]
TopK = Annotated[int, typer.Option(help="Labels to draw and record.", rich_help_panel=OUTPUT)]
Conf = Annotated[
    float, typer.Option(help="Below this probability a label is not shown or recorded.", rich_help_panel=OUTPUT)
]
Start = Annotated[float, typer.Option(help="Begin at this second.", rich_help_panel=INPUT)]
End = Annotated[float | None, typer.Option(help="Stop at this second.", rich_help_panel=INPUT, show_default=False)]
VidStride = Annotated[int, typer.Option(help="Take every how-manieth frame.", rich_help_panel=INPUT)]
MaxFrames = Annotated[
    int | None, typer.Option(help="Stop after so many frames.", rich_help_panel=INPUT, show_default=False)
]
Reader = Annotated[str, typer.Option(help="auto, av or opencv.", rich_help_panel=INPUT)]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at damage in a file.", rich_help_panel=INPUT)]
Hwaccel = Annotated[
    str | None,
    typer.Option(
        help="Decode on a GPU: cuda, vaapi, ..., or auto (see doctor).", rich_help_panel=INPUT, show_default=False
    ),
]
MaxPixels = Annotated[int, typer.Option(help="Refuse larger pictures.", rich_help_panel=INPUT)]
Follow = Annotated[
    bool, typer.Option("--follow", help="Wait for more, as of a file being written.", rich_help_panel=LIVE)
]
Policy = Annotated[
    str,
    typer.Option(help="When frames come too quickly: wait, drop-oldest or latest.", rich_help_panel=LIVE),
]
MaxStaleness = Annotated[
    float | None,
    typer.Option(help="Leave out frames that waited longer, in seconds.", rich_help_panel=LIVE),
]
Reconnect = Annotated[
    str, typer.Option(help="Times in a row to try a lost source again, or forever.", rich_help_panel=LIVE)
]
Timeout = Annotated[float, typer.Option(help="Seconds of silence after which a source is lost.", rich_help_panel=LIVE)]
Batch = Annotated[
    int | None,
    typer.Option(help="Frames embedded at once. Default: 8; live, those that wait.", rich_help_panel=MODEL),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps or openvino.", rich_help_panel=MODEL)]
Half = Annotated[
    bool,
    typer.Option(
        "--half",
        help="Run the backbone in bfloat16: quicker where a GPU or processor knows it, a little less exact.",
        rich_help_panel=MODEL,
    ),
]
Adaptive = Annotated[
    bool,
    typer.Option("--adaptive", help="Embed only pictures that add something.", rich_help_panel=MODEL),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Sources at the same time, on one backbone. Default: all where one is live, else 1.",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
MaxGap = Annotated[float, typer.Option(help="A longer pause, in seconds, is a gap.", rich_help_panel=MODEL)]
GapPolicy = Annotated[
    str, typer.Option(help="What a gap does to the memory: decay, carry or reset.", rich_help_panel=MODEL)
]
StateIn = Annotated[
    Path | None, typer.Option(help="Go on with a saved memory.", rich_help_panel=MODEL, show_default=False)
]
StateOut = Annotated[
    Path | None, typer.Option(help="Save the memory at the end.", rich_help_panel=MODEL, show_default=False)
]
MetricsPort = Annotated[
    int | None,
    typer.Option(help="Serve /metrics and /health on this port of 127.0.0.1.", rich_help_panel=REPORT),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say only what failed.", rich_help_panel=REPORT)]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say every change of the label.", rich_help_panel=REPORT)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.", rich_help_panel=REPORT)]

"""`liquidvision infer`: label every frame of videos and write annotated copies."""

from dataclasses import replace

import typer

from liquidvision.cli.command import DONE, FAILED, INTERRUPTED, SOME_FAILED, Messages, Option, job_command
from liquidvision.cli.options import INPUT, MODEL, OUTPUT, SHARED
from liquidvision.cli.startup import prepare_torch
from liquidvision.workflows.jobs import InferJob
from liquidvision.workflows.plans import plan_infer

RECORDS, INTERVALS, OVERLAY, MEMORY = "Records", "Intervals", "Labels and drawing", "Memory"
LIVE, EVENTS = "Cameras, streams, growing files", "Events"


def parse_reconnect(text: str) -> int | None:
    """Return how many times to try a lost source again; None: without limit."""
    if text == "forever":
        return None
    if not str(text).isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a number nor forever")
    return int(text)


OPTIONS = {
    **{name: SHARED[name] for name in ("sources", "start", "end", "vid_stride", "max_frames")},
    **{name: SHARED[name] for name in ("video_track", "rate", "deinterlace", "reader")},
    "strict": Option("Stop at damage in a file. Default: count it and go on.", INPUT),
    "max_pixels": Option("Refuse pictures with more pixels than this.", INPUT),
    "hwaccel": Option("Decode on a GPU: cuda, vaapi and others, or auto; see liquidvision doctor.", INPUT),
    **{name: SHARED[name] for name in ("model", "device", "half")},
    "batch": Option(
        "Frames embedded at once. Default: 8 of a file (16 with --adaptive); up to 8 waiting ones of a live source.",
        MODEL,
    ),
    "adaptive": Option("Skip frames that add nothing new; results then depend on --batch.", MODEL),
    "two_pass": SHARED["two_pass"],
    "look_ahead": SHARED["look_ahead"],
    "shortest_run": SHARED["shortest_run"],
    "jobs": Option("Sources to run at once, on one backbone. Default: all of them if one is live, else 1.", MODEL),
    "out": Option(
        "Output file or folder, or - to stream Matroska to standard output. Default: runs/infer.",
        OUTPUT,
        ("-o", "--out"),
    ),
    "no_save": Option("Write no video.", OUTPUT),
    "annotate": Option(
        "drawn into the pictures, or subtitles: a track that players switch on and off, without encoding.",
        OUTPUT,
        metavar="HOW",
    ),
    "codec": SHARED["codec"],
    "writer": Option("av, or opencv (no sound, constant frame rate).", OUTPUT),
    "no_sound": Option("Leave the source's sound out of the video.", OUTPUT),
    "save_frames": Option("Write the annotated frames as pictures into this folder.", OUTPUT),
    "frames_format": Option("Format of these pictures: png or jpg.", OUTPUT),
    "exist_ok": SHARED["exist_ok"],
    "resume": Option("Skip sources whose outputs are complete.", OUTPUT),
    "save_json": Option("Record every frame as JSON Lines; a folder for several sources, or -.", RECORDS),
    "save_csv": Option("Record every frame as CSV; a folder for several sources, or -.", RECORDS),
    "per_frame": Option("Also record the scores of each frame alone.", RECORDS),
    "time_constants": Option("Also record the time constants of the cell.", RECORDS),
    "hidden_state": Option("Also record the hidden state of the cell.", RECORDS),
    "save_intervals": Option(
        "Write every interval of a label the moment it is certain: .csv, which train reads, .jsonl, or another tool's.",
        INTERVALS,
    ),
    "enter": Option(
        "Score at which an interval begins. Default: the model's, else 0.6.", INTERVALS, metavar="X,LABEL=X,..."
    ),
    "leave": Option("Score below which it ends. Default: the model's, else 0.4.", INTERVALS, metavar="X,LABEL=X,..."),
    "min_duration": Option(
        "Leave out shorter intervals. Default: the model's, else 0.5.", INTERVALS, metavar="S,LABEL=S,..."
    ),
    "merge_gap": Option(
        "Bridge gaps up to this long. Default: the model's, else 0.3.", INTERVALS, metavar="S,LABEL=S,..."
    ),
    "on": Option(
        "Fire an event when this holds, such as 'fight > .8 for 3 s'; may be given several times.",
        EVENTS,
        metavar="RULE",
    ),
    "event_log": Option("Append events to this file as JSON Lines, or - for standard output.", EVENTS),
    "exec": Option("Run a program for each event, with JSON on its standard input.", EVENTS, metavar="COMMAND"),
    "webhook": Option("Send each event to a web address, as JSON.", EVENTS, metavar="URL"),
    "mqtt": Option("Publish each event to an MQTT broker, mqtt://HOST/TOPIC.", EVENTS, metavar="URL"),
    "event_clips": Option("Cut a clip of each event from the file into this folder, without encoding.", EVENTS),
    "clip_lead": Option("Begin a clip this long before its event.", EVENTS, metavar="SECONDS"),
    "clip_tail": Option("End a clip this long after its event.", EVENTS, metavar="SECONDS"),
    "cooldown": Option("After an event, its rule fires no other one for this long.", EVENTS, metavar="SECONDS"),
    "update_every": Option("Also report an event that lasts this often. Default: never.", EVENTS, metavar="SECONDS"),
    "event_queue": Option("Where events wait while their receiver is away. Default: runs/events.sqlite.", EVENTS),
    "overlay": Option("Any of label,bars,timeline,tau,state; or none.", OVERLAY),
    "compare": Option("Draw each frame alone beside the memory.", OVERLAY),
    "top_k": Option("Labels to draw and record.", OVERLAY),
    "conf": Option("Below this probability the drawn label is a dash, and records omit it.", OVERLAY),
    "follow": Option("Wait for more at the end of a file that is still being written.", LIVE),
    "policy": Option("When frames come faster than they are processed: wait, drop-oldest or latest.", LIVE),
    "max_staleness": Option("Drop frames that have waited longer than this.", LIVE, metavar="SECONDS"),
    "reconnect": Option(
        "How often to try a lost source again in a row, or forever.", LIVE, parse=parse_reconnect, metavar="N|forever"
    ),
    "timeout": Option("Time without data after which a source counts as lost.", LIVE, metavar="SECONDS"),
    "metrics_port": Option("Serve /metrics and /health on this port of 127.0.0.1.", LIVE, metavar="PORT"),
    "max_gap": Option("A step longer than this is a gap.", MEMORY, metavar="SECONDS"),
    "gap_policy": Option("The effect of a gap on the memory: decay, carry or reset.", MEMORY),
    "adapt": replace(SHARED["adapt"], panel=MEMORY),
    "state_in": Option("Start with a saved memory.", MEMORY),
    "state_out": Option("Save the memory at the end.", MEMORY),
}


@job_command(InferJob, OPTIONS, quiet=True, verbose=True)
def infer_command(job: InferJob, messages: Messages) -> int:
    """Label every frame, with memory, and write an annotated copy.

    Examples: liquidvision infer clip.mp4 · liquidvision infer clips/ -o annotated --save-json records
    """
    plan = plan_infer(job)  # a wrong path is reported before the slow imports
    prepare_torch()
    from liquidvision.cli.infer_output import InferOutput
    from liquidvision.workflows.infer import run_infer

    result = run_infer(job, InferOutput(messages, plan), plan=plan)
    if result.interrupted:
        return INTERRUPTED
    if not result.errors:
        return DONE
    return SOME_FAILED if result.summaries else FAILED

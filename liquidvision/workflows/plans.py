"""What a job will read and write, checked before anything slow is imported."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from liquidvision.annotation.formats import BY_ENDING
from liquidvision.errors import UsageError
from liquidvision.triggers.rules import Rule, parse_rule
from liquidvision.video.read.names import check_rate
from liquidvision.workflows import io_paths
from liquidvision.workflows.jobs import ExplainJob, InferJob

STDOUT = "-"  # as `InferJob.out`
# Of `InferJob.save_intervals`; the first is that of files in a folder, those after the second are of other tools.
INTERVAL_SUFFIXES = (".csv", ".jsonl", *(ending for ending in BY_ENDING if ending not in (".csv", ".jsonl")))
DRAWN, SUBTITLES = "drawn", "subtitles"  # as `InferJob.annotate`
MAX_LOOK_AHEAD = 10.0  # seconds; frames wait in memory
CHART_SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class SourceOutputs:
    """A source and the paths of its outputs; None where an output is not written.

    Attributes:
        source: a path, a URL, or a camera index.
        video: the annotated video.
        json, csv: the records.
        intervals: the intervals.
        frames: the folder of the annotated frames.
    """

    source: str
    video: Path | None
    json: Path | None
    csv: Path | None
    intervals: Path | None
    frames: Path | None

    @property
    def files(self) -> tuple[Path | None, ...]:
        """The files, without the folder of frames."""
        return self.video, self.json, self.csv, self.intervals


@dataclass(frozen=True, slots=True)
class InferPlan:
    """What a job will do.

    Attributes:
        sources: what is to be run, with the outputs.
        count: how many sources the job names.
        resumed: whether sources with complete outputs were left out of `sources`.
        at_once: how many sources run at the same time, 1 or more.
        piped: whether a video or records go to standard output.
    """

    sources: Sequence[SourceOutputs]
    count: int
    resumed: bool
    at_once: int
    piped: bool

    @property
    def done_before(self) -> int:
        """How many sources are skipped, since their outputs are complete."""
        return self.count - len(self.sources)


def plan_infer(job: InferJob) -> InferPlan:
    """Return the sources that a job stands for, with the paths of their outputs. Nothing is created.

    Raises:
        UsageError: options that contradict each other, or an output that already exists.
        SourceError: a list of sources that cannot be read.
    """
    names = io_paths.expand_sources(job.sources, pictures=job.rate is not None)
    if job.rate is not None or len(names) == 1:  # of several sources, one without a rate fails alone
        check_rate(names, job.rate, " ".join(job.sources))
    if len(names) > 1 and (job.state_in or job.state_out):
        raise UsageError(f"--state-in and --state-out belong to one stream; there are {len(names)} sources")
    if str(job.save_intervals) == STDOUT:
        raise UsageError("--save-intervals - is not possible; expected a .csv or .jsonl file, or a folder")
    if _streams_to_stdout(job) > 1:
        raise UsageError("- is given for several outputs; only one can go to standard output")
    exist_ok = job.exist_ok or job.resume
    outputs = list(
        zip(
            names,
            _video_paths(job, names, exist_ok=exist_ok),
            io_paths.record_paths(names, job.save_json, (".jsonl", ".json"), exist_ok=exist_ok, resume=job.resume),
            io_paths.record_paths(names, job.save_csv, (".csv",), exist_ok=exist_ok, resume=job.resume),
            io_paths.record_paths(names, job.save_intervals, INTERVAL_SUFFIXES, exist_ok=exist_ok, resume=job.resume),
            io_paths.frame_folders(names, job.save_frames, exist_ok=exist_ok),
            strict=True,
        )
    )
    sources = [SourceOutputs(*each) for each in outputs]
    parse_rules(job)
    if job.event_log is not None and str(job.event_log) != STDOUT:
        io_paths.refuse_overwriting(job.event_log, exist_ok=exist_ok)
        io_paths.refuse_sources(job.event_log, io_paths.source_files(names))
    if job.resume and not (job.on and not any(any(each.files) for each in sources)):  # a log alone is never complete
        sources = [each for each in sources if not io_paths.outputs_complete(each.files)]
    if job.state_out is not None:
        io_paths.refuse_sources(job.state_out, io_paths.source_files(names))
    live = any(io_paths.may_be_live(name) for name in names)
    at_once = min(len(sources), job.jobs or (len(sources) if live else 1))
    return InferPlan(sources, len(names), job.resume, max(1, at_once), _streams_to_stdout(job) > 0)


def parse_rules(job: InferJob) -> list[Rule]:
    """Return the rules of a job.

    Raises:
        UsageError: a rule is not valid, two have one name, or there are actions and no rules, or rules and no actions.
    """
    rules = [parse_rule(text) for text in job.on or ()]
    names = [rule.name for rule in rules]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(
            f"two rules are named {twice[0]!r}; give each a name of its own, as in 'NAME: {rules[0].text}'"
        )
    actions = (job.event_log, job.exec, job.webhook, job.mqtt, job.event_clips)
    if any(actions) and not rules:
        raise UsageError("there is no rule for the events; say when they happen, as in --on 'LABEL > .8 for 3 s'")
    if rules and not any(actions):
        raise UsageError("the events of --on go nowhere; add --event-log, --exec, --webhook, --mqtt or --event-clips")
    return rules


def check_look_ahead(seconds: float | None) -> None:
    """Raise UsageError for a look-ahead that no command takes."""
    if seconds is not None and not 0 < seconds <= MAX_LOOK_AHEAD:
        raise UsageError(f"--look-ahead is {seconds}; expected seconds above 0, up to {MAX_LOOK_AHEAD:g}")


def _is_piped(job: InferJob) -> bool:
    return str(job.out) == STDOUT and not job.no_save


def _streams_to_stdout(job: InferJob) -> int:
    """Return how many outputs go to standard output."""
    return _is_piped(job) + sum(str(path) == STDOUT for path in (job.save_json, job.save_csv, job.event_log))


def _video_paths(job: InferJob, names: Sequence[str], *, exist_ok: bool) -> Sequence[Path | None]:
    """Return where each source's annotated video goes."""
    if job.no_save:
        return [None] * len(names)
    if not _is_piped(job):
        suffix = ".mkv" if job.annotate == SUBTITLES else ".mp4"
        return io_paths.output_paths(names, job.out, exist_ok=exist_ok, suffix=suffix, resume=job.resume)
    if job.annotate == SUBTITLES:
        raise UsageError("--annotate subtitles needs a file to write; give -o a name or a folder")
    if len(names) > 1:
        raise UsageError(f"-o - is one stream for {len(names)} sources; give a folder")
    if sys.stdout.isatty():
        raise UsageError("-o - would print the video on the terminal; pipe it into a program, or name a file")
    return [job.out]


def plan_explain(job: ExplainJob) -> Path:
    """Return the path of the picture that a job draws. Nothing is created.

    Raises:
        UsageError: another suffix than `CHART_SUFFIXES`, an output that already exists, or max_frames below 1.
    """
    check_rate([job.source], job.rate, job.source)
    if job.out is not None:
        io_paths.check_output_suffix(job.out, CHART_SUFFIXES)
    if job.max_frames is not None and job.max_frames < 1:
        raise UsageError(f"--max-frames is {job.max_frames}; expected 1 or more")
    default = Path("runs") / "explain"
    (path,) = io_paths.output_paths(
        [job.source], job.out, exist_ok=job.exist_ok, suffix=CHART_SUFFIXES[0], default=default
    )
    return path

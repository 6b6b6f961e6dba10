"""Recognises the columns of an annotation table by their names."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from liquidvision.errors import UsageError

# What a column holds → the names that it may have. Case, spaces and punctuation do not matter: "start_frame",
# "Start Frame" and "startFrame" are one name.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "file": (
        *("file", "filename", "filepath", "path", "pathname", "video", "videofile", "videofilename", "videoname"),
        *("videopath", "clip", "clipfile", "clipname", "clippath", "relativepath", "media", "mediafile", "videoid"),
        *("mediapath", "fullpath"),
    ),
    "label": (
        *("label", "labels", "labelname", "class", "classes", "classname", "classlabel", "category", "categoryname"),
        *("action", "actionlabel", "actionname", "activity", "activityname", "behavior", "behaviour", "gesture"),
        *("target", "annotation", "event"),
    ),
    "group": (
        *("group", "groups", "groupid", "groupname", "person", "personid", "personname", "subject", "subjectid"),
        *("subjectname", "actor", "actorid", "performer", "performerid", "participant", "participantid", "signer"),
        *("signerid", "speaker", "speakerid", "patient", "patientid", "player", "playerid", "animal", "animalid"),
        *("user", "userid", "camera", "cameraid", "cameraname", "cam", "camid", "scene", "sceneid", "session"),
        *("sessionid", "recording", "recordingid", "location", "locationid", "site", "siteid", "sourcevideo"),
        *("videosource", "originalvideo", "sourceid", "identity"),
    ),
    "split": ("split", "splitname", "subset", "part", "partition", "set", "datasplit", "phase", "fold", "folds"),
    "start": (
        *("start", "begin", "starttime", "begintime", "startsec", "startsecs", "startsecond", "startseconds", "starts"),
        *("startinseconds", "starttimesec", "starttimes", "starttimeseconds", "starttimestamp", "beginsec", "begins"),
        *("beginseconds", "tstart", "timestart", "from", "onset", "segmentstart", "actionstart"),
    ),
    "end": (
        *("end", "stop", "endtime", "stoptime", "endsec", "endsecs", "endsecond", "endseconds", "ends", "endinseconds"),
        *("endtimesec", "endtimes", "endtimeseconds", "endtimestamp", "stopsec", "stopsecs", "stopsecond"),
        *("stopseconds", "stops", "stoptimes", "stoptimestamp", "tend", "tstop", "timeend", "to", "offset", "until"),
        *("finish", "segmentend", "actionend"),
    ),
    "start_ms": ("startms", "starttimems", "beginms", "startmsec", "startmilliseconds", "msstart", "onsetms"),
    "end_ms": ("endms", "endtimems", "stopms", "endmsec", "endmilliseconds", "stopmilliseconds", "msend", "offsetms"),
    "start_frame": (
        *("startframe", "framestart", "beginframe", "framebegin", "firstframe", "startframes", "fstart", "fromframe"),
        *("startf", "startframenumber", "startframeid", "startframeindex"),
    ),
    "end_frame": (
        *("endframe", "frameend", "stopframe", "framestop", "endframes", "fend", "fstop", "toframe", "endf", "stopf"),
        *("endframenumber", "stopframenumber", "endframeid", "endframeindex"),
    ),
    "last_frame": ("lastframe", "framelast"),
    "score": ("score", "confidence", "conf", "probability", "prob", "certainty"),
    "duration": ("duration", "durationsec", "durationseconds", "durations", "length"),
    "frame": (
        *("frame", "frameid", "frameno", "framenr", "framenum", "framenumber", "frameindex", "frameidx", "time"),
        *("timestamp", "timecode", "timesec", "times"),
    ),
}
ROLE_OF_NAME = {name: role for role, names in COLUMN_NAMES.items() for name in names}
STARTS = {"start": "s", "start_ms": "ms", "start_frame": "frame"}  # by unit
ENDS = {"end": "s", "duration": "s", "end_ms": "ms", "end_frame": "frame", "last_frame": "frame"}
EXPECTED = "expected file,label[,group][,split] or file,start,end,label[,group][,split]"


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Where an annotation table has what.

    Attributes:
        places: the number of the column by what it holds, a key of `COLUMN_NAMES`: "file", "label", and where there are
            such, "group", "split", "score", one of `STARTS` and one of `ENDS`.
        names: the columns' names as the table has them.
        start, end: what the interval's columns hold, keys of `STARTS` and `ENDS`; None where labels are of whole files.
    """

    places: Mapping[str, int]
    names: Sequence[str]
    start: str | None
    end: str | None

    @property
    def unused(self) -> list[str]:
        """The names of the columns that are not read, except for the score that `infer --save-intervals` writes."""
        used = set(self.places.values())
        return [name for place, name in enumerate(self.names) if name and place not in used and name != "score"]


def simplify_name(name: str) -> str:
    """Return a name without what may differ in writing: upper case, spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\W_]+", "", folded)


def find_columns(path: Path, names: Sequence[str]) -> TableColumns:
    """Find the columns of an annotation table by their names.

    Raises:
        UsageError: a column is missing, or two columns could be the same; or a column is known and cannot be used.
    """
    by_role: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        if role := ROLE_OF_NAME.get(simplify_name(name)):
            by_role[role].append(place)
    start, end = find_interval_columns(path, names, by_role)
    wanted = ["file", *(role for role in (start, end) if role), "label"]
    missing = [role for role in wanted if not by_role[role]]
    if missing:
        raise UsageError(
            f"{path} has no column {' and no column '.join(missing)}; {EXPECTED}, found {','.join(names) or 'nothing'}"
        )
    refuse_columns(path, names, by_role, timed=start is not None)
    wanted += [role for role in ("group", "split", "score") if by_role[role] and (role != "score" or start)]
    for role in wanted:
        if len(by_role[role]) > 1:
            same = [names[place] for place in by_role[role]]
            if len({simplify_name(name) for name in same}) == 1:
                raise UsageError(f"{path} has two columns {role}; expected one")
            raise UsageError(
                f"{path} has the columns {' and '.join(same)}, and each could be the {role}; expected one: name it "
                f"{role}, and rename or remove the others"
            )
    return TableColumns({role: by_role[role][0] for role in wanted}, names, start, end)


def find_interval_columns(
    path: Path, names: Sequence[str], by_role: Mapping[str, list[int]]
) -> tuple[str | None, str | None]:
    """Return which columns hold the start and the end of an interval; None and None if there are no intervals.

    Raises:
        UsageError: intervals are given in two ways, or the units of start and end differ.
    """
    starts = [role for role in STARTS if by_role.get(role)]
    ends = [role for role in ENDS if by_role.get(role) and role != "duration"]
    if starts == ["start"] and not ends and by_role.get("duration"):
        ends = ["duration"]
    if not starts and not ends:
        return None, None
    if len(starts) > 1 or len(ends) > 1:
        found = [names[place] for role in (*starts, *ends) for place in by_role[role]]
        raise UsageError(
            f"{path} gives intervals in more than one way, {','.join(found)}; expected one start and one end: remove "
            "the other columns"
        )
    start = starts[0] if starts else {"s": "start", "ms": "start_ms", "frame": "start_frame"}[ENDS[ends[0]]]
    end = ends[0] if ends else {"s": "end", "ms": "end_ms", "frame": "end_frame"}[STARTS[starts[0]]]
    if STARTS[start] != ENDS[end]:
        found = [names[by_role[role][0]] for role in (start, end)]
        raise UsageError(f"{path} has {found[0]} and {found[1]}, which have different units; expected one unit")
    return start, end


def refuse_columns(path: Path, names: Sequence[str], by_role: Mapping[str, list[int]], *, timed: bool) -> None:
    """Raise UsageError where a column would change what the labels mean, but cannot be used."""
    if by_role.get("frame") and not timed:
        name = names[by_role["frame"][0]]
        raise UsageError(
            f"{path} has a column {name}, but labels of single frames are not read; expected intervals in the columns "
            f"start,end or start_frame,end_frame; if the labels are of whole files, remove the column {name}"
        )

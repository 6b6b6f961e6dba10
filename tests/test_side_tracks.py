"""Side tracks: sound in sync, subtitles, chapters and tags; and a note if something is lost."""

import errno
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from conftest import picture, picture_frames

from liquidvision import Model, SinkError, VideoInfo, infer, open_video
from liquidvision.video.write import copied_tracks
from liquidvision.video.write import side_tracks as written
from liquidvision.video.write.av_writer import AVVideoSink

MILLI = Fraction(1, 1000)
CLICKS = (0.3, 0.9, 1.5)  # seconds
CODEC = {".webm": "vp9"}  # of the pictures, where it is not h264


def begin(container: av.container.OutputContainer) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=25)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def show(container: av.container.OutputContainer, stream: av.VideoStream, seconds: float = 2.0) -> None:
    for i in range(round(seconds * 25)):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def with_clicks(
    path: Path, codec: str, *, rate: int = 48_000, layout: str = "stereo", gap: bool = False, piece_size: int = 1024
) -> Path:
    """Write two seconds of pictures and of sound with three clicks; with a `gap`, no sound from 1.0 to 1.3 s."""
    with av.open(str(path), "w") as container:
        stream, sound = begin(container), container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(sound, av.AudioStream)
        sound.codec_context.open()
        wave = np.zeros(2 * rate, np.float32)
        for click in CLICKS:
            wave[round(click * rate) :][: rate // 50] = 0.8 * np.sin(0.3 * np.arange(rate // 50))
        show(container, stream)
        to = av.AudioResampler(sound.codec_context.format, layout, rate)
        for place in range(0, len(wave), piece_size):
            if gap and 1.0 <= place / rate < 1.3:
                continue
            piece = np.tile(wave[place : place + piece_size], (sound.codec_context.layout.nb_channels, 1))
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, place, Fraction(1, rate)
            for ready in to.resample(frame):
                container.mux(sound.encode(ready))
        container.mux(sound.encode(None))
    return path


def clicks_of(path: Path) -> list[float]:
    """Return the times of the clicks in seconds after the first picture."""
    heard: list[float] = []
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            wave = frame.to_ndarray()
            wave = wave[0] if frame.format.is_planar else wave.reshape(-1, frame.layout.nb_channels)[:, 0]
            for place in np.flatnonzero(np.abs(wave / (1.0 if wave.dtype.kind == "f" else 2**15)) > 0.2):
                time = float(frame.pts * frame.time_base) + int(place) / frame.sample_rate - first
                if not heard or time - heard[-1] > 0.1:
                    heard.append(time)
    return heard


def copy(source: Path, out: Path, start: float = 0.0, stop: float | None = None) -> list[str]:
    """Write a video with its side tracks; return the notes."""
    with open_video(source, start=start, stop=stop) as video:
        tracks = video.side_tracks()
        zero = video.start_time + Fraction(start)
        codec = CODEC.get(out.suffix, "h264")
        with AVVideoSink(out, video.info, start_time=zero, codec=codec, side_tracks=tracks) as sink:
            for frame in video:
                sink.write(frame)
            sink.finish_side_tracks(whole=True)
        assert tracks is not None
        tracks.close()
    return sink.notes


@pytest.mark.parametrize("start", [0.0, 0.6])
@pytest.mark.parametrize(
    ("name", "out", "sound", "note"),
    [
        ("in.mkv", "out.webm", {"codec": "pcm_s16le", "rate": 44_100}, "from pcm_s16le to Opus: .webm cannot"),
        ("in.mkv", "out.webm", {"codec": "pcm_s16le", "gap": True}, "from pcm_s16le to Opus"),
        ("in.mkv", "out.webm", {"codec": "ac3", "layout": "5.1(side)"}, "from ac3 to Opus: .webm cannot hold ac3"),
        ("in.mov", "out.mp4", {"codec": "pcm_mulaw", "rate": 8000, "layout": "mono"}, "from pcm_mulaw to AAC: .mp4"),
        ("in.nut", "out.mp4", {"codec": "pcm_mulaw", "gap": True}, "from pcm_mulaw to AAC: .mp4 cannot hold pcm_mulaw"),
    ],
)
def test_sound_is_reencoded_in_sync(
    tmp_path: Path, name: str, out: str, sound: dict[str, Any], note: str, start: float
) -> None:
    """Sound that the container cannot hold is re-encoded in sync with the pictures, with a note."""
    source = with_clicks(tmp_path / name, **sound)
    notes = copy(source, tmp_path / out, start)
    assert len(notes) == 1 and note in notes[0]
    expected = [click - start for click in CLICKS if click > start]
    assert clicks_of(tmp_path / out) == pytest.approx(expected, abs=0.005)
    channels = {"mono": 1, "5.1(side)": 6}.get(sound.get("layout", "stereo"), 2)
    with av.open(str(tmp_path / out)) as container:
        assert container.streams.audio[0].layout.nb_channels == channels
        assert sum(1 for _ in container.decode(video=0)) == round((2.0 - start) * 25)


def test_without_an_encoder_sound_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the encoder sound is left out, and a note names a container that keeps it."""
    monkeypatch.setattr(written, "OPUS", ("nonesuch", "Opus", 64_000))
    notes = copy(with_clicks(tmp_path / "in.mkv", "pcm_s16le"), tmp_path / "out.webm")
    assert notes == ["sound left out: .webm cannot hold pcm_s16le; write .mkv to keep sound"]


def test_without_a_decoder_a_track_is_left_out(tmp_path: Path) -> None:
    """A track whose codec FFmpeg does not know is left out with a note; the video is still written."""

    class Strange:
        streams: Sequence[Any] = [SimpleNamespace(type="audio", codec_context=None, index=0)]
        chapters, tags, picture_tags = (), {}, {}

        def packets_until(self, seconds: float) -> Iterator[Any]:
            yield from ()

    with AVVideoSink(tmp_path / "out.mp4", VideoInfo("clip", 64, 48), side_tracks=Strange()) as sink:
        sink.write(picture_frames(1)[0])
    assert sink.notes == ["sound left out: FFmpeg has no decoder for the source's codec"]
    assert (tmp_path / "out.mp4").exists()


def test_sound_that_changes(tmp_path: Path) -> None:
    """Encoded sound stays in sync if the source switches from mono to stereo or its sound overlaps."""

    def packet(place: int, layout: str) -> Any:
        wave = np.full((1 if layout == "mono" else 2, 480), 0.5 if place == 4800 else 0.0, np.float32)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, place, Fraction(1, 48_000)
        return SimpleNamespace(decode=lambda: [frame])

    layout = SimpleNamespace(name="mono")
    context = SimpleNamespace(sample_rate=48_000, layout=layout, decode=lambda _: [])
    out = tmp_path / "out.mp4"
    with av.open(str(out), "w") as container:
        track = copied_tracks.EncodedSound(
            container, SimpleNamespace(codec_context=context), Fraction(0), "aac", 64_000
        )
        places = [(place, "mono" if place < 2400 else "stereo") for place in (*range(0, 9600, 480), 6000, 9600)]
        for place, name in places:
            container.mux(list(track.convert(packet(place, name))))
        container.mux(list(track.flush()))
    with av.open(str(out)) as container:
        frames = list(container.decode(audio=0))
    loud = [f.time + int(i) / 48_000 for f in frames for i in np.flatnonzero(np.abs(f.to_ndarray()[0]) > 0.2)]
    assert loud[0] == pytest.approx(0.1, abs=0.005) and loud[-1] == pytest.approx(0.11, abs=0.005)
    assert sum(frame.samples for frame in frames) == pytest.approx(10_080, abs=1024)


@pytest.mark.parametrize("out", ["out.mp4", "out.mkv", "out.webm"])
def test_concatenated_files(tmp_path: Path, out: str) -> None:
    """If the source's clock restarts, all pictures are written, and a note states where sound is missing."""
    once, twice = with_clicks(tmp_path / "once.ts", "aac"), tmp_path / "twice.ts"
    twice.write_bytes(once.read_bytes() * 2)
    notes = copy(twice, tmp_path / out)
    assert notes[-1] == "sound left out where the clock of the sound steps back"
    assert clicks_of(tmp_path / out) == pytest.approx(clicks_of(once), abs=0.005)
    with av.open(str(tmp_path / out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 100


BODIES = {
    "subrip": b"hello",
    "webvtt": b"hello",
    "ass": b"0,0,Default,,0,0,0,,hello",
    "mov_text": b"\x00\x05hello",
    "hdmv_pgs_subtitle": b"\x00\x04\x00\x04",
}
TIMES = ((0.4, 0.4), (1.2, 0.6))  # start and duration, in seconds


def with_subtitles(path: Path, codec: str) -> Path:
    """Write two seconds of pictures with two subtitles in French, two chapters, a title and an artist."""
    with av.open(str(path), "w") as container:
        stream, subtitles = begin(container), container.add_mux_stream(codec)
        subtitles.time_base = MILLI
        subtitles.metadata.update({"language": "fra"})
        stream.metadata.update({"language": "eng"})
        container.metadata.update({"title": "A title", "artist": "An artist", "comment": "A comment", "date": "2020"})
        edges = ((0, 900, "one"), (900, 2000, "two"))
        container.set_chapters(
            [
                {"id": i, "start": start, "end": stop, "time_base": MILLI, "metadata": {"title": title}}
                for i, (start, stop, title) in enumerate(edges)
            ]
        )
        for start, duration in TIMES:
            packet = av.Packet(BODIES[codec])
            packet.pts = packet.dts = round(start * 1000)
            packet.duration, packet.time_base, packet.stream = round(duration * 1000), MILLI, subtitles
            container.mux(packet)
        show(container, stream)
    return path


def subtitles_of(path: Path) -> list[tuple[float, float, bytes]]:
    """Return start, duration and text of each subtitle that is not empty."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.subtitles[0]) if p.size > 2]
        return [(float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p)) for p in packets]


@pytest.mark.parametrize(
    ("codec", "name", "kept"),
    [
        ("subrip", "in.mkv", [".mkv"]),
        ("ass", "in.mkv", [".mkv"]),
        ("webvtt", "in.mkv", [".mkv", ".webm"]),
        ("mov_text", "in.mp4", [".mp4", ".mov"]),
    ],
)
def test_subtitles(tmp_path: Path, codec: str, name: str, kept: list[str]) -> None:
    """Subtitles keep text, times and language; a container that cannot hold them gets another kind, with a note."""
    source = with_subtitles(tmp_path / name, codec)
    for suffix, other in {".mkv": "subrip", ".mp4": "mov_text", ".mov": "mov_text", ".webm": "webvtt"}.items():
        out = tmp_path / f"out{suffix}"
        notes = copy(source, out)
        with av.open(str(out)) as container:
            assert [s.language for s in container.streams.subtitles] == ["fra"]
            assert container.streams.subtitles[0].codec_context.codec.canonical_name == (
                codec if suffix in kept else other
            )
        assert subtitles_of(out) == [
            (
                pytest.approx(start, abs=0.001),
                pytest.approx(duration, abs=0.001),
                BODIES[codec if suffix in kept else other],
            )
            for start, duration in TIMES
        ]
        if suffix in kept:
            assert notes == []
        else:
            assert notes == [f"subtitles converted from {codec} to {other}: {suffix} cannot hold {codec}"]


def test_subtitles_that_are_pictures_are_left_out(tmp_path: Path) -> None:
    """Subtitles that are pictures cannot become text: MP4 is written without them, with a note."""
    source = with_subtitles(tmp_path / "in.mkv", "hdmv_pgs_subtitle")
    assert copy(source, tmp_path / "out.mp4") == [
        "subtitles left out: .mp4 cannot hold hdmv_pgs_subtitle; write .mkv to keep subtitles"
    ]


@pytest.mark.parametrize(
    ("codec", "out", "to"),
    [("flac", "out.mov", "AAC"), ("libopus", "out.mov", "AAC"), ("libopus", "out.mp4", "")],
)
def test_sound_that_the_header_refuses_is_reencoded(tmp_path: Path, codec: str, out: str, to: str) -> None:
    """Sound that FFmpeg lists for a container and then refuses to write there is re-encoded in sync, with a note."""
    source = with_clicks(tmp_path / "in.mkv", codec)
    notes = copy(source, tmp_path / out)
    assert [f"to {to}:" in note for note in notes] == ([True] if to else [])
    assert clicks_of(tmp_path / out) == pytest.approx(CLICKS, abs=0.005)


def sparse(path: Path, codec: str, gap: float) -> Path:
    """Write a second of pictures and of sound (or one subtitle), and another one after a gap."""
    begins = (0, gap)
    times = [base + number / 25 for base in begins for number in range(25)]
    with av.open(str(path), "w") as container:
        stream, packets = begin(container), []
        side = container.add_mux_stream(codec) if codec in BODIES else container.add_stream(codec, rate=8000)
        if codec in BODIES:
            side.time_base = MILLI
        for number, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = round(seconds * 25), Fraction(1, 25)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for base in begins:
            if isinstance(side, av.AudioStream):
                wave = np.full((1, 8000), 0.5, np.float32)
                sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 8000, round(8000 * base), Fraction(1, 8000)
                to = av.AudioResampler(side.codec_context.format, "mono", 8000, frame_size=800)
                packets += [packet for ready in to.resample(sound) for packet in side.encode(ready)]
            else:
                packet = av.Packet(BODIES[codec])
                packet.pts = packet.dts = round(1000 * (base + 0.2))
                packet.duration, packet.time_base, packet.stream = 400, MILLI, side
                packets.append(packet)
        if isinstance(side, av.AudioStream):
            packets += side.encode(None)
        container.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(("codec", "gap"), [("libopus", 50_400), ("aac", 300_000), ("pcm_s16le", 9)])
def test_sound_after_a_long_gap(tmp_path: Path, codec: str, gap: float, suffix: str) -> None:
    """Sound keeps its time after a gap, also where the container stores no gap or none of that length."""
    source, out = sparse(tmp_path / "in.mkv", codec, gap), tmp_path / f"out{suffix}"
    copy(source, out)
    with av.open(str(out)) as container:
        (sound,) = container.streams.audio
        times = [float(packet.pts * packet.time_base) for packet in container.demux(sound) if packet.size]
    assert max(times) == pytest.approx(gap + 0.9, abs=0.2)
    assert sum(0.9 < time < gap - 0.1 for time in times) < 200
    with av.open(str(out)) as container:
        assert max(frame.time for frame in container.decode(video=0)) == pytest.approx(gap + 0.96, abs=0.01)


def test_sound_after_a_gap_that_is_too_long(tmp_path: Path) -> None:
    """Sound after a gap that cannot be filled is left out with a note that names a container for it."""
    notes = copy(sparse(tmp_path / "in.mkv", "pcm_s16le", 5000), tmp_path / "out.mov")
    assert notes == ["sound left out from 5000.0 s on: it has a gap of 4,999 s, which .mkv can hold"]


@pytest.mark.parametrize(("codec", "name"), [("subrip", "in.mkv"), ("mov_text", "in.mp4")])
@pytest.mark.parametrize("gap", [5, 40, 50_400])
def test_subtitles_after_a_pause(tmp_path: Path, codec: str, name: str, gap: float) -> None:
    """Subtitles in MP4 keep their times, whatever the pause between them."""
    out = tmp_path / "out.mp4"
    copy(sparse(tmp_path / name, codec, gap), out)
    texts = [(start, length) for start, length, _ in subtitles_of(out)]
    assert texts == [pytest.approx((start, 0.4), abs=0.002) for start in (0.2, gap + 0.2)]


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_uncompressed_sound(tmp_path: Path, layout: str, suffix: str) -> None:
    """Uncompressed sound of any channels is copied or re-encoded in sync; it does not end the run."""
    notes = copy(with_clicks(tmp_path / "in.mkv", "pcm_s16le", layout=layout), tmp_path / f"out{suffix}")
    assert notes in ([], ["sound re-encoded from pcm_s16le to AAC: .mp4 cannot hold pcm_s16le"])
    assert clicks_of(tmp_path / f"out{suffix}") == pytest.approx(CLICKS, abs=0.005)


@pytest.mark.parametrize("out", ["out.mkv", "out.mov"])
def test_sound_packets_of_equal_time_are_kept(tmp_path: Path, out: str) -> None:
    """Packets of sound that share a time, as in Matroska's milliseconds, are all written, in sync."""
    source = with_clicks(tmp_path / "in.mkv", "pcm_s16le", piece_size=24)
    assert copy(source, tmp_path / out) == []
    with av.open(str(tmp_path / out)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 96_000
    assert clicks_of(tmp_path / out) == pytest.approx(CLICKS, abs=0.005)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_declared_sound_that_is_never_sent(tmp_path: Path, suffix: str) -> None:
    """A track of sound that is declared and never sent is left out with a note; the pictures are written."""
    source, out = tmp_path / "in.ts", tmp_path / f"out{suffix}"
    with av.open(str(source), "w") as container:
        stream = begin(container)
        container.add_stream("aac", rate=48_000)
        show(container, stream)
    assert copy(source, out) == ["sound left out: the source declares a track of sound without a sample rate"]
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50 and not container.streams.audio


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_tag_of_a_time_code_does_not_end_the_run(tmp_path: Path, suffix: str) -> None:
    """A time code, which MP4 would need a track for, is left out there with a note, and kept by Matroska."""
    source, out = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    with av.open(str(source), "w") as container:
        container.metadata["timecode"] = "00:00:10:00"
        show(container, begin(container))
    notes = copy(source, out)
    assert notes == (
        [] if suffix == ".mkv" else [f"TIMECODE 00:00:10:00 left out: {suffix} cannot hold it; write .mkv to keep it"]
    )
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50


def test_a_track_that_fails_later_is_left_out_from_there_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet of sound that cannot be written ends its track with a note, not the run; a full disk ends the run."""
    source = with_clicks(tmp_path / "in.mkv", "aac")
    convert = copied_tracks.CopiedTrack.convert
    fault = av.error.ArgumentError(errno.EINVAL, "Invalid argument")

    def fail_later(self, packet):
        if packet.pts * packet.time_base > 1:
            raise fault
        return convert(self, packet)

    monkeypatch.setattr(copied_tracks.CopiedTrack, "convert", fail_later)
    assert copy(source, tmp_path / "out.mp4") == ["sound left out from 1.0 s on: Invalid argument"]
    assert clicks_of(tmp_path / "out.mp4") == pytest.approx(CLICKS[:2], abs=0.005)
    fault = av.error.OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(SinkError, match="No space left"):
        copy(source, tmp_path / "full.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_packet_that_fails_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Sound that fails only when its turn comes is left out with a note, and no picture is lost."""
    convert = copied_tracks.CopiedTrack.convert

    def with_another_header(self, packet):
        for ready in convert(self, packet):
            changed = av.Packet(b"\xff\xf1" + bytes(ready))  # as of ADTS, which MP4 refuses when it is written
            changed.pts, changed.dts, changed.duration = ready.pts, ready.dts, ready.duration
            changed.time_base, changed.stream = ready.time_base, ready.stream
            yield changed

    monkeypatch.setattr(copied_tracks.CopiedTrack, "convert", with_another_header)
    (note,) = copy(with_clicks(tmp_path / "in.mkv", "aac"), tmp_path / f"out{suffix}")
    assert "left out from" in note
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50


def test_side_tracks_that_the_header_refuses_together_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a container cannot be begun with the side tracks, the pictures are written without them, with a note."""
    source = with_clicks(tmp_path / "in.mkv", "flac")
    monkeypatch.setattr(written.SideTrackWriter, "_try", lambda self, open_track, _=None: open_track(self._container))
    (note,) = copy(source, tmp_path / "out.mov")
    assert note.startswith("sound, subtitles, chapters and tags left out: .mov cannot hold them (")
    with av.open(str(tmp_path / "out.mov")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50 and not container.streams.audio


@pytest.mark.parametrize(("codec", "suffix"), [("subrip", ".mkv"), ("mov_text", ".mp4")])
def test_subtitles_are_cut_to_the_window(tmp_path: Path, codec: str, suffix: str) -> None:
    """With a start and a stop subtitles move with the pictures; a subtitle that crosses an edge is cut there."""
    out = tmp_path / f"out{suffix}"
    copy(with_subtitles(tmp_path / f"in{suffix}", codec), out, start=0.6, stop=1.4)
    expected = [(0.0, 0.2), (0.6, 0.2)]
    assert [times for *times, _ in subtitles_of(out)] == [pytest.approx(list(times), abs=0.001) for times in expected]


Chapters = list[tuple[float, float, str]]


def chapters_of(container: av.container.InputContainer) -> Chapters:
    """Return start and end in seconds, rounded to milliseconds, and title of each chapter."""
    told = [(c["time_base"], c["start"], c["end"], c["metadata"]["title"]) for c in container.chapters()]
    return [(round(float(base * start), 3), round(float(base * end), 3), title) for base, start, end, title in told]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm"])
@pytest.mark.parametrize(
    ("start", "stop", "chapters"),
    [
        (0.0, None, [(0.0, 0.9, "one"), (0.9, 2.0, "two")]),
        (0.6, 1.4, [(0.0, 0.3, "one"), (0.3, 0.8, "two")]),
        (1.0, None, [(0.0, 1.0, "two")]),
        (0.0, 0.5, [(0.0, 0.5, "one")]),
    ],
)
def test_chapters_and_tags(tmp_path: Path, suffix: str, start: float, stop: float | None, chapters: Chapters) -> None:
    """Chapters are moved and cut like the pictures; title, artist, comment, date and language are copied."""
    out = tmp_path / f"out{suffix}"
    copy(with_subtitles(tmp_path / "in.mkv", "subrip"), out, start, stop)
    with av.open(str(out)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        assert container.streams.video[0].language == "eng"
        assert chapters_of(container) == chapters
    kept = {"title": "A title", "artist": "An artist", "comment": "A comment", "date": "2020"}
    assert {key: tags.get(key) for key in kept} == kept
    assert not tags["encoder"].startswith("An")


def test_chapters_end_with_the_pictures(tmp_path: Path, model: Model) -> None:
    """If a run ends before its source, no chapter continues after the last picture."""
    source, out = with_subtitles(tmp_path / "in.mkv", "subrip"), tmp_path / "out.mkv"
    for frames, chapters in ((35, [(0.0, 0.9, "one"), (0.9, 1.4, "two")]), (10, [(0.0, 0.4, "one")])):
        infer(source, model, video=out, max_frames=frames)
        with av.open(str(out)) as container:
            assert chapters_of(container) == chapters


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_no_sound(tmp_path: Path, model: Model, suffix: str) -> None:
    """With sound=False the sound is left out, without a note; subtitles stay."""
    infer(with_clicks(tmp_path / "in.mkv", "aac"), model, video=tmp_path / f"out{suffix}", sound=False)
    summary = infer(
        with_subtitles(tmp_path / "text.mkv", "subrip"), model, video=tmp_path / "text.out.mkv", sound=False
    )
    assert summary.notes == []
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert not container.streams.audio
    with av.open(str(tmp_path / "text.out.mkv")) as container:
        assert len(container.streams.subtitles) == 1

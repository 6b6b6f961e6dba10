"""File objects and bytes as sources: files, memory, pipes, archives, and objects with `read` alone."""

import gzip
import io
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from test_stills import save_pictures

import liquidvision as lv
from liquidvision import Model, infer, open_video, predict
from liquidvision.errors import SourceError, UsageError

MakeVideo = Callable[..., Path]


class ReadOnly:
    """An object with `read` alone, which gives what it has in small pieces, or fails after some of them."""

    def __init__(self, content: bytes, *, piece: int = 1000, fails_at: int | None = None) -> None:
        self._file, self._piece, self._fails_at = io.BytesIO(content), piece, fails_at

    def read(self, size: int) -> Any:
        if self._fails_at is not None and self._file.tell() >= self._fails_at:
            raise ConnectionResetError("the peer went away")
        return self._file.read(min(size, self._piece))


class Seekable(ReadOnly):
    """The same with `seek` and `tell`."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class Generous(ReadOnly):
    """An object that gives more than it is asked for."""

    def read(self, size: int) -> bytes:
        return self._file.read(size + 777)


class Untidy(Seekable):
    """A file of a remote system: no `closed`, no `readable`, `read` that returns a bytearray."""

    def read(self, size: int) -> Any:
        return bytearray(super().read(size))


def piped(path: Path) -> io.BufferedReader:
    """Return the reading end of a pipe into which a thread writes a file."""
    end, start = os.pipe()

    def write() -> None:
        with open(start, "wb") as file:
            file.write(path.read_bytes())

    threading.Thread(target=write, daemon=True).start()
    return open(end, "rb")


def zipped(path: Path) -> Any:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.write(path, "clip.mkv")
    return zipfile.ZipFile(path.with_suffix(".zip")).open("clip.mkv")


def compressed(path: Path) -> Any:
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    return gzip.open(path.with_suffix(".gz"))


def at_its_end(path: Path) -> io.BytesIO:
    buffer = io.BytesIO()
    buffer.write(path.read_bytes())
    return buffer


OBJECTS: dict[str, Callable[[Path], Any]] = {
    "file": lambda path: path.open("rb"),
    "unbuffered file": lambda path: path.open("rb", buffering=0),
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "memory": lambda path: io.BytesIO(path.read_bytes()),
    "memory at its end": at_its_end,
    "pipe": piped,
    "archive": zipped,
    "compressed": compressed,
    "read alone": lambda path: ReadOnly(path.read_bytes()),
    "read and seek": lambda path: Seekable(path.read_bytes()),
    "too much": lambda path: Generous(path.read_bytes()),
    "untidy": lambda path: Untidy(path.read_bytes()),
}


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_objects_give_the_frames_of_the_file(make_video: MakeVideo, kind: str, name: str) -> None:
    """Every kind of object gives the frames and times of its file, from its beginning and from a later start."""
    path = make_video(name)
    for window in ({}, {"start": 0.3, "stop": 0.6}):
        with open_video(path, **window) as video:
            expected = [(frame.time, frame.image.tobytes()) for frame in video]
        with open_video(OBJECTS[kind](path), **window) as video:
            assert [(frame.time, frame.image.tobytes()) for frame in video] == expected
            assert video.read_once == (kind in ("pipe", "read alone", "too much"))


@pytest.mark.parametrize("kind", ["file", "bytes", "memory", "pipe"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_predict_and_infer_take_objects(make_video: MakeVideo, model: Model, tmp_path: Path, kind: str) -> None:
    """`predict` and `infer` take them too; sound is copied from what can seek."""
    path = make_video("clip.mkv", sound=True)
    expected = [prediction.label for _, prediction in predict(path, model)]
    assert [prediction.label for _, prediction in predict(OBJECTS[kind](path), model)] == expected
    infer(OBJECTS[kind](path), model, video=tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as out:
        assert bool(out.streams.audio) == (kind != "pipe")
        assert sum(1 for _ in out.decode(video=0)) == len(expected)


def test_the_callers_object_stays_open(make_video: MakeVideo) -> None:
    """The reader closes neither the object nor reads it further after it is closed."""
    with make_video().open("rb") as file:
        with open_video(file) as video:
            next(iter(video))
        assert not file.closed
        with open_video(file) as again:
            assert len(list(again)) == 20


def test_the_file_of_an_object_is_not_replaced(make_video: MakeVideo, model: Model) -> None:
    """An output over the file that an object reads is refused."""
    path = make_video()
    before = path.read_bytes()
    with path.open("rb") as file, pytest.raises(UsageError, match="is the source"):
        infer(file, model, video=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "y4m", "h264"])
def test_other_kinds_of_files(tmp_path: Path, suffix: str, make_video: MakeVideo) -> None:
    """Pictures and bare streams are recognised, also where only the file's name says what they are."""
    if suffix in ("jpg", "png"):
        save_pictures(tmp_path, [3], "one." + suffix)
    else:
        with av.open(str(make_video())) as source, av.open(str(tmp_path / f"one.{suffix}"), "w") as out:
            codec = {"gif": "gif", "y4m": "rawvideo", "h264": "libx264"}[suffix]
            stream = out.add_stream(codec, rate=25, width=64, height=48)
            stream.pix_fmt = "rgb8" if suffix == "gif" else "yuv420p"
            for frame in source.decode(video=0):
                frame.pts = None
                out.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            out.mux(stream.encode(None))
    path = tmp_path / f"one.{suffix}"
    with open_video(path) as video:
        expected = len(list(video))
    with path.open("rb") as file, open_video(file) as video:
        assert len(list(video)) == expected and video.info.name == path.name


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", [ReadOnly, Seekable])
def test_an_object_that_breaks_off(make_video: MakeVideo, kind: type[ReadOnly], share: float) -> None:
    """An error of the object is a SourceError with its reason, and never looks like the end of the video."""
    content = make_video("clip.ts", size=(128, 96), pts=range(0, 60 * 512, 512)).read_bytes()
    with pytest.raises(SourceError, match="the peer went away") as error:
        list(open_video(kind(content, fails_at=int(share * len(content)))))
    assert "\n" not in str(error.value) and isinstance(error.value.__cause__, ConnectionResetError)


def test_objects_that_are_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    """Text, writing, closed objects, and what is no video are refused in one line that says what to do."""
    path = make_video()
    closed = path.open("rb")
    closed.close()
    with path.open(encoding="latin-1") as text, (tmp_path / "new.mp4").open("wb") as writing:
        for source, options, kind, what in (
            (text, {}, UsageError, "clip.mp4 is open as text; open it with mode rb"),
            (io.StringIO("x"), {}, UsageError, "StringIO is open as text"),
            (writing, {}, UsageError, "new.mp4 is not open for reading"),
            (closed, {}, UsageError, "clip.mp4 is closed"),
            (path.read_bytes(), {"reader": "opencv"}, UsageError, "leave out reader"),
            (path.read_bytes(), {"follow": True}, UsageError, "leave out"),
            (path.read_bytes(), {"rate": 5}, UsageError, "leave out"),
            (b"", {}, SourceError, "bytes cannot be opened as video"),
            (os.fsencode(path), {}, SourceError, "a path is a str"),
            (io.BytesIO(b"no video"), {}, SourceError, "BytesIO cannot be opened as video"),
            (ReadOnly(b"no video"), {}, SourceError, "ReadOnly cannot be opened as video"),
            (3.5, {}, UsageError, "float; expected a path"),
        ):
            with pytest.raises(kind, match=what) as error:
                open_video(source, **options)
            assert "\n" not in str(error.value)


def test_an_object_that_gives_no_bytes() -> None:
    """`read` that returns text or None is an error of one line."""
    for given in ("text", None):

        class Wrong:
            def read(self, size: int, given: Any = given) -> Any:
                return given

        with pytest.raises(SourceError, match="Wrong broke off"):
            open_video(Wrong())


def test_a_playlist_in_an_object_opens_nothing(make_video: MakeVideo) -> None:
    """The content of an object may name no other files."""
    path = make_video()
    for text in (f"#EXTM3U\n#EXTINF:1,\n{path}\n", f"ffconcat version 1.0\nfile '{path}'\n"):
        with pytest.raises(SourceError):
            open_video(text.encode())


def test_paths_of_other_libraries(make_video: MakeVideo) -> None:
    """Anything that stands for a path is one."""

    class Named:
        def __fspath__(self) -> str:
            return str(path)

    path = make_video()
    with open_video(Named()) as video:  # type: ignore[arg-type]
        assert len(list(video)) == 20


def test_names_of_objects(make_video: MakeVideo) -> None:
    """The name for display has no folders, password or query."""

    class Remote(Seekable):
        name = "https://user:secret@example.org/a/clip.mp4?token=secret"

    with lv.open_video(Remote(make_video().read_bytes())) as video:
        assert video.info.name == "clip.mp4" and video.path is None


def test_an_mp4_that_needs_seeking(make_video: MakeVideo) -> None:
    """Where an MP4 has its index at its end and cannot be searched, the error says what is missing."""
    content = make_video(pts=range(0, 300 * 512, 512)).read_bytes()
    with pytest.raises(SourceError, match="index first"):
        list(open_video(ReadOnly(content)))
    with open_video(Seekable(content)) as video:
        assert len(list(video)) == 300

"""What a source must not do: open other files or hosts, use more memory than allowed, hide its damage."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from commands import Run, one_line

from liquidvision import open_video
from liquidvision.errors import SourceError, UsageError

MakeVideo = Callable[..., Path]
PLAYLISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\n{}\n#EXT-X-ENDLIST\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile {}\n",
    "dash.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL></MPD>\n',
    "stream.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


class Shelf(ThreadingHTTPServer):
    """Serves a folder on loopback, and records the requests."""

    asked: list[str]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    class Handler(SimpleHTTPRequestHandler):
        def send_head(self):
            self.server.asked.append(self.path)
            return super().send_head()

        def log_message(self, *_: object) -> None:
            pass

    server = Shelf(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    server.asked, server.daemon_threads = [], True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("target", ["file", "host"])
def test_a_playlist_on_disk_opens_nothing(
    make_video: MakeVideo, tmp_path: Path, shelf: Shelf, name: str, target: str
) -> None:
    """A playlist on disk opens neither another file nor a host; the error says what to do instead."""
    make_video("clip.ts")
    named = "clip.ts" if target == "file" else f"http://127.0.0.1:{shelf.server_port}/clip.ts"
    (tmp_path / name).write_text(PLAYLISTS[name].format(named))
    with pytest.raises(SourceError, match="playlist") as error:
        open_video(tmp_path / name)
    assert "\n" not in str(error.value)
    assert shelf.asked == []


@pytest.mark.parametrize("disguise", ["clip.mp4", "clip.ts", "clip.mkv"])
def test_a_playlist_under_another_name_opens_nothing(make_video: MakeVideo, tmp_path: Path, disguise: str) -> None:
    """A playlist with the suffix of a video is refused like any playlist."""
    make_video("other.ts")
    (tmp_path / disguise).write_text(PLAYLISTS["hls.m3u8"].format("other.ts"))
    with pytest.raises(SourceError):
        open_video(tmp_path / disguise)


def test_a_playlist_from_a_host_is_read_from_the_host(make_video: MakeVideo, tmp_path: Path, shelf: Shelf) -> None:
    """HLS over HTTP is read; a playlist over HTTP that names a local file is refused."""
    clip = make_video("clip.ts")
    (tmp_path / "good.m3u8").write_text(PLAYLISTS["hls.m3u8"].format("clip.ts"))
    (tmp_path / "bad.m3u8").write_text(PLAYLISTS["hls.m3u8"].format(f"file://{clip}"))
    host = f"http://127.0.0.1:{shelf.server_port}"
    with open_video(f"{host}/good.m3u8") as video:
        assert not video.info.live
        assert sum(1 for _ in video) == 20
    with pytest.raises(SourceError):
        open_video(f"{host}/bad.m3u8")


def test_other_kinds_of_urls_are_refused() -> None:
    """Other protocols are refused, in one line that names those that are allowed."""
    for url in ("concat://a.ts|b.ts", "subfile://clip.mp4", "ftp://host/clip.mp4", "gopher://host/x", "data://x"):
        with pytest.raises(UsageError, match="rtsp") as error:
            open_video(url)
        assert "\n" not in str(error.value)


def test_pictures_larger_than_allowed_are_refused(make_video: MakeVideo) -> None:
    """A picture of more than max_pixels is refused in one line; one of exactly max_pixels is read."""
    clip = make_video(size=(64, 48))
    with open_video(clip, max_pixels=64 * 48) as video:
        assert sum(1 for _ in video) == 20
    with pytest.raises(SourceError, match="64 x 48") as error:
        open_video(clip, max_pixels=64 * 48 - 1)
    assert "\n" not in str(error.value) and "--max-pixels" in str(error.value)


def test_pictures_that_grow_are_stopped_at_the_limit(make_video: MakeVideo, tmp_path: Path) -> None:
    """A stream that starts small and becomes larger than allowed is stopped there."""
    small, large = make_video("a.ts"), make_video("b.ts", size=(256, 192), pts=range(20 * 512, 30 * 512, 512))
    grown = tmp_path / "grown.ts"
    grown.write_bytes(small.read_bytes() + large.read_bytes())
    with open_video(grown) as video:
        assert {frame.image.shape[:2] for frame in video} == {(48, 64), (192, 256)}
    with open_video(grown, max_pixels=64 * 64) as video:
        assert {frame.image.shape[:2] for frame in video} == {(48, 64)}
        assert video.counts.damaged


@pytest.fixture
def damaged(make_video: MakeVideo, tmp_path: Path) -> Path:
    """A transport stream whose middle is overwritten."""
    whole = bytearray(make_video("whole.ts", pts=range(0, 80 * 512, 512)).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 1500] = bytes(range(250)) * 6
    path = tmp_path / "damaged.ts"
    path.write_bytes(whole)
    return path


def test_damage_is_counted_and_read_past(damaged: Path) -> None:
    """Reading continues after damage, which is counted; with strict it stops there, in one line."""
    with open_video(damaged) as video:
        frames = [frame.time for frame in video]
        assert 40 < len(frames) <= 80
        assert frames[-1] - frames[0] > 2.5
        assert video.counts.damaged
    with pytest.raises(SourceError, match="--strict") as error, open_video(damaged, strict=True) as video:
        for _ in video:
            pass
    assert "\n" not in str(error.value)


def test_strict_on_the_command_line(run: Run, damaged: Path, model_folder: Path) -> None:
    """Without --strict, damage is reported at the end; with it, the run fails there, and keeps what came before."""
    ran = run("infer", damaged, "-m", model_folder, "-o", "out.mkv")
    assert ran.code == 0 and "damaged packets" in ran.out
    ran = run("infer", damaged, "-m", model_folder, "-o", "strict.mkv", "--strict")
    assert ran.code == 1 and "--strict" in one_line(ran)
    assert not Path("strict.mkv").exists()
    with open_video("strict.part.mkv") as kept:
        assert 5 < sum(1 for _ in kept) < 80


def test_max_pixels_on_the_command_line(run: Run, make_video: MakeVideo, model_folder: Path) -> None:
    """The limit of the command line applies, and no output is created."""
    ran = run("infer", make_video(), "-m", model_folder, "-o", "out.mp4", "--max-pixels", "1000")
    assert ran.code == 1 and "1,000 pixels" in one_line(ran)
    assert not list(Path().iterdir())

"""Pictures as sources: a single one, folders of them, and patterns of numbered names."""

import struct
from io import BytesIO
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from commands import Run
from conftest import picture

from liquidvision import open_video
from liquidvision.errors import SourceError, UsageError


def save_pictures(folder: Path, numbers: list[int], name: str = "{:05d}.jpg") -> Path:
    """Write a picture for each number into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / name.format(number)
        cv2.imencode(path.suffix, picture(number)[..., ::-1])[1].tofile(path)
    return folder


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPG", "png", "bmp", "tiff"])
def test_one_picture(tmp_path: Path, suffix: str) -> None:
    """A picture of any common format is a video of one frame."""
    save_pictures(tmp_path, [3], "one {}." + suffix)
    with open_video(tmp_path / f"one 3.{suffix}") as video:
        (frame,) = video
    assert np.abs(frame.image.astype(int) - picture(3)).mean() < 8


def test_motion_jpeg_is_not_one_picture(tmp_path: Path) -> None:
    """Motion JPEG without a container keeps all its frames."""
    save_pictures(tmp_path, [0, 1, 2])
    joined = b"".join((tmp_path / f"{number:05d}.jpg").read_bytes() for number in range(3))
    (tmp_path / "clip.mjpeg").write_bytes(joined)
    with open_video(tmp_path / "clip.mjpeg") as video:
        assert len(list(video)) == 3


@pytest.mark.parametrize("name", ["{:05d}.jpg", "shot {}.png", "{}.bmp"])
def test_a_folder_of_pictures(tmp_path: Path, name: str) -> None:
    """A folder of pictures is a video at the rate given, in the order of the numbers in their names."""
    folder = save_pictures(tmp_path / "shots", list(range(8, 13)), name)
    with open_video(folder, rate=10) as video:
        frames = list(video)
        assert (video.info.width, video.info.height, video.info.duration) == (64, 48, 0.5)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert [frame.duration_seconds for frame in frames] == pytest.approx([0.1] * 5)
    for number, frame in enumerate(frames, start=8):
        assert np.abs(frame.image.astype(int) - picture(number)).mean() < 8


def test_a_pattern_of_pictures(tmp_path: Path) -> None:
    """A number that a pattern does not find is a gap; other files are left out."""
    folder = save_pictures(tmp_path / "shots", [7, 8, 11])
    save_pictures(folder, [1], "other{}.jpg")
    with open_video(folder / "%05d.jpg", rate=30_000 / 1001) as video:
        assert [frame.time for frame in video] == pytest.approx([0, 1001 / 30_000, 4004 / 30_000])
    with open_video(folder / "%05d.jpg", rate=10, start=0.1, stop=0.3) as video:
        assert [frame.time for frame in video] == pytest.approx([0.1])
    with open_video(folder / "%05d.jpg", rate=10, start=9) as video:
        assert list(video) == []


def test_a_damaged_picture(tmp_path: Path) -> None:
    """A picture that cannot be decoded is counted and skipped; --strict refuses it."""
    folder = save_pictures(tmp_path / "shots", [0, 1, 2])
    (folder / "00001.jpg").write_bytes(b"no picture")
    with open_video(folder, rate=10) as video:
        assert [frame.time for frame in video] == pytest.approx([0, 0.2])
        assert video.counts.damaged == 1
    with pytest.raises(SourceError, match=r"00001\.jpg"), open_video(folder, rate=10, strict=True) as video:
        list(video)


def test_pictures_that_are_refused(tmp_path: Path, make_video) -> None:
    """Pictures without a rate, a rate for a video, and a pattern without matches are refused in one line."""
    folder = save_pictures(tmp_path / "shots", [0, 1])
    for source, options, what in (
        (folder, {}, "--rate"),
        (folder, {"rate": 0}, "rate is 0"),
        (make_video(), {"rate": 25}, "leave it out"),
        (folder, {"rate": 25, "reader": "opencv"}, "one by one"),
    ):
        with pytest.raises(UsageError, match=what) as error:
            open_video(source, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(SourceError, match="matches no picture"):
        open_video(folder / "%03d.png", rate=25)


@pytest.mark.parametrize("source", ["shots", "shots/%05d.jpg"])
def test_infer_on_pictures(tmp_path: Path, run: Run, model_folder: Path, source: str) -> None:
    """`infer` writes a folder or a pattern of pictures as a video with the times of the rate."""
    save_pictures(Path("shots"), list(range(1, 9)))
    ran = run("infer", source, "-m", model_folder, "--rate", 20, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    with av.open(str(tmp_path / "out" / "shots.mp4")) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([0.05 * n for n in range(8)])


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_picture_that_a_camera_turned(tmp_path: Path, orientation: int, turns: int) -> None:
    """A photo whose EXIF data states a rotation is read upright."""
    save_pictures(tmp_path, [3], "{}.jpg")
    data = (tmp_path / "3.jpg").read_bytes()
    entry = b"\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0])
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    (tmp_path / "3.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    with open_video(tmp_path / "3.jpg") as video:
        image = next(iter(video)).image
    assert np.abs(image.astype(int) - np.rot90(picture(3), turns)).mean() < 8


def tile(color: tuple[int, int, int]) -> tuple[bytes, bytes]:
    """Return the description and the data of a picture of 64 x 64 pixels in H.265."""
    out = BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.codec_tag = "hvc1"
        image = np.full((64, 64, 3), color, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    data = out.getvalue()
    start = data.index(b"hvcC") - 4
    with av.open(BytesIO(data)) as container:
        picture_data = next(bytes(packet) for packet in container.demux(video=0) if packet.size)
    return data[start : start + int.from_bytes(data[start : start + 4], "big")], picture_data


def box(kind: bytes, *body: bytes) -> bytes:
    joined = b"".join(body)
    return struct.pack(">I", len(joined) + 8) + kind + joined


def full_box(kind: bytes, version: int, flags: int, *body: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *body)


def tiled_picture(path: Path) -> Path:
    """Write a HEIC file of 128 x 128 pixels in four tiles (ISO/IEC 23008-12)."""
    tiles = [tile(color) for color in ((200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 200))]
    datas = [bytes([0, 0, 1, 1]) + struct.pack(">HH", 128, 128), *(data for _, data in tiles)]
    kinds = [
        full_box(b"infe", 2, int(number > 1), struct.pack(">HH", number, 0), b"hvc1" if number > 1 else b"grid", b"\0")
        for number in range(1, 6)
    ]
    parts = full_box(b"iref", 0, 0, box(b"dimg", struct.pack(">6H", 1, 4, 2, 3, 4, 5)))
    sizes = [full_box(b"ispe", 0, 0, struct.pack(">II", side, side)) for side in (128, 64)]
    links = [struct.pack(">HBB", 1, 1, 1), *(struct.pack(">HBBB", number, 2, 2, 0x83) for number in range(2, 6))]
    properties = box(b"iprp", box(b"ipco", *sizes, tiles[0][0]), full_box(b"ipma", 0, 0, struct.pack(">I", 5), *links))

    def meta(place: int) -> bytes:
        located = b""
        for number, data in enumerate(datas, start=1):
            located += struct.pack(">HHHII", number, 0, 1, place, len(data))
            place += len(data)
        return full_box(
            *(b"meta", 0, 0, full_box(b"hdlr", 0, 0, bytes(4) + b"pict" + bytes(13))),
            full_box(b"pitm", 0, 0, struct.pack(">H", 1)),
            full_box(b"iloc", 0, 0, struct.pack(">HH", 0x4400, 5), located),
            full_box(b"iinf", 0, 0, struct.pack(">H", 5), *kinds),
            *(parts, properties),
        )

    start = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    path.write_bytes(start + meta(len(start) + len(meta(0)) + 8) + box(b"mdat", *datas))
    return path


@pytest.mark.parametrize("reader", ["av", "opencv"])
def test_a_picture_in_tiles(tmp_path: Path, reader: str) -> None:
    """A HEIC picture in tiles, of which only the single tiles can be read, is refused in one line."""
    path = tiled_picture(tmp_path / "photo.heic")
    with pytest.raises(SourceError, match=r"photo\.heic is a picture in 4 tiles") as error:
        open_video(path, reader=reader)
    assert "convert it" in str(error.value) and "\n" not in str(error.value)

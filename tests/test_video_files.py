"""Reading and writing video: nothing lost, exact times, sound in place, playable whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from maskwatch import OptionError, SourceError
from maskwatch.sinks.video_file import VideoWriter
from maskwatch.sources.camera import Camera, CameraOptions, Shot
from maskwatch.sources.video import VideoFile
from tests.clips import loudness, make_clip, number_of, numbered, turn

NTSC = Fraction(30000, 1001)


def copy(path, target, **part):
    """Read and write again, as the pipeline does."""
    with (
        VideoFile(path, **part) as source,
        VideoWriter(
            target,
            rate=source.info.rate,
            time_base=source.info.time_base,
            sound_from=path,
            origin_s=source.info.origin_s,
        ) as writer,
    ):
        for frame in source:
            writer.write(frame.image, frame.pts_s)
    return target


def read(path, **part):
    with VideoFile(path, **part) as source:
        return [(number_of(frame.image), frame.pts_s) for frame in source]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_no_frame_is_lost_and_times_stay_exact(tmp_path, suffix):
    clip = make_clip(tmp_path / "in.mp4", [numbered(index) for index in range(100)])
    back = read(copy(clip, tmp_path / f"out{suffix}"))
    assert [number for number, _ in back] == list(range(100))
    tolerance = 6e-4 if suffix == ".mkv" else 2e-5  # Matroska's own clock counts milliseconds
    np.testing.assert_allclose(
        [pts for _, pts in back], [float(i / NTSC) for i in range(100)], atol=tolerance
    )


def test_29_97_stays_29_97(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", [numbered(index) for index in range(60)])
    with VideoFile(copy(clip, tmp_path / "out.mp4")) as source:
        assert source.info.rate == pytest.approx(NTSC, rel=1e-4)
        assert source.info.frames == 60


def test_variable_frame_rate_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    times = [Fraction(int(t), 1000) for t in np.cumsum(rng.integers(10, 200, 50))]
    clip = make_clip(tmp_path / "in.mp4", [numbered(index) for index in range(50)], times=times)
    back = read(copy(clip, tmp_path / "out.mp4"))
    expected = [float(t) for t in times]
    first = back[0][1]
    np.testing.assert_allclose([pts for _, pts in back], np.array(expected) - expected[0] + first, atol=2e-5)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path, degrees):
    image = numbered(0x1234, 320, 128)
    stored = np.rot90(image, degrees // 90)  # clockwise turning by the player makes it upright
    clip = make_clip(tmp_path / "in.mp4", [stored] * 5)
    turn(clip, degrees)
    with VideoFile(clip) as source:
        frame = next(iter(source))
        assert source.info.size_wh == (320, 128)
    assert number_of(frame.image) == 0x1234
    with VideoFile(copy(clip, tmp_path / "out.mp4")) as upright:
        assert upright.info.rotation == 0
        assert number_of(next(iter(upright)).image) == 0x1234


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("known", [0, 90])
def test_what_a_camera_on_its_side_took_is_turned(tmp_path, degrees, known):
    image = numbered(0x1234, 320, 128)
    hung = np.rot90(image, degrees // 90)  # its owner says how far to turn it clockwise
    clip = make_clip(tmp_path / "in.mp4", [np.rot90(hung, known // 90)] * 5)
    turn(clip, known)
    with VideoFile(clip, rotate=degrees) as source:
        assert source.info.size_wh == (320, 128)
        assert number_of(next(iter(source)).image) == 0x1234
    shot = next(one for one in Camera(str(clip), CameraOptions(rotate=degrees)) if isinstance(one, Shot))
    assert number_of(shot.to_frame().image) == 0x1234
    with pytest.raises(OptionError, match="rotate must be 0, 90, 180 or 270 degrees"):
        VideoFile(clip, rotate=45)


@pytest.mark.parametrize(("suffix", "sound"), [(".mp4", "aac"), (".mkv", "libopus"), (".avi", "pcm_s16le")])
def test_sound_is_copied_in_sync(tmp_path, suffix, sound):
    codec = "mpeg4" if suffix == ".avi" else "libx264"
    frames = [numbered(index) for index in range(90)]
    clip = make_clip(tmp_path / f"in{suffix}", frames, rate=Fraction(25), sound=sound, codec=codec)
    target = copy(clip, tmp_path / "out.mp4")
    loud = [at for at, level in loudness(target).items() if level > 0.3]
    assert min(loud) == pytest.approx(1.0, abs=0.08)
    assert max(loud) == pytest.approx(1.95, abs=0.08)
    with av.open(str(target)) as container:
        kept = container.streams.audio[0].codec_context.name
    assert kept == ("aac" if sound != "libopus" else "opus")


def test_a_part_starts_at_zero_with_its_own_sound(tmp_path):
    frames = [numbered(index) for index in range(100)]
    clip = make_clip(tmp_path / "in.mp4", frames, rate=Fraction(25), sound="aac")
    target = copy(clip, tmp_path / "out.mp4", start_s=0.8, end_s=2.4)
    back = read(target)
    assert [number for number, _ in back] == list(range(20, 60))
    assert back[0][1] == pytest.approx(0, abs=0.01)
    loud = [at for at, level in loudness(target).items() if level > 0.3]
    assert min(loud) == pytest.approx(0.2, abs=0.08)
    with av.open(str(target)) as container:
        assert container.duration / av.time_base == pytest.approx(1.6, abs=0.1)


def test_odd_sides_are_padded_and_sound_may_be_missing(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", rate=Fraction(10), time_base=Fraction(1, 1000)) as writer:
        for index in range(10):
            writer.write(numbered(index, 161, 91), index / 10)
    with VideoFile(tmp_path / "out.mp4") as source:
        assert source.info.size_wh == (162, 92)
        assert len(list(source)) == 10


def test_gif_in_and_out(tmp_path):
    frames = [numbered(index, 128, 64) for index in range(12)]
    clip = make_clip(tmp_path / "in.mp4", frames, rate=Fraction(10))
    gif = copy(clip, tmp_path / "out.gif")
    assert gif.read_bytes()[:6] == b"GIF89a"
    assert [number for number, _ in read(gif)] == list(range(12))
    again = read(copy(gif, tmp_path / "again.mp4"))
    assert [number for number, _ in again] == list(range(12))
    np.testing.assert_allclose([pts for _, pts in again], np.arange(12) / 10, atol=0.011)


def test_browsers_can_play_it_at_once(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", [numbered(index) for index in range(30)])
    data = copy(clip, tmp_path / "out.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    assert [path.name for path in tmp_path.glob("out*")] == ["out.mp4"]


def test_an_error_in_the_middle_leaves_a_whole_file(tmp_path):
    with (
        pytest.raises(RuntimeError),
        VideoWriter(tmp_path / "out.mp4", rate=Fraction(10), time_base=Fraction(1, 1000)) as writer,
    ):
        for index in range(25):
            writer.write(numbered(index), index / 10)
        raise RuntimeError
    assert [number for number, _ in read(tmp_path / "out.mp4")] == list(range(25))


def test_a_killed_process_leaves_a_playable_part(tmp_path):
    code = (
        "import sys, time; from fractions import Fraction; from pathlib import Path;"
        "from maskwatch.sinks.video_file import VideoWriter; from tests.clips import numbered\n"
        "writer = VideoWriter(Path(sys.argv[1]), rate=Fraction(25), time_base=Fraction(1, 25))\n"
        "for index in range(100000):\n"
        "    writer.write(numbered(index), index / 25)\n"
        "    if index == 300: print('ready', flush=True)\n"
        "    if index > 300: time.sleep(0.02)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out.mp4")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    numbers = [number for number, _ in read(tmp_path / "out.part.mp4")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 150  # all but the fragments still in the encoder
    assert not (tmp_path / "out.mp4").exists()


def test_damaged_stretches_are_passed_over_and_counted(tmp_path):
    clip = make_clip(tmp_path / "in.mkv", [numbered(index) for index in range(200)], rate=Fraction(25))
    data = bytearray(clip.read_bytes())
    rng = np.random.default_rng(1)
    for at in rng.integers(len(data) // 3, 2 * len(data) // 3, 60):
        data[at] ^= 0xFF
    clip.write_bytes(bytes(data))
    back = read(clip)
    assert len(back) >= 60
    times = [pts for _, pts in back]
    assert times == sorted(times)


def test_a_cut_off_file_gives_what_it_holds(tmp_path):
    clip = make_clip(tmp_path / "in.mkv", [numbered(index) for index in range(100)], rate=Fraction(25))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    numbers = [number for number, _ in read(clip)]
    assert numbers == sorted(numbers)
    assert 30 <= len(numbers) < 100


def test_reading_twice_gives_the_same(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", [numbered(index) for index in range(20)])
    with VideoFile(clip) as source:
        first = [frame.pts_s for frame in source]
        assert [frame.pts_s for frame in source] == first


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(SourceError, match=r"a\.mp4: cannot be opened as a video"):
        VideoFile(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match="No such file"):
        VideoFile(tmp_path / "gone.mp4")
    with pytest.raises(SourceError, match="cannot be opened"):
        VideoFile(tmp_path)
    for part in ({"start_s": -1.0}, {"start_s": 5.0, "end_s": 4.0}, {"end_s": float("nan")}):
        with pytest.raises(OptionError, match="--"):
            VideoFile(tmp_path / "a.mp4", **part)
    with pytest.raises(OptionError, match=r"\.avi"):
        VideoWriter(tmp_path / "out.avi", rate=Fraction(1), time_base=Fraction(1))
    (tmp_path / "file").touch()
    writer = VideoWriter(tmp_path / "file" / "out.mp4", rate=Fraction(1), time_base=Fraction(1))
    with pytest.raises(SourceError, match="cannot be written"):
        writer.write(numbered(1), 0)


def test_words_in_a_file_may_be_no_utf8(tmp_path):
    with av.open(str(tmp_path / "b.mkv"), "w") as out:
        out.metadata["title"] = "A TITLE"
        stream = out.add_stream("libx264", rate=10, options={"tune": "zerolatency"})
        stream.height, stream.width = numbered(0).shape[:2]
        pictures = [av.VideoFrame.from_ndarray(numbered(n), format="rgb24") for n in range(3)]
        out.mux([packet for picture in (*pictures, None) for packet in stream.encode(picture)])
    written = (tmp_path / "b.mkv").read_bytes()
    assert b"A TITLE" in written
    (tmp_path / "c.mkv").write_bytes(written.replace(b"A TITLE", b"A \xff\xfe\x80LE"))
    with VideoFile(tmp_path / "c.mkv") as source:
        assert [number_of(frame.image) for frame in source] == [0, 1, 2]


def test_sound_without_pictures_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(SourceError, match="holds no video stream"):
        VideoFile(tmp_path / "a.wav")


def test_closing_without_a_frame_leaves_nothing(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", rate=Fraction(10), time_base=Fraction(1, 1000)):
        time.sleep(0)
    assert list(tmp_path.iterdir()) == []

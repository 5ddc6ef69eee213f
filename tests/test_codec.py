import io

import numpy as np
import PIL.Image
import pytest

from maskwatch import Frame, ImageError, OptionError
from maskwatch.codec import detections_of, encode_image, letterbox, read_picture
from tests.conftest import jpeg


def gradient(width: int, height: int) -> np.ndarray:
    x = np.linspace(0, 255, width)[None, :, None]
    y = np.linspace(0, 255, height)[:, None, None]
    return np.broadcast_to(
        np.concatenate([x + 0 * y, y + 0 * x, 0 * x * y + 60], axis=2), (height, width, 3)
    ).astype(np.uint8)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats_are_read_as_rgb(kind):
    image = gradient(64, 48)
    picture = read_picture(encoded(image, kind))
    assert picture.size_wh == (64, 48)
    assert np.abs(picture.image.astype(int) - image).mean() < 12


def test_all_kinds_of_source_agree(tmp_path):
    image = gradient(40, 30)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(image).save(path)
    sources = [path, str(path), path.read_bytes(), PIL.Image.open(path), image, Frame(image)]
    for source in sources:
        np.testing.assert_array_equal(read_picture(source).image, image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(gradient(80, 40), exif=exif)
    ours = read_picture(data)
    theirs = read_picture(PIL.Image.open(io.BytesIO(data)))
    assert ours.size_wh == theirs.size_wh == ((40, 80) if orientation > 4 else (80, 40))
    assert np.abs(ours.image.astype(int) - theirs.image).mean() < 2


@pytest.mark.parametrize(("orientation", "size_wh"), [(1, (4001, 3001)), (6, (3001, 4001))])
def test_large_jpegs_are_decoded_at_reduced_scale(orientation, size_wh):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(jpeg(gradient(4001, 3001), exif=exif), needed_side=1000)
    assert picture.size_wh == size_wh
    assert max(picture.image.shape) == 1001
    assert max(read_picture(jpeg(gradient(400, 300)), needed_side=1000).image.shape) == 400


@pytest.mark.parametrize(
    "image",
    [
        gradient(9, 7)[..., 0],
        gradient(9, 7)[..., :1],
        np.dstack([gradient(9, 7), np.zeros((7, 9), np.uint8)]),
    ],
)
def test_grey_and_rgba_arrays_are_accepted(image):
    assert read_picture(image).image.shape == (7, 9, 3)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "no picture that can be decoded"),
        (jpeg(gradient(64, 64))[:300], "no picture that can be decoded"),
        ("no/such/file.jpg", r"no/such/file\.jpg: cannot be read \(No such file"),
        ("\0", "no path"),
        (np.zeros((4, 4, 3), np.float32), "float32 is no picture"),
        (np.zeros((0, 4, 3), np.uint8), "is no picture"),
        (np.zeros((4, 4, 5), np.uint8), "is no picture"),
        (17, "int is no picture"),
    ],
)
def test_what_is_no_picture_is_named(source, words):
    with pytest.raises(ImageError, match=words):
        read_picture(source)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "JPEG"])
def test_header_sizes_are_right(kind):
    from maskwatch.codec import picture_header

    assert picture_header(encoded(gradient(123, 45), kind)) == (kind.lower(), (123, 45))
    if kind == "WEBP":
        assert picture_header(encoded(gradient(123, 45), kind, lossless=True)) == ("webp", (123, 45))


def test_a_picture_with_too_many_pixels_is_refused_before_decoding():
    data = bytearray(encoded(gradient(8, 8), "PNG"))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    with pytest.raises(ImageError, match="more than the limit"):
        read_picture(bytes(data))


def test_letterbox_scales_down_and_pads():
    boxed = letterbox(read_picture(gradient(1000, 500)), max_side=320, size_multiple=64)
    assert boxed.pixels.shape == (192, 320, 3)
    assert boxed.content_wh == (320, 160)
    assert boxed.pixels[160:].max() == 0


def test_letterbox_never_blows_up():
    boxed = letterbox(read_picture(gradient(50, 20)), max_side=1024, size_multiple=32)
    assert boxed.content_wh == (50, 20)
    assert boxed.pixels.shape == (32, 64, 3)
    np.testing.assert_array_equal(boxed.pixels[:20, :50], gradient(50, 20))


def test_boxes_come_back_in_the_originals_pixels_and_in_order():
    boxed = [
        letterbox(read_picture(gradient(1000, 500)), max_side=500, size_multiple=32),
        letterbox(read_picture(gradient(100, 100)), max_side=500, size_multiple=32),
    ]
    outputs = (
        np.array([0, 0, 1]),
        np.array([[0, 0, 10, 10], [100, 50, 600, 150], [1, 2, 3, 4]], np.float32),
        np.array([[0.5, 0.1, 0.1], [0.1, 0.9, 0.2], [0.5, 0.5, 0.1]], np.float32),
    )
    first, second = detections_of(boxed, outputs, certainty_threshold=0.6)
    np.testing.assert_allclose(first.xyxy, [[200, 100, 1000, 300], [0, 0, 20, 20]])
    assert first.label_names == ["without_mask", "with_mask"]
    assert first.verdict_names == ["without_mask", "with_mask"]
    assert second.verdict_names == ["uncertain"]


def test_encode_image_names_what_it_cannot_write():
    image = gradient(8, 8)
    np.testing.assert_array_equal(read_picture(encode_image(image, ".png")).image, image)
    with pytest.raises(OptionError, match="no picture format"):
        encode_image(image, ".xyz")

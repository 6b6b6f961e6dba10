"""Views of a video: always the same for the same name, picture and frame."""

import numpy as np
import pytest
from conftest import picture
from scipy.ndimage import gaussian_filter

from liquidvision.data.views import make_view, parse_views
from liquidvision.errors import UsageError

NAMES = ("plain", "mirror", "crop:3", "light:3", "noise:0.1", "blur:1", "blur:4", "dark:0.25")


def grey(level: int, height: int = 240, width: int = 320) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 48), (1, 1), (3, 700)])
def test_a_view_depends_on_name_picture_and_frame_only(name, size):
    """Every view gives uint8 RGB for any size, repeats itself, and does not change the given picture."""
    image = picture(1, *size)
    before = image.copy()
    out = make_view(name)(image, 7)
    assert out.dtype == np.uint8 and out.ndim == 3 and out.shape[2] == 3 and out.size
    np.testing.assert_array_equal(out, make_view(name)(image, 7))
    np.testing.assert_array_equal(image, before)


def test_plain_and_mirror():
    """The plain view changes nothing; the mirror swaps left and right, and is its own inverse."""
    image, mirror = picture(2), make_view("mirror")
    np.testing.assert_array_equal(make_view("plain")(image, 0), image)
    np.testing.assert_array_equal(mirror(image, 0)[:, 0], image[:, -1])
    np.testing.assert_array_equal(mirror(mirror(image, 0), 1), image)


@pytest.mark.parametrize("kind", ["crop", "light"])
def test_crop_and_light_are_constant_over_a_clip(kind):
    """A crop or a light is the same for all frames of a clip; seeds give different ones."""
    image = picture(3)
    first = make_view(f"{kind}:1")
    np.testing.assert_array_equal(first(image, 0), first(image, 99))
    assert len({make_view(f"{kind}:{seed}")(image, 0).tobytes() for seed in range(8)}) == 8


def test_a_crop_is_a_large_part_of_the_picture():
    """A crop keeps the aspect ratio and 70 to 100 % of the sides, at varying positions."""
    rows, columns = np.mgrid[:200, :250].astype(np.uint8)
    image = np.stack([rows, columns, rows], -1)
    corners = set()
    for seed in range(30):
        out = make_view(f"crop:{seed}")(image, 0)
        height, width, _ = out.shape
        assert 0.7 * 200 - 1 <= height <= 200 and abs(height / 200 - width / 250) < 0.01
        top, left = out[0, 0, 0], out[0, 0, 1]
        np.testing.assert_array_equal(out, image[top : top + height, left : left + width])
        corners.add((top, left))
    assert len(corners) > 20


def test_a_light_keeps_order_and_stays_moderate():
    """A light keeps the order of values, and keeps middle grey between one and seven eighths."""
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    for seed in range(30):
        out = make_view(f"light:{seed}")(ramp, 0).astype(int)
        assert (np.diff(out, axis=1) >= 0).all()
        assert (out[0, 128] > 32).all() and (out[0, 128] < 224).all()


@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_noise_has_its_deviation_and_is_new_in_each_frame(sigma):
    """Noise has the requested standard deviation and no bias, and differs from frame to frame."""
    noisy = make_view(f"noise:{sigma}")
    a, b = (noisy(grey(128), index).astype(float) - 128 for index in (0, 1))
    assert a.std() == pytest.approx(255 * sigma, rel=0.05) and abs(a.mean()) < 1
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02


def test_noise_is_as_strong_at_any_resolution():
    """At the size of a network's input, noise on a large picture is as strong as on a small one."""
    noisy = make_view("noise:0.1")
    small = noisy(grey(128), 0).astype(float)
    large = noisy(grey(128, 960, 1280), 0).astype(float).reshape(240, 4, 320, 4, 3).mean((1, 3))
    assert large.std() == pytest.approx(small.std(), rel=0.05)


@pytest.mark.parametrize(("percent", "height", "width"), [(1.0, 100, 160), (1.0, 240, 320), (4.0, 240, 360)])
def test_blur_is_gaussian(percent, height, width):
    """Blur is Gaussian with a percentage of the shorter side as its deviation, also if the result is smaller."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 10, width // 10, 3)).astype(np.uint8)
    image = coarse.repeat(10, 0).repeat(10, 1)
    out = make_view(f"blur:{percent}")(image, 0).astype(float)
    sigma = percent / 100 * min(height, width)
    expected = gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest", truncate=3.0)
    step = height // out.shape[0]
    assert out.shape[:2] == (height // step, width // step)
    middle = slice((step - 1) // 2, step // 2 + 1)  # of the square that a smaller picture's pixel stands for
    expected = expected.reshape(out.shape[0], step, out.shape[1], step, 3)[:, middle, :, middle].mean((1, 3))
    assert np.abs(out - expected).max() < 5 and np.abs(out - expected).mean() < 0.8


def test_dark_takes_light_and_shows_the_sensor():
    """A tenth of the light is stored as a tenth to the power of 1/2.2; the darker, the stronger the noise."""
    out = {gain: make_view(f"dark:{gain}")(grey(200), 0).astype(float) for gain in (1.0, 0.5, 0.1)}
    for gain, values in out.items():
        assert values.mean() == pytest.approx(200 * gain ** (1 / 2.2), abs=1)
    relative = [values.std() / values.mean() for values in out.values()]
    assert relative[0] < relative[1] < relative[2] < 0.1
    again = make_view("dark:0.1")(grey(200), 1)
    assert (again != out[0.1]).mean() > 0.5


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sepia",
        "Plain",
        "plain:1",
        "mirror:1",
        "crop",
        "crop:-1",
        "crop:1.5",
        "light:x",
        "noise",
        "noise:",
        "noise:0",
    ]
    + ["noise:1.01", "noise:nan", "noise:x", "blur:-1", "blur:21", "dark:0", "dark:1.5", "dark:inf"],
)
def test_unknown_views_are_refused(name):
    """An unknown name, or a missing or wrong number, is refused in one line that says what is expected."""
    with pytest.raises(UsageError, match="expected") as caught:
        make_view(name)
    assert repr(name) in str(caught.value) and "\n" not in str(caught.value)


def test_views_are_named_between_commas():
    """Each view of a list is taken once, in order; an unknown one is refused by its name."""
    assert parse_views("plain, mirror,crop:1,mirror") == ("plain", "mirror", "crop:1")
    with pytest.raises(UsageError, match="upside-down"):
        parse_views("plain,upside-down")

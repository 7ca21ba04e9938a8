"""Draw one frame of a turning fruit as a JPEG like those of Fruits-360, with numpy and OpenCV.

Each category is modelled once at twice the size: an outline as a distance `rho` (0 at the core, 1 at the rim), a height
map for the light, a skin texture, and stem or leaves. A frame rotates the model, rolls the skin, applies light and
composes the result on white. The bytes depend on seed, category and frame only.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from include.dev.sample_images.appearance import appearance_of
from include.dev.sample_images.plan import FRAMES_PER_FILM

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from include.dev.sample_images.appearance import Appearance, Rgb, Shape, Skin, Top

    Floats = npt.NDArray[np.float32]
    Points = npt.NDArray[np.float64]
    Bytes = npt.NDArray[np.uint8]

SIDE: Final = 100
"""Width and height of an image, in pixels."""
_MODEL: Final = 200
_UNIT: Final = 66.0
"""Model pixels from the core to the farther rim. The margin is for stem and crown."""
_SKIN_SHAPE: Final = (192, 384)
_FILL: Final = 98.0
"""Size of the fruit in pixels, since Fruits-360 crops fruits to the frame."""
_QUALITY: Final = 95
_LIGHT: Final = np.array([-0.45, -0.55, 0.70], np.float32) / np.float32(np.linalg.norm([0.45, 0.55, 0.70]))
_ARC: Final = (1.05, 1.08)
"""Radius of the banana's arc, and half of its angle in radians."""
_ARC_END: Final = (_ARC[0] * np.sin(_ARC[1]), _ARC[0] * np.cos(_ARC[1]) - 0.62)
_HALFWAY: Final = (_LIGHT + np.array([0, 0, 1], np.float32)) / np.linalg.norm(_LIGHT + np.array([0, 0, 1]))


@dataclass(frozen=True)
class Model:
    """Model of a category.

    Attributes:
        surface: Normal x, y, z and coverage from 0 to 1, shape (200, 200, 4).
        wrap: Position of each pixel on the skin, x and y in skin pixels, shape (200, 200, 2).
        skin: Colours, BGR from 0 to 255, repeated twice horizontally so that indices need no wrap, shape (192, 768, 3).
        top: Stem or leaves, BGR and coverage from 0 to 255, shape (200, 200, 4).
        outline: Points of the silhouette relative to the core, shape (n, 2).
        gloss: Strength of the highlight, 0 to 1.
        flatness: Height of the fruit seen from its end divided by its height seen from the side, 0 to 1.
    """

    surface: Floats
    wrap: Floats
    skin: Bytes
    top: Bytes
    outline: Points
    gloss: float
    flatness: float


def draw(category: str, frame: int, seed: int) -> bytes:
    """Draw one image and return its JPEG bytes.

    Raises:
        KeyError: The category has no appearance.
    """
    model = _model(category, seed)
    rng = np.random.default_rng([seed, zlib.crc32(category.encode()), frame])
    film, number = divmod(frame, FRAMES_PER_FILM)
    turn = 2 * np.pi * number / FRAMES_PER_FILM
    if film == 0:  # rotates in the picture's plane
        angle, roll, squeeze = turn, 0.15 * np.sin(turn), 1.0
    else:  # tilts towards the viewer and rolls
        angle = 0.9 * film + 0.3 * np.sin(turn)
        roll, squeeze = turn, float(np.hypot(np.cos(turn), model.flatness * np.sin(turn)))
    pixels = _render(model, float(angle), float(roll), squeeze, rng)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _render(model: Model, angle: float, roll: float, squeeze: float, rng: np.random.Generator) -> Bytes:
    matrix = _placement(model.outline, angle, squeeze)
    surface: Floats = np.asarray(cv2.warpAffine(model.surface, matrix, (SIDE, SIDE)), np.float32)
    wrap = cv2.warpAffine(model.wrap, matrix, (SIDE, SIDE))
    top = cv2.warpAffine(model.top, matrix, (SIDE, SIDE)).astype(np.float32)
    across = wrap[..., 0] + np.float32((roll / (2 * np.pi) % 1 + 0.25) * _SKIN_SHAPE[1])
    skin = cv2.remap(model.skin, across, wrap[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    skin = cv2.GaussianBlur(skin, (0, 0), 0.2 + rng.gamma(1.2, 0.3))  # some frames of a film are blurred

    light, shine = _lighting(surface, angle, model.gloss)
    lit = skin.astype(np.float32) * _bgr(light * np.float32(rng.uniform(0.92, 1.08)))
    lit += _bgr(shine + _grain()[_window(rng)])
    picture = 255 + (lit - 255) * _bgr(surface[..., 3])
    picture += (top[..., :3] - picture) * _bgr(top[..., 3] / np.float32(255))
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _bgr(gray: Floats) -> Floats:
    """Repeat a plane for three channels. numpy multiplies equal shapes several times faster than it broadcasts."""
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.float32)


def _lighting(surface: Floats, angle: float, gloss: float) -> tuple[Floats, Floats]:
    """Return the light on the rotated surface (about 0.4 to 1.2) and its highlight (0 to 255). The light is fixed."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = surface[..., 0] * cos - surface[..., 1] * sin
    y = surface[..., 0] * sin + surface[..., 1] * cos
    z = surface[..., 2]
    facing = np.maximum(x * _LIGHT[0] + y * _LIGHT[1] + z * _LIGHT[2], 0)
    mirror = np.maximum(x * _HALFWAY[0] + y * _HALFWAY[1] + z * _HALFWAY[2], 0)
    light = (0.42 + 0.68 * facing) * (0.74 + 0.30 * z)
    shine = 190 * gloss * cv2.pow(mirror, 8 + 40 * gloss)
    return light.astype(np.float32), np.asarray(shine, np.float32)


def _placement(outline: Points, angle: float, squeeze: float) -> Points:
    """Return the 2 x 3 affine matrix that rotates, squeezes and fits the silhouette into the picture."""
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([1.0, squeeze])
    turned = outline @ linear.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    scale = _FILL / (high - low).max()
    linear *= scale
    core = np.full(2, (SIDE - 1) / 2) - scale * (low + high) / 2
    return np.column_stack([linear, core - linear @ np.full(2, _MODEL / 2)])


def _window(rng: np.random.Generator) -> tuple[slice, slice]:
    x, y = (int(i) for i in rng.integers(0, 512 - SIDE, 2))
    return slice(y, y + SIDE), slice(x, x + SIDE)


@lru_cache(maxsize=1)
def _grain() -> Floats:
    """Return camera noise, of which each frame shows another part."""
    return np.random.default_rng(360).normal(0, 2.2, (512, 512)).astype(np.float32)


@lru_cache(maxsize=4)
def _model(category: str, seed: int) -> Model:
    appearance = appearance_of(category)
    rng = np.random.default_rng([seed, zlib.crc32(category.encode())])
    axis = (np.arange(_MODEL, dtype=np.float64) - _MODEL / 2) / _UNIT
    x, y = np.meshgrid(axis, axis)
    half = np.array([min(1.0, 1 / appearance.aspect), min(1.0, appearance.aspect)])
    rho, across, along = (
        _arc(x, y) if appearance.shape == "arc" else _body(appearance.shape, x / half[0], y / half[1], rng)
    )
    dome = np.sqrt(np.maximum(1 - rho**2, 0))
    thickness = 0.34 if appearance.shape == "arc" else half.min()
    surface = _surface(rho, dome * thickness)
    wrap = np.dstack(
        [(np.arctan2(across, dome + 0.05) / (2 * np.pi)) * _SKIN_SHAPE[1], (along + 1) / 2 * (_SKIN_SHAPE[0] - 1)]
    )
    end = int(np.argmax(rho[:, _MODEL // 2] <= 1))
    top = _top(appearance.top, end, rng)
    covered = np.argwhere((surface[..., 3] > 0.5) | (top[..., 3] > 0))[:, ::-1]  # noqa: PLR2004 -- half covered
    outline = cv2.convexHull(covered.astype(np.float32))[:, 0, :].astype(np.float64) - _MODEL / 2
    skin = np.tile(_skin(appearance, rng), (1, 2, 1))
    return Model(surface, wrap.astype(np.float32), skin, top, outline, appearance.gloss, float(half.min() / half.max()))


def _surface(rho: Points, height: Points) -> Floats:
    """Return the normals of a height map (in units of the core) and the fruit's share of each pixel."""
    down, right = np.gradient(cv2.GaussianBlur(height, (0, 0), 1.5) * _UNIT)
    normals = np.dstack([-right, -down, np.ones_like(height)])
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    coverage = np.clip((1 - rho) * _UNIT / 2 + 0.5, 0, 1)
    return np.dstack([normals, coverage]).astype(np.float32)


def _body(shape: Shape, x: Points, y: Points, rng: np.random.Generator) -> tuple[Points, Points, Points]:
    """Return the distance from the core relative to the rim, and the positions across and along from -1 to 1."""
    angle = np.arctan2(x, -y)  # 0 at the top
    rim = np.ones_like(x)
    power = 2.0
    if shape == "heart":
        rim = 1 - 0.16 * np.exp(-((angle / 0.35) ** 2)) + 0.05 * np.cos(angle)
    elif shape == "pear":
        x = x / (0.62 + 0.38 / (1 + np.exp(-7 * (y + 0.15))))
    elif shape == "rod":
        power = 2.5
    elif shape == "lobed":
        rim = 0.95 + 0.045 * np.cos(5 * angle + rng.uniform(0, 6)) - 0.08 * np.exp(-((angle / 0.3) ** 2))
    elif shape == "star":
        rim = 0.88 + 0.12 * np.cos(5 * angle)
    elif shape == "lump":
        waves = [rng.normal(0, 0.09 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in (2, 3, 4)]
        rim = 0.88 + np.sum(waves, axis=0)
    rho = (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power) / rim
    return rho, x / rim, np.clip(y / rim, -1, 1)


def _arc(x: Points, y: Points) -> tuple[Points, Points, Points]:
    """Return the same as `_body` for a banana, which is an arc that becomes thinner towards its ends."""
    radius, reach = _ARC
    y = y + 0.62
    turn = np.arctan2(x, y) / reach  # -1 and 1 at the ends
    width = 0.07 + 0.29 * np.sqrt(np.maximum(1 - np.abs(turn) ** 3, 0))
    off = (np.hypot(x, y) - radius) / width
    beyond = np.maximum(np.abs(turn) - 1, 0) * reach * radius / 0.08
    return np.hypot(off, beyond), off, np.clip(turn, -1, 1)


@dataclass(frozen=True)
class _Fan:
    """Leaves spread over +-`spread` degrees. Lengths are in model pixels."""

    count: int
    length: int
    width: int
    spread: float
    color: Rgb


_FANS: Final[dict[Top, _Fan]] = {
    "calyx": _Fan(6, 17, 3, 100, (78, 104, 52)),
    "crown": _Fan(11, 34, 3, 60, (76, 124, 60)),
    "husk": _Fan(7, 26, 6, 100, (122, 158, 96)),
}


def _top(kind: Top, end: int, rng: np.random.Generator) -> Bytes:
    """Draw stem, calyx, crown or husk at the upper end of the fruit (row `end`), or the two brown tips of a banana."""
    layer = np.zeros((_MODEL, _MODEL, 4), np.uint8)
    x, y = _MODEL // 2, end
    if kind == "stem":
        lean = int(rng.integers(-5, 6))
        cv2.ellipse(layer, (x, y + 6), (8, 4), 0, 0, 360, (38, 56, 70, 120), -1, cv2.LINE_AA)
        cv2.line(layer, (x, y + 6), (x + lean, y - 12), (34, 58, 84, 255), 4, cv2.LINE_AA)
    elif kind == "tips":
        for side in (-1, 1):
            tip = (round(x + side * _ARC_END[0] * _UNIT), round(_MODEL / 2 + _ARC_END[1] * _UNIT))
            cv2.line(layer, tip, (tip[0] + side * 3, tip[1] - 7), (40, 70, 84, 255), 6, cv2.LINE_AA)
    elif kind in _FANS:
        _draw_leaves(layer, (x, y + 8), _FANS[kind], rng)
    return layer


def _draw_leaves(layer: Bytes, foot: tuple[int, int], fan: _Fan, rng: np.random.Generator) -> None:
    for slant in np.linspace(-fan.spread, fan.spread, fan.count):
        turn = np.radians(slant + rng.uniform(-8, 8))
        reach = fan.length * rng.uniform(0.8, 1.1)
        middle = (round(foot[0] + np.sin(turn) * reach / 2), round(foot[1] - np.cos(turn) * reach / 2))
        shade = rng.uniform(0.75, 1.2)
        color = (*(min(255.0, channel * shade) for channel in fan.color[::-1]), 255.0)
        size = (fan.width, round(reach / 2))
        cv2.ellipse(layer, middle, size, float(np.degrees(turn)), 0, 360, color, -1, cv2.LINE_AA)


def _skin(appearance: Appearance, rng: np.random.Generator) -> Bytes:
    """Return the colours of the skin, with a blush, a pattern and some noise."""
    tall, wide = _SKIN_SHAPE
    along = np.linspace(-1, 1, tall)[:, None]
    side = np.cos(np.linspace(0, 2 * np.pi, wide, endpoint=False) + rng.uniform(0, 6))[None, :]
    share = np.clip(0.30 + 0.30 * side - 0.18 * along + 0.22 * _noise(rng, 28, 28), 0, 1)[..., None]
    color, blush = (np.array(rgb[::-1], np.float64) for rgb in (appearance.color, appearance.blush))
    pattern = (
        appearance.contrast * _PATTERNS[appearance.skin](rng) + 0.04 * _noise(rng, 9, 9) + 0.03 * _noise(rng, 1.5, 1.5)
    )
    colors = (color * (1 - share) + blush * share) * (1 + pattern)[..., None]
    colors += 70 * _dots(rng, int(rng.integers(0, 160)), 2)[..., None]  # dust and bruises
    return np.clip(colors, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, wide: float, tall: float) -> Points:
    """Return periodic smooth noise of unit variance, with blobs of about `wide` x `tall` pixels."""
    rows, columns = _SKIN_SHAPE
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    keep = np.exp(-2 * np.pi**2 * ((fx * wide / 2) ** 2 + (fy * tall / 2) ** 2))
    smooth = np.fft.irfft2(np.fft.rfft2(rng.normal(size=_SKIN_SHAPE)) * keep, s=_SKIN_SHAPE)
    return np.asarray((smooth - smooth.mean()) / smooth.std(), np.float64)


def _dots(rng: np.random.Generator, count: int, radius: int) -> Points:
    """Return dark and light dots from -0.9 to 0.5, with radii of one to `radius` pixels."""
    dots = np.zeros(_SKIN_SHAPE, np.float32)
    for _ in range(count):
        x, y = int(rng.integers(_SKIN_SHAPE[1])), int(rng.integers(_SKIN_SHAPE[0]))
        size, tone = int(rng.integers(1, radius + 1)), float(rng.choice([-0.9, -0.5, 0.5]))
        cv2.circle(dots, (x, y), size, tone, -1, cv2.LINE_AA)
    return dots.astype(np.float64)


def _freckles(rng: np.random.Generator) -> Points:
    return _dots(rng, 260, 3)


def _pores(rng: np.random.Generator) -> Points:
    return np.asarray(0.30 * np.clip(_noise(rng, 4, 4) - _noise(rng, 8, 8) * 0.5, -2, 1.5), np.float64)


def _patches(rng: np.random.Generator) -> Points:
    return 0.5 * np.tanh(2 * _noise(rng, 20, 20)) + 0.1 * _noise(rng, 5, 5)


def _stripes(rng: np.random.Generator) -> Points:
    turn = np.linspace(0, 2 * np.pi, _SKIN_SHAPE[1], endpoint=False)[None, :]
    wave = np.cos(int(rng.integers(12, 19)) * turn + 1.1 * _noise(rng, 12, 30))
    skin: Points = 0.45 * np.tanh(2 * wave) + 0.08 * _noise(rng, 3, 14)
    return skin


def _net(rng: np.random.Generator) -> Points:
    return 0.9 * np.exp(-((_noise(rng, 9, 9) / 0.22) ** 2)) - 0.25 + 0.1 * _noise(rng, 5, 5)


def _beads(rng: np.random.Generator) -> Points:
    """Return rows of round bumps, with every other row shifted, for drupelets, kernels and scales."""
    pitch = 16
    y, x = np.mgrid[: _SKIN_SHAPE[0], : _SKIN_SHAPE[1]].astype(np.float64)
    x += 1.2 * _noise(rng, 16, 16)
    y += 1.2 * _noise(rng, 16, 16)
    x += (y // pitch % 2) * pitch / 2
    off = np.hypot(x % pitch - pitch / 2, y % pitch - pitch / 2) / (pitch / 2)
    skin: Points = 0.45 - 0.95 * np.clip(off, 0, 1.2) ** 2
    return skin


def _fibres(rng: np.random.Generator) -> Points:
    return np.asarray(0.26 * np.clip(_noise(rng, 3, 22), -2, 2) + 0.12 * _noise(rng, 7, 40), np.float64)


def _smooth(rng: np.random.Generator) -> Points:
    return 0.12 * _noise(rng, 24, 24)


_PATTERNS: Final[dict[Skin, Callable[[np.random.Generator], Points]]] = {
    "smooth": _smooth,
    "freckles": _freckles,
    "pores": _pores,
    "patches": _patches,
    "stripes": _stripes,
    "net": _net,
    "beads": _beads,
    "fibres": _fibres,
}

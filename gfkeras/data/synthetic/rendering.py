"""Images of synthetic people, from the drawing to the camera."""

import numbers

import cv2
import numpy as np

from gfkeras.data.synthetic import accessories, features, head
from gfkeras.data.synthetic.canvas import MARGIN, MIDLINE, Canvas
from gfkeras.data.synthetic.geometry import picture_to_face
from gfkeras.data.synthetic.identity import Identity, Variation, draw_identity, draw_variation
from gfkeras.data.synthetic.shading import light_face

SIZE = 112
# The canvas has twice the resolution of the image. Averaging it down smooths the edges.
_OVERSAMPLING = 2


def check_count(name: str, value: object, least: int) -> None:
    """Raises ValueError unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"`{name}` must be an integer >= {least}. Received: {name}={value!r}")


def check_strength(strength: object) -> None:
    """Raises ValueError unless `strength` is a number within [0, 1]."""
    number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
    if not number or not 0 <= strength <= 1:  # type: ignore[operator]
        raise ValueError(f"`strength` must be a number within [0, 1]. Received: {strength=}")


def render_face(
    identity: int, variation: int, seed: int = 0, size: int = SIZE, strength: float = 1.0
) -> np.ndarray:
    """Draws image `variation` of person `identity`, aligned as by a face pipeline.

    The five points (eyes, nose tip, mouth corners) are at the positions of ArcFace's 112x112
    template, except for a simulated detector error and the remaining effect of a turned head. The
    arguments determine all random numbers. Every machine draws the same image, up to rounding
    inside OpenCV.

    Args:
        identity: number of the person, at least 0.
        variation: number of the image of that person, at least 0.
        seed: number of the population. Another seed gives other people.
        size: side of the image in pixels, at least 16.
        strength: how much images of a person differ, from 0 (expression and background only) to 1.

    Returns:
        uint8 array (size, size, 3), RGB.

    Raises:
        ValueError: if an argument is not an integer or is too small, or `strength` is out of range.

    Example:
        >>> from gfkeras.data.synthetic import render_face
        >>> render_face(identity=7, variation=0).shape
        (112, 112, 3)
    """
    for name, value in {"identity": identity, "variation": variation, "seed": seed}.items():
        check_count(name, value, 0)
    check_count("size", size, 16)
    check_strength(strength)
    person = draw_identity(int(identity), int(seed))
    return render_picture(person, int(identity), int(variation), int(seed), int(size), strength)


def render_picture(
    person: Identity, identity: int, variation: int, seed: int, size: int, strength: float
) -> np.ndarray:
    """Does the work of `render_face` for a drawn person, without checking the arguments."""
    # SeedSequence pads with zeros, so [seed, identity, 0] would repeat the person's own numbers.
    rng = np.random.default_rng(np.random.SeedSequence([seed, identity, variation + 1]))
    look = draw_variation(person, rng, strength)
    canvas = _draw_person(person, look, _OVERSAMPLING * size / SIZE)
    return _develop(_take_picture(canvas, person, look, size), look, rng)


def _draw_person(person: Identity, look: Variation, scale: float) -> Canvas:
    """Draws the unturned person without light."""
    # Each part covers the parts before it, so the order matters.
    canvas = Canvas(scale)
    head.draw_back_hair(canvas, person)
    head.draw_skin(canvas, person, look)
    features.draw_marks(canvas, person, look)
    head.draw_facial_hair(canvas, person, look)
    features.draw_nose(canvas, person)
    features.draw_mouth(canvas, person, look)
    features.draw_eyes(canvas, person, look)
    features.draw_brows(canvas, person, look)
    head.draw_hair(canvas, person)
    if look.glasses or look.sunglasses:
        accessories.draw_glasses(canvas, person, look)
    if look.occluder in ("mask", "scarf"):
        accessories.draw_cover(canvas, person, look)
    elif look.occluder != "none":
        accessories.draw_in_front(canvas, person, look)
    return canvas


def _take_picture(canvas: Canvas, person: Identity, look: Variation, size: int) -> np.ndarray:
    """Turns and aligns the head, lights it, and puts it in front of the background.

    Returns float32 (size, size, 3). The values are not negative and can exceed 255.
    """
    wide = _OVERSAMPLING * size
    x, y = picture_to_face(person, look, 36)
    map_x = (cv2.resize(x, (wide, wide)) + (MIDLINE + MARGIN)) * canvas.scale - 0.5
    map_y = (cv2.resize(y, (wide, wide)) + MARGIN) * canvas.scale - 0.5
    turned = cv2.remap(
        canvas.pixels, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    small = cv2.resize(turned, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Light is smooth, so it is looked up once per pixel of the image, not of the canvas.
    cell_x = cv2.resize(x, (size, size)) + (MIDLINE + MARGIN - 0.5)
    cell_y = cv2.resize(y, (size, size)) + (MARGIN - 0.5)
    light = cv2.remap(
        light_face(person, look), cell_x, cell_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    red, green, blue, shine = cv2.split(light)
    alpha = small[..., 3] * np.float32(1.0 / 255.0)
    shine *= alpha
    person_lit = small[..., :3] * cv2.merge([red, green, blue]) + cv2.merge([shine, shine, shine])
    backdrop = cv2.resize(look.background, (size, size), interpolation=cv2.INTER_CUBIC)
    backdrop = np.clip(backdrop, 0.0, 1.0) * 255.0
    clear = 1.0 - alpha
    return person_lit + backdrop * cv2.merge([clear, clear, clear])


def _develop(picture: np.ndarray, look: Variation, rng: np.random.Generator) -> np.ndarray:
    """Applies the camera's exposure, contrast, colour, blur, noise and compression."""
    picture = (picture - 118.0 / look.exposure) * (look.exposure * look.contrast) + 118.0
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    picture = cv2.addWeighted(
        picture, look.saturation, cv2.merge([grey, grey, grey]), 1.0 - look.saturation, 0.0
    )
    # Highlights roll off instead of clipping: unchanged up to 170, then approaching 255.
    bright = np.maximum(picture - 170.0, 0.0)
    picture = np.minimum(picture, 170.0) + bright * (85.0 / (85.0 + bright))
    if look.blur > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), look.blur * picture.shape[0] / SIZE)
    if look.noise > 0:
        grain = rng.standard_normal(picture.shape, dtype=np.float32)
        picture = picture + grain * np.float32(look.noise)
    pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    # Encode and decode the image to add the artefacts of JPEG.
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, look.quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])

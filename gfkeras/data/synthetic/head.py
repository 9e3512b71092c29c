"""Head, neck, ears, hair and facial hair."""

import numpy as np

from gfkeras.data.synthetic.canvas import Canvas
from gfkeras.data.synthetic.geometry import curve, ellipse, mouth_shape, outline
from gfkeras.data.synthetic.identity import Identity, Variation


def _face_outline(p: Identity) -> np.ndarray:
    """Returns the closed outline (M, 2) of the face from above the forehead to the chin."""
    return outline(
        (0.0, -14.0),
        (p.temple_width * 0.70, -10.0),
        (p.temple_width * 0.985, 12.0),
        (p.temple_width, 34.0),
        (p.cheek_width, 56.0),
        (p.cheek_width * 0.97, 70.0),
        (0.5 * (p.cheek_width + p.jaw_width) + 1.4 * p.cheek_fullness - 0.8, 83.0),
        (p.jaw_width, p.jaw_height),
        (0.5 * (p.jaw_width + p.chin_width) + 2.0, 0.42 * p.jaw_height + 0.58 * p.chin_y),
        (p.chin_width, p.chin_y - 2.2),
        (0.0, p.chin_y),
        samples=4,
    )


def draw_skin(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws clothes, neck, ears and the bare face."""
    p = person
    neck = p.jaw_width * (0.70 + 0.14 * p.masculine)
    shoulders = outline(
        (0, 117), (neck * 0.9, 116), (neck + 10, 122), (70, 128), (75, 140), (0, 140), samples=4
    )
    throat = np.array([(-neck, 76), (neck, 76), (neck + 4, 140), (-neck - 4, 140)])
    canvas.fill(throat, p.skin * 0.80)
    canvas.fill(shoulders, variation.clothing)
    lobe = p.skin * np.array((0.96, 0.86, 0.84), np.float32)
    for side in (-1.0, 1.0):
        x = side * (p.cheek_width + 1.4)
        canvas.fill(ellipse(x, 60.0, 4.6, 10.0, -0.14 * side), lobe)
        canvas.soft_fill(ellipse(x + side, 60.0, 2.0, 6.5, -0.14 * side), lobe * 0.62, 0.7, 0.8)
    canvas.fill(_face_outline(p), p.skin)


def draw_back_hair(canvas: Canvas, person: Identity) -> None:
    """Draws the hair behind the head. This must come before the skin."""
    p = person
    if p.baldness > 0:
        return
    volume = 2.5 + 7.0 * p.hair_volume + 2.0 * p.hair_wave
    reach = 40.0 + 110.0 * p.hair_length
    wide = p.cheek_width + volume
    mass = outline(
        (0, -16 - volume),
        (wide * 0.7, -12 - volume * 0.6),
        (wide, 18),
        (wide + 1.0, min(44.0, reach)),
        (wide + 6.0 * p.hair_length, 0.5 * (44 + reach)),
        (wide - 3.0 + 10.0 * p.hair_length, reach),
        (p.cheek_width * 0.75, reach + 1),
        (0, reach),
    )
    canvas.fill(mass, p.hair * 0.66)


def draw_hair(canvas: Canvas, person: Identity) -> None:
    """Draws the hair in front of the forehead and temples, with strands."""
    p = person
    if p.baldness > 0:
        _draw_shaved(canvas, p)
        return
    volume = 2.5 + 7.0 * p.hair_volume + 2.0 * p.hair_wave
    left, right = _hairline(p, -1.0), _hairline(p, 1.0)
    line = curve(*left[::-1], *right[1:])
    wide = p.cheek_width + volume
    outer = curve(
        (right[-1][0] + 1.5, right[-1][1] + 2),
        (wide, min(right[-1][1], 44.0)),
        (wide, 18),
        (wide * 0.7, -12 - volume * 0.6),
        (0, -16 - volume),
        (-wide * 0.7, -12 - volume * 0.6),
        (-wide, 18),
        (-wide, min(left[-1][1], 44.0)),
        (left[-1][0] - 1.5, left[-1][1] + 2),
    )
    # First a soft shadow of the hair on the skin, then the hair itself.
    edge = line[line[:, 1] < 64.0]
    canvas.soft_lines([edge + (0, 1.0)], p.skin * 0.45, 2.2, 0.45, blur=1.3)
    canvas.fill(np.concatenate([line, outer]), p.hair)
    _draw_strands(canvas, p, line, volume)


def _hairline(p: Identity, side: float) -> np.ndarray:
    """Returns the control points (N, 2) of half the hairline, from the parting outwards."""
    front = p.hairline_y + 24.0 * p.fringe
    temple = p.temple_width
    recess = 13.0 * p.recession * (1 - p.fringe)
    parting = p.parting * (0.4 + 0.6 * (1 - p.fringe))
    swept = 1.0 - 0.012 * side * parting  # The side with more hair hangs lower.
    end = min(46.0 + 8.0 * (1 - p.masculine) + 70.0 * p.hair_length, 134.0)
    inward = 1.5 + 3.5 * p.hair_length
    points = [
        (parting * 0.5, front + p.hairline_peak * (1 - p.fringe) - 3.0 * p.fringe),
        (side * temple * 0.36 + parting * 0.25, front - 0.4 * recess + 2.0 * swept * p.fringe),
        (side * temple * 0.66, front + 1.5 - recess + 3.0 * swept * p.fringe),
        (side * temple * 0.87, front * 0.72 + 12.0 + 4.0 * p.fringe - 0.5 * recess),
        (side * (p.temple_width - inward), 0.5 * (front + 22) + 14.0),
        (side * (p.cheek_width - inward + 1.0), min(end, 0.5 * (48 + end))),
        (side * (p.cheek_width - 0.4 * inward + 1.5), end),
    ]
    return np.array(points, np.float32)


def _draw_strands(canvas: Canvas, p: Identity, line: np.ndarray, volume: float) -> None:
    """Draws strands from the parting to the hairline and down the sides, in four shades."""
    count = 56
    t = (np.arange(count) + 0.5) / count
    index = np.minimum((t * len(line)).astype(int), len(line) - 1)
    ends = line[index] + (0.0, 0.6)
    root_x = 0.8 * p.parting + (ends[:, 0] - 0.8 * p.parting) * 0.42
    starts = np.stack([root_x, np.full(count, -15.0)], 1)
    side = np.sign(ends[:, 0] - 0.5 * p.parting)
    out = side * (6.0 + volume) * np.minimum(1, np.abs(ends[:, 0]) / 22)
    bulge = np.stack([out, -4 * side**2], 1)
    middle = 0.5 * (starts + ends) + bulge
    s = np.linspace(0.0, 1.0, 9)[:, None, None]
    # Each strand is a quadratic Bézier curve, to which a wave is added below.
    strands = (1 - s) ** 2 * starts + 2 * s * (1 - s) * middle + s**2 * ends
    phase = 2.4 * np.sin(t * 47.0) + 1.1 * t
    wave = 2.6 * p.hair_wave * np.sin(strands[..., 1] * p.hair_frequency * 2 + phase)
    strands[..., 0] += wave * np.minimum(1.0, 3 * s[..., 0])
    # Outer copies fill the volume between hairline and silhouette.
    outer = strands.copy()
    outer[..., 0] += side * (0.45 * volume + 2.0) * s[..., 0]
    outer[..., 1] -= 3.0 * s[..., 0]
    shades = (p.hair * 0.70, p.hair * 1.12 + 6, p.hair * 0.84, p.hair * 1.26 + 12)
    for shade, colour in enumerate(shades):
        group = np.concatenate([strands[:, shade::4], outer[:, (shade + 2) % 4 :: 4]], 1)
        canvas.lines(list(group.transpose(1, 0, 2)), 0.55 * colour + 0.45 * p.hair, 0.5)


def _draw_shaved(canvas: Canvas, p: Identity) -> None:
    """Draws a bald or shaved head: a faint shadow where hair would grow."""
    front = p.hairline_y - 3.0
    shade = p.skin * 0.55 + p.hair * 0.25
    crown = outline(
        (0, front - 4 * p.recession),
        (p.temple_width * 0.6, front - 1 - 8 * p.recession),
        (p.temple_width * 0.86, front + 14),
        (p.temple_width - 1.5, 44),
        (p.temple_width * 0.985 - 2.5, 14),
        (p.temple_width * 0.68, -6),
        (0, -10),
        samples=5,
    )
    canvas.soft_fill(crown, shade, 0.75 * (1.15 - p.baldness) + 0.1, blur=1.2)


def draw_facial_hair(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws stubble, moustache, goatee and beard. This must come before the mouth."""
    p = person
    width, lift = mouth_shape(p, variation)
    hair = p.hair * 0.72
    drop = p.mouth_y + 4.0 * variation.mouth_open
    if p.stubble > 0 or p.beard > 0:
        jaw = outline(
            (0, drop + p.lower_lip + 2.5),
            (width * 0.75, drop + 2.5),
            (width + 3.5, p.mouth_y - 6.5),
            (p.cheek_width * 0.80, p.mouth_y - 9.0),
            (p.cheek_width - 2.0, 66),
            (p.cheek_width + 0.5, 66),
            (p.jaw_width + 1.5, p.jaw_height),
            (0.6 * p.jaw_width + 4, p.chin_y - 3),
            (0, p.chin_y + 2),
            samples=5,
        )
        canvas.soft_fill(jaw, p.skin * 0.5 + hair * 0.3, 0.38 * p.stubble, blur=2.4)
        canvas.soft_fill(jaw, hair, 0.92 * p.beard, blur=1.3)
    upper = outline(
        (0, p.nose_y + 7.0),
        (width * 0.55, p.nose_y + 8.0),
        (width + 1.6, p.mouth_y - 2.0 - 0.5 * lift),
        (width + 2.2, p.mouth_y + 3.0 - 0.5 * lift),
        (width * 0.8, p.mouth_y - 1.4),
        (0, p.mouth_y - p.upper_lip - 0.4),
        samples=5,
    )
    canvas.soft_fill(upper, p.skin * 0.5 + hair * 0.3, 0.34 * p.stubble, blur=1.6)
    canvas.soft_fill(upper, hair, 0.9 * p.moustache, blur=0.9)
    if p.goatee > 0:
        chin = outline(
            (0, drop + p.lower_lip + 2.2),
            (width * 0.65, drop + p.lower_lip + 3.8),
            (p.chin_width * 0.95, p.chin_y - 8),
            (p.chin_width * 0.8, p.chin_y),
            (0, p.chin_y + 2.5),
            samples=5,
        )
        canvas.soft_fill(chin, hair, 0.9 * p.goatee, blur=1.2)

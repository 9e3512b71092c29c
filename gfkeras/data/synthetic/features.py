"""Eyes, brows, nose, mouth and skin marks."""

from dataclasses import dataclass

import numpy as np

from gfkeras.data.synthetic.canvas import Canvas
from gfkeras.data.synthetic.geometry import curve, ellipse, mouth_shape
from gfkeras.data.synthetic.identity import Identity, Variation

_DARK = np.array((26, 14, 12), np.float32)
_LID = np.linspace(-1.0, 1.0, 15, dtype=np.float32)


def draw_marks(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws freckles, moles and wrinkles."""
    p = person
    smile = max(variation.smile, 0.0)
    speck = p.skin * np.array((0.78, 0.64, 0.52), np.float32)
    freckles = [ellipse(x, y, radius, radius * 0.9) for x, y, radius in p.freckles.tolist()]
    moles = [ellipse(x, y, radius, radius) for x, y, radius in p.moles.tolist()]
    for marks, colour, opacity in ((freckles, speck, 0.45), (moles, p.skin * 0.42, 0.9)):
        if marks:
            canvas.soft_fill(marks, colour, opacity)
    line = p.skin * np.array((0.66, 0.54, 0.50), np.float32)
    fold = 0.10 + 0.38 * p.wrinkles + 0.28 * smile
    mouth_width, _ = mouth_shape(p, variation)
    outer = p.eye_spacing + p.eye_width + 1.5
    folds, crows = [], []
    for side in (-1.0, 1.0):
        folds.append(
            curve(
                (side * (p.nose_width + 1.6), p.nose_y + 0.5),
                (side * (p.nose_width + 5.0 + smile), p.nose_y + 7.5),
                (side * (mouth_width + 3.6), p.mouth_y - 3.5),
                (side * (mouth_width + 4.2), p.mouth_y + 1.5),
            )
        )
        crows += [
            curve(
                (side * outer, p.eye_y + 0.5 * bend),
                (side * (outer + 2.6), p.eye_y + 0.9 * bend),
                (side * (outer + 4.8), p.eye_y + 1.9 * bend),
            )
            for bend in (-2.2, 0.2, 2.4)
        ]
    canvas.soft_lines(folds, line, 1.3, fold, blur=0.75)
    canvas.soft_lines(crows, line, 0.7, 0.6 * p.wrinkles * (0.5 + smile), blur=0.35)
    furrow = 0.42 * p.wrinkles + 0.3 * p.wrinkles * max(variation.brow_raise, 0.0)
    if furrow > 0.08:
        levels = [(level, p.eye_y - p.brow_height - 7.0 - 5.2 * level) for level in range(3)]
        forehead = [
            curve((-16 + 2 * level, y + 0.8), (-7, y - 0.6), (6, y), (17 - level, y + 0.9))
            for level, y in levels
        ]
        canvas.soft_lines(forehead, line, 0.8, furrow, blur=0.5)


def draw_nose(canvas: Canvas, person: Identity) -> None:
    """Draws nostrils and the creases of the wings. The shading draws the rest of the nose."""
    p = person
    crease = p.skin * np.array((0.60, 0.45, 0.41), np.float32)
    hole = p.skin * np.array((0.34, 0.20, 0.18), np.float32)
    creases, openings = [], []
    for side in (-1.0, 1.0):
        creases.append(
            curve(
                (side * (p.nose_width - 0.9), p.nose_y - 2.6),
                (side * (p.nose_width + 0.4), p.nose_y - 0.2),
                (side * (p.nose_width - 0.1), p.nose_y + 2.6),
                (side * (p.nose_width - 2.4), p.nose_y + 3.6),
            )
        )
        x, y, height = side * p.nose_width * 0.48, p.nose_y + 3.1, 0.65 + 0.65 * p.nostril
        openings.append(ellipse(x, y, p.nose_width * 0.24, height, -0.30 * side))
    canvas.soft_fill(openings, hole, 0.85, blur=0.4)
    canvas.soft_lines(creases, crease, 0.9, 0.5, blur=0.45)
    half, y = p.nose_width * 0.4, p.nose_y + 3.7
    base = curve((-half, y), (0, p.nose_y + 4.6), (half, y))
    canvas.soft_lines([base], crease, 0.9, 0.45, blur=0.5)


def draw_mouth(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws the lips and, if the mouth is open, the teeth and the dark inside."""
    p = person
    width, lift = mouth_shape(p, variation)
    smile = max(variation.smile, 0.0)
    thin = 1.0 - 0.22 * smile
    upper, lower = p.upper_lip * thin, p.lower_lip * thin
    gap = 5.2 * variation.mouth_open + 2.6 * max(smile - 0.45, 0.0)
    skew = 0.6 * float(p.asymmetry[0])
    y = p.mouth_y
    corner_l, corner_r = (-width, y - lift + skew), (width, y - lift - skew)
    # The line between the lips sags in the middle when the corners are lifted.
    centre = y + 0.25 * lift

    def across(middle: float, side: float, reach: float = 0.45) -> np.ndarray:
        out = reach * width
        return curve(corner_l, (-out, side), (0, middle), (out, side), corner_r, samples=8)

    bow = 0.9 * p.cupid_bow
    top = curve(
        corner_l,
        (-0.55 * width, centre - 0.62 * upper - 0.35 * lift),
        (-0.19 * width, centre - upper - bow * 0.6),
        (0, centre - upper + bow * 0.6),
        (0.19 * width, centre - upper - bow * 0.6),
        (0.55 * width, centre - 0.62 * upper - 0.35 * lift),
        corner_r,
    )
    upper_edge = across(centre + 0.35, centre - 0.15 * lift)
    lower_edge = across(centre + gap + 0.35, centre + 0.85 * gap - 0.15 * lift)
    bottom = across(centre + gap + lower, centre + 0.85 * gap + 0.78 * lower - 0.2 * lift, 0.5)

    soft = 0.35 * (1.0 - 0.6 * p.make_up)
    canvas.soft_fill(np.concatenate([top, lower_edge[::-1]]), p.lips * 0.86, 0.92, blur=soft)
    canvas.soft_fill(np.concatenate([lower_edge, bottom[::-1]]), p.lips, 0.92, blur=soft)
    # A smaller gap shows only a dark line between the lips.
    if gap > 0.25:
        opening = np.concatenate([upper_edge, lower_edge[::-1]])
        canvas.fill(opening, np.array((58, 18, 18), np.float32))
        middle = centre + min(gap, 0.5 + 0.75 * gap)
        teeth_low = across(middle, centre + 0.55 * gap - 0.15 * lift, 0.42)
        # Teeth do not reach the corners of the mouth.
        keep = np.abs(upper_edge[:, 0]) < 0.82 * width
        teeth = np.concatenate([upper_edge[keep], teeth_low[keep][::-1]])
        canvas.soft_fill(teeth, np.array((236, 228, 214), np.float32), 0.93, blur=0.2)
        canvas.soft_lines([upper_edge], p.lips * 0.45, 0.7, 0.6, blur=0.3)
    else:
        canvas.soft_lines([upper_edge], p.lips * 0.34, 0.95, 0.85, blur=0.3)
    gleam = ellipse(0.12 * width, centre + gap + 0.55 * lower, 0.32 * width, 0.22 * lower)
    canvas.soft_fill(gleam, np.array((255, 235, 230), np.float32), 0.16 + 0.14 * p.make_up, 0.7)
    corners = [np.array([c, (c[0] * 1.06, c[1] + 0.6)], np.float32) for c in (corner_l, corner_r)]
    canvas.soft_lines(corners, p.skin * 0.45, 1.1, 0.55, blur=0.5)


@dataclass(frozen=True, slots=True)
class _Eye:
    """The curves of one eye in face coordinates, each (15, 2)."""

    centre: tuple[float, float]
    upper: np.ndarray
    lower: np.ndarray
    crease: np.ndarray
    bag: np.ndarray
    tips: list[np.ndarray]


def _eye(p: Identity, variation: Variation, side: float) -> _Eye:
    uneven = 1.0 + 0.05 * float(p.asymmetry[1]) * side
    smile = max(variation.smile, 0.0)
    openness = p.eye_height * uneven * variation.eye_open
    x0, y0 = side * p.eye_spacing, p.eye_y
    cosine, sine = np.cos(p.eye_slant), -side * np.sin(p.eye_slant)

    def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Converts eye coordinates (outwards, down) to slanted face coordinates."""
        x = x * side
        return np.stack([x0 + x * cosine - y * sine, y0 + x * sine + y * cosine], 1)

    dome = 1 - _LID**2
    arch = (1.0 - np.abs(_LID) ** (1.5 + 0.9 * p.eye_roundness)) * (1.0 - 0.16 * _LID)
    sag = (1.0 - 0.25 * smile) * min(1.0, 0.45 + 0.55 * variation.eye_open)
    upper = place(_LID * p.eye_width, -openness * arch + 0.25 * _LID**2)
    tips = []
    for step in (9, 11, 13, 14):
        out = np.array((side * (0.5 + 0.09 * step), -1.0 - 0.6 * p.lashes))
        tips.append(np.stack([upper[step], upper[step] + out * 1.25 * p.lashes]))
    return _Eye(
        centre=(x0, y0),
        upper=upper,
        lower=place(_LID * p.eye_width, 0.50 * p.eye_height * sag * dome * (1 + 0.18 * _LID)),
        crease=place(
            _LID * (p.eye_width + 0.3), -openness * arch - p.lid_crease * (0.65 + 0.35 * dome)
        ),
        bag=place(_LID * p.eye_width * 0.9, 0.5 * p.eye_height + 2.2 + 1.5 * dome),
        tips=tips,
    )


def draw_eyes(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws eyeballs, irises, lids and lashes."""
    p = person
    smile = max(variation.smile, 0.0)
    eyes = [_eye(p, variation, -1.0), _eye(p, variation, 1.0)]
    shade = p.skin * np.array((0.70, 0.55, 0.52), np.float32)
    if p.make_up > 0.2:
        shadow = p.lips * np.array((0.62, 0.75, 0.9), np.float32)
        lids = [np.concatenate([eye.upper, (eye.upper - (0, 2.6))[::-1]]) for eye in eyes]
        canvas.soft_fill(lids, shadow, 0.45 * p.make_up, blur=0.9)
    canvas.soft_lines([eye.crease for eye in eyes], shade * 0.85, 0.85, 0.62, blur=0.4)
    bags = 0.16 + 0.34 * p.eye_bags + 0.12 * smile
    canvas.soft_lines([eye.bag for eye in eyes], shade, 1.0, bags, blur=0.6)
    # Lids that are almost closed hide the eyeballs.
    if variation.eye_open > 0.35:
        _draw_eyeballs(canvas, p, variation, eyes)
    uppers, width = [eye.upper for eye in eyes], 0.7 + 0.75 * p.lashes
    canvas.soft_lines(uppers, _DARK, width, 0.72 + 0.25 * p.lashes, blur=0.22)
    rim = 0.5 + 0.25 * p.make_up
    canvas.soft_lines([eye.lower for eye in eyes], shade * 0.72, 0.6, rim, blur=0.25)
    if p.lashes > 0.45:
        canvas.soft_lines([*eyes[0].tips, *eyes[1].tips], _DARK, 0.45, 0.75, blur=0.15)


def _draw_eyeballs(canvas: Canvas, p: Identity, variation: Variation, eyes: list[_Eye]) -> None:
    """Draws whole eyeballs on a copy, then pastes the part between the lids."""
    balls = canvas.copy()
    white = np.array((238, 233, 228), np.float32) * (0.93 + 0.04 * variation.ambient)
    radius = p.iris_radius
    # The glint is on the side from which the light comes.
    glint = 0.42 * radius * float(np.sign(variation.light[0]) or 1.0)
    glows, shadows, centres = [], [], []
    for eye in eyes:
        x0, y0 = eye.centre[0], eye.centre[1] - 0.25 * p.eye_height
        x, y = x0 + 0.55 * float(variation.gaze[0]), y0 + 0.35 * float(variation.gaze[1])
        balls.fill(ellipse(x0, y0, p.eye_width + 2, p.eye_height + 4), white)
        balls.fill(ellipse(x, y, radius, radius), p.iris * 0.45)
        balls.fill(ellipse(x, y, radius * 0.84, radius * 0.84), p.iris)
        glows.append(ellipse(x, y + 0.35 * radius, radius * 0.62, radius * 0.48))
        shadows.append(np.concatenate([eye.upper, (eye.upper + (0, 1.5))[::-1]]))
        centres.append((x, y))
    balls.soft_fill(glows, p.iris * 1.28 + 14, 0.75, blur=0.4)
    balls.soft_fill(shadows, _DARK, 0.42, blur=0.5)
    for x, y in centres:
        balls.fill(ellipse(x, y, radius * 0.42, radius * 0.42), _DARK * 0.5)
        balls.fill(ellipse(x + glint, y - 0.42 * radius, 0.72, 0.66), np.full(3, 255.0))
    canvas.paste([np.concatenate([eye.upper, eye.lower[::-1]]) for eye in eyes], balls)


def draw_brows(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws each brow as a soft shape with a few hairs on it."""
    p = person
    colour, along = p.hair * 0.62 + p.skin * 0.08, (_LID + 1.0) * 0.5
    bodies: list[np.ndarray] = []
    hairs: list[np.ndarray] = []
    for side in (-1.0, 1.0):
        raised = 1.3 * variation.brow_raise + 0.35 * side * float(p.asymmetry[2])
        start = p.eye_spacing - p.eye_width * 0.95 + p.brow_gap
        x = side * (start + along * p.brow_length * 1.55)
        rise = p.brow_arch * np.sin(np.pi * along**1.25) + 9.0 * p.brow_tilt * (along - 0.5)
        y = p.eye_y - p.brow_height - raised - rise
        thick = p.brow_thickness * (1.0 - 0.72 * along**2) * (0.72 + 0.9 * along * (1 - along))
        upper, lower = np.stack([x, y - thick], 1), np.stack([x, y + thick], 1)
        bodies.append(np.concatenate([upper, lower[::-1]]))
        root = np.stack([x, y + thick * 0.8], 1)
        tip = np.stack([x + side * 1.8, y - thick * (0.9 - 0.5 * along)], 1)
        hairs += list(np.stack([root, tip], 1)[:-1])
    canvas.soft_fill(bodies, colour, p.brow_strength, blur=0.55)
    canvas.soft_lines(hairs, colour * 0.7, 0.5, 0.6 * p.brow_strength, blur=0.12)

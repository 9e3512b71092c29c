"""Glasses and objects that cover part of the face."""

import numpy as np

from gfkeras.data.synthetic.canvas import Canvas
from gfkeras.data.synthetic.geometry import curve, outline
from gfkeras.data.synthetic.identity import Identity, Variation

_TURN = np.linspace(0.0, 2 * np.pi, 32, endpoint=False)


def draw_glasses(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws the person's own glasses, clear or as sunglasses."""
    p = person
    dark = variation.sunglasses
    # The rims are superellipses |x|ⁿ + |y|ⁿ = 1, from round (n = 2) to nearly rectangular (n = 5).
    exponent = 2.0 / (2.0 + 3.0 * p.glasses_square)
    half_width = 9.6 + 2.6 * p.glasses_size + 1.2 * dark
    half_height = (6.4 + 3.0 * p.glasses_size) * (1.0 - 0.16 * p.glasses_square) + 1.2 * dark
    centre_x, centre_y = max(p.eye_spacing + 0.4, half_width + 2.2), p.eye_y + 1.2
    thick = 0.7 + 1.3 * p.glasses_thickness + 0.4 * dark
    cosine, sine = np.cos(_TURN), np.sin(_TURN)
    across = half_width * np.sign(cosine) * np.abs(cosine) ** exponent
    down = half_height * np.sign(sine) * np.abs(sine) ** exponent
    shape = np.stack([across, down], 1)
    rims = []
    for side in (-1.0, 1.0):
        rim = shape * (side, 1.0) + (side * centre_x, centre_y)
        if dark:
            canvas.soft_fill(rim, variation.occluder_colour * 0.10 + 12, 0.96, blur=0.15)
            glare = rim * (0.55, 0.35) + (side * centre_x * 0.45, centre_y * 0.65 - 2.2)
            canvas.soft_fill(glare, np.full(3, 235.0), 0.20, blur=1.4)
        else:
            canvas.soft_lines([rim + (0, 1.5)], p.skin * 0.45, thick, 0.28, blur=0.8)
            canvas.soft_fill(rim, np.array((226, 236, 245), np.float32), 0.05)
        rims.append(np.concatenate([rim, rim[:1]]))
    inner = centre_x - half_width
    bridge = curve((-inner, centre_y - 1.5), (0, centre_y - 3.4), (inner, centre_y - 1.5))
    outer = centre_x + half_width
    arms = [
        np.array([(side * outer, centre_y - 1.5), (side * (p.cheek_width + 3), centre_y - 2.5)])
        for side in (-1.0, 1.0)
    ]
    canvas.soft_lines([*rims, bridge, *arms], p.glasses_colour, thick, 0.96, blur=0.12)


def draw_cover(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws a face mask or scarf. It is worn, so it turns with the head."""
    p, colour = person, variation.occluder_colour
    if variation.occluder == "mask":
        top = p.nose_y - 5.0 + 3.0 * float(variation.occluder_place[0])
        cloth = outline(
            (0, top),
            (14, top + 5),
            (p.cheek_width - 1, top + 9),
            (p.jaw_width + 1.5, p.jaw_height),
            (p.chin_width + 6, p.chin_y),
            (0, p.chin_y + 3),
        )
        pale = 0.4 * colour + 0.6 * np.array((206, 222, 232), np.float32)
        canvas.soft_fill(cloth, pale, 1.0, blur=0.25)
        for level in range(3):
            y = top + 14 + 6.5 * level
            pleat = curve((-30, y - 3), (-12, y), (12, y), (30, y - 3))
            canvas.soft_lines([pleat], pale * 0.72, 0.9, 0.6, blur=0.5)
    elif variation.occluder == "scarf":
        top = 84.0 + 7.0 * float(variation.occluder_place[0])
        cloth = outline(
            (0, top + 4), (20, top + 2), (p.cheek_width + 7, top - 8), (66, 138), (0, 139)
        )
        canvas.soft_fill(cloth, colour, 1.0, blur=0.4)
        for level in range(5):
            y = top + 10 + 7.5 * level
            fold = curve((-46, y - 11), (-16, y), (14, y - 1.5), (46, y - 12))
            canvas.soft_lines([fold], colour * (0.62 if level % 2 else 1.2), 1.4, 0.5, blur=0.9)


def draw_in_front(canvas: Canvas, person: Identity, variation: Variation) -> None:
    """Draws a hand or a lock of hair in front of the face."""
    p, place = person, variation.occluder_place
    side = 1.0 if place[0] > 0 else -1.0
    if variation.occluder == "hand":
        skin = p.skin * 0.94
        x, y = side * (29 + 7 * float(place[1])), 92 + 10 * float(place[2])
        lean = -side * (0.35 + 0.25 * float(place[3]))
        for finger in range(4):
            root = np.array((x + side * (4.5 * finger - 6), y + 26 - 1.5 * finger))
            length = (27, 31, 30, 25)[finger]
            tip = root + length * np.array((np.sin(lean), -np.cos(lean)))
            # The shadow of the finger comes first.
            canvas.soft_lines([np.stack([root, tip]) + (0.7, 1.2)], skin * 0.4, 6.4, 0.4, blur=0.9)
            canvas.soft_lines([np.stack([root, tip])], skin * (0.93 + 0.03 * finger), 5.2, 1.0, 0.3)
    elif variation.occluder == "lock":
        start = side * (14 + 10 * float(place[1]))
        for strand, shift in enumerate(1.3 * np.arange(9)):
            path = curve(
                (start + side * shift, -14),
                (start + side * (shift + 7), 24),
                (start + side * (shift * 0.8 + 9 + 4 * float(place[2])), 62),
                (start + side * (shift * 0.5 + 5), 98),
            )
            canvas.soft_lines([path], p.hair * (0.72 + 0.09 * (strand % 5)), 1.7, 0.95, blur=0.25)

"""Light on the relief of a face: normals from a height field, diffuse light and highlights."""

import cv2
import numpy as np

from gfkeras.data.synthetic.canvas import MARGIN, MIDLINE, SPAN
from gfkeras.data.synthetic.geometry import mouth_shape, rotation
from gfkeras.data.synthetic.identity import Identity, Variation

_CELLS = int(SPAN)  # The light is computed once per template pixel and then enlarged.
_X = (np.arange(_CELLS, dtype=np.float32) + 0.5) - MIDLINE - MARGIN
_Y = (np.arange(_CELLS, dtype=np.float32) + 0.5) - MARGIN
# How far light reaches into the shadow, per channel. Skin scatters red light furthest.
_WRAP = (0.52, 0.36, 0.30)
# Shadows on skin look warm, because green and blue fade a little more than red.
_SHADOW = (0.85, 1.05, 1.12)
_BLUSH = (0.10, 1.0, 0.85)
# Rows of centre x, centre y, sigma x, sigma y and height.
Gaussians = list[tuple[float, float, float, float, float]]


def _bumps(person: Identity, variation: Variation) -> Gaussians:
    """Returns the relief of the face as axis-aligned Gaussians."""
    p, smile = person, max(variation.smile, 0.0)
    mouth_width, lift = mouth_shape(person, variation)
    ridge = p.eye_y + 2.0
    cheekbone_y = p.nose_y - 2.5 - 2.5 * p.cheekbone - 1.5 * smile
    cheekbone = 1.6 + 2.2 * p.cheekbone + 2.2 * smile
    rows: Gaussians = [
        # The head, which is more evenly curved than a sphere
        (0, 66, 33, 50, 42),
        (0, 30, 27, 16, 5),
        # Nose: bridge, tip, wings
        (0.25 * p.nose_bend, ridge, p.nose_bridge_width, 8, 3.2 * p.nose_height),
        (p.nose_bend, 0.5 * (ridge + p.nose_y), p.nose_bridge_width + 0.6, 8, 4.2 * p.nose_height),
        (0, p.nose_y - 0.8, p.nose_tip, 3.6, 6.2 * p.nose_height),
        # Mouth region, lips and chin
        (0, p.mouth_y - 1, 13, 9, 4.0),
        (0, p.mouth_y - 1.6, mouth_width * 0.6, 1.5, 0.35 * p.upper_lip),
        (0, p.mouth_y + 2.6, mouth_width * 0.55, 2.0, 0.5 * p.lower_lip),
        (0, p.mouth_y + 8.4, 8.5, 2.4, -1.9),
        (0, p.chin_y - 8.5, 0.7 * p.chin_width, 5.5, 3.6),
        (0, p.mouth_y - 8.0, 1.5, 3.0, -0.7),
    ]
    for side in (-1, 1):
        rows += [
            (side * (p.nose_width - 1.8), p.nose_y + 1.2, 2.3, 2.6, 2.6),
            (side * p.eye_spacing * 0.95, p.eye_y - 7.5, 9, 3.4, 1.2 + 1.8 * p.brow_ridge),
            (side * p.eye_spacing * 0.9, p.eye_y - 0.8, 7.5, 4.6, -3.0 - 2.2 * p.eye_depth),
            (side * p.eye_spacing, p.eye_y, 4.4, 2.9, 2.4),
            (side * (p.eye_spacing + 5.5), cheekbone_y, 8.5, 6.5, cheekbone),
            (side * 23, 87, 8, 9, 3.6 * p.cheek_fullness - 1.6),
            (side * (mouth_width + 2.2), p.mouth_y - lift, 2.0, 3.0, -0.8 - 1.2 * smile),
        ]
    return rows


def _gradients(rows: Gaussians) -> tuple[np.ndarray, np.ndarray]:
    """Returns the slopes of the summed Gaussians, (cells, cells) each, by two matrix products."""
    x, y, sx, sy, height = np.array(rows, np.float32).T[:, :, None]
    across, down = (_X - x) / sx, (_Y - y) / sy
    gauss_x, gauss_y = np.exp(-0.5 * across**2), np.exp(-0.5 * down**2)
    slope_x = (gauss_y * height).T @ (-across / sx * gauss_x)
    slope_y = (-down / sy * gauss_y * height).T @ gauss_x
    return slope_x, slope_y


def _field(rows: Gaussians) -> np.ndarray:
    """Returns the summed Gaussians, (cells, cells)."""
    x, y, sx, sy, height = np.array(rows, np.float32).T[:, :, None]
    gauss_x = np.exp(-0.5 * ((_X - x) / sx) ** 2)
    return (np.exp(-0.5 * ((_Y - y) / sy) ** 2) * height).T @ gauss_x


def light_face(person: Identity, variation: Variation) -> np.ndarray:
    """Returns the light over the canvas, one cell per template pixel: float32 (cells, cells, 4).

    The first three channels are factors for red, green and blue (diffuse light). The fourth is the
    highlight to add, in grey levels 0..255.
    """
    slope_x, slope_y = _gradients(_bumps(person, variation))
    length = np.sqrt(slope_x**2 + slope_y**2 + 1.0)
    # Instead of turning the relief with the head, turn the light in the opposite direction.
    light = rotation(variation.yaw, variation.pitch).T @ variation.light
    facing = (light[2] - slope_x * light[0] - slope_y * light[1]) / length
    occlusion = _field(_shadows(person, variation, light))
    blush = _field(_rosy(person, variation))
    blotches = cv2.resize(person.skin_texture, (_CELLS, _CELLS), interpolation=cv2.INTER_CUBIC)
    blotches = blotches * np.float32(0.014 + 0.012 * person.age)

    channels = []
    for channel, wrap in enumerate(_WRAP):
        lit = np.clip((facing + wrap) / (1 + wrap), 0.0, None)
        key = (1.14 - 0.62 * variation.ambient) * variation.key_colour[channel] * lit
        fill = variation.ambient * variation.fill_colour[channel] * (0.55 + 0.35 / length)
        absorbed = _SHADOW[channel] * occlusion + _BLUSH[channel] * blush
        channels.append((key + fill) * np.exp(blotches - absorbed))

    half = light + (rotation(variation.yaw, variation.pitch).T @ (0, 0, 1)).astype(np.float32)
    half /= np.linalg.norm(half)
    mirror = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) / length, 0.0, 1.0)
    oily: Gaussians = [
        (0, person.nose_y - 2, 5, 6, 0.9),
        (0, 30, 20, 11, 0.6),
        (-22, person.nose_y - 5, 9, 7, 0.55),
        (22, person.nose_y - 5, 9, 7, 0.55),
        (0, person.chin_y - 9, 8, 5, 0.4),
        (0, person.mouth_y + 2.5, 7, 2, 0.6),
    ]
    mirror_4 = np.square(np.square(mirror))
    mirror_20 = np.square(np.square(mirror_4)) * mirror_4  # Much faster than a power of 20
    shine = mirror_20 * _field(oily) * (62.0 * variation.gloss)
    return cv2.merge([*channels, shine.astype(np.float32)])


def _rosy(person: Identity, variation: Variation) -> Gaussians:
    """Returns where blood or make-up reddens the skin, as Gaussians of optical depth."""
    # Blood is less visible through dark skin.
    pale = float(person.skin[1]) / 200.0
    strength = pale * (0.07 + 0.13 * person.blush + 0.11 * person.make_up)
    y = person.nose_y + 2.5 - 2.0 * person.cheekbone - max(variation.smile, 0.0)
    return [
        (-23, y, 7.5, 5.5, strength),
        (23, y, 7.5, 5.5, strength),
        (0, person.nose_y - 0.5, 4.0, 3.4, pale * (0.09 + 0.12 * person.blush)),
        (0, person.chin_y - 8, 7.0, 4.0, 0.06),
    ]


def _shadows(person: Identity, variation: Variation, light: np.ndarray) -> Gaussians:
    """Returns where the face hides from the sky or shades itself, as Gaussians of depth."""
    p = person
    cast = -light[:2] / max(float(light[2]), 0.35)
    above = max(-float(light[1]), 0.0)
    rows = [
        (0, p.nose_y + 4.2, p.nose_width * 0.9, 1.9, 0.20 + 0.12 * above),
        (0.0 + 3.2 * cast[0], p.nose_y + 2.6 + 4.6 * cast[1], 5.2, 3.6, 0.30 * np.hypot(*cast)),
        (0, p.mouth_y + p.lower_lip + 3.4, 7.5, 1.6, 0.16 + 0.10 * above),
        (0, p.chin_y + 7, 30, 5.5, 0.75),
        (0, -2, 60, 8, 0.15),
    ]
    for side in (-1.0, 1.0):
        rows += [
            (side * p.eye_spacing, p.eye_y - 4.2, 7.0, 2.2, 0.10 + 0.16 * p.eye_depth),
            (side * (p.eye_spacing - 7.5), p.eye_y - 1.0, 2.6, 4.2, 0.14 + 0.14 * p.eye_depth),
            (side * p.eye_spacing, p.eye_y + 5.0, 6.0, 1.7, 0.04 + 0.13 * p.eye_bags),
            (side * (p.nose_width + 0.8), p.nose_y + 2.4, 1.5, 2.6, 0.20),
            (side * (p.cheek_width - 1), 88, 6.5, 22, 0.20),
        ]
    return rows

"""Differences between two images of the same synthetic person."""

from types import SimpleNamespace

import numpy as np

from gfkeras.data.synthetic.identity import Identity


class Variation(SimpleNamespace):
    """Pose, expression, light, occlusion and camera of one image, named as in `draw_variation`.

    Angles are in radians, shifts are in pixels of the 112x112 template, strengths are from 0 to 1.
    """


def draw_variation(person: Identity, rng: np.random.Generator, strength: float = 1.0) -> Variation:
    """Draws how `person` looks in one image, with the random generator `rng`.

    `strength` scales the effects that hide the identity: the turn of the head, the contrast and
    colour of the light, the faults of the camera, and how often something covers the face. The same
    random numbers are drawn for every `strength`.
    """

    def spread(sigma: float, limit: float) -> float:
        return strength * float(np.clip(rng.normal(0.0, sigma), -limit, limit))

    # Cameras expose dark faces longer, but do not compensate completely.
    metered = float((person.skin.mean() / 150.0) ** -0.25)
    warmth = strength * rng.normal(0.0, 0.07)
    tint = strength * rng.normal(0.0, 0.02)
    azimuth = strength * rng.uniform(-1.15, 1.15)
    elevation = rng.uniform(-0.25, 0.95)
    level = np.cos(elevation)
    light = [np.sin(azimuth) * level, -np.sin(elevation), np.cos(azimuth) * level]
    # A single uniform number chooses among the rare occlusions. Most images have none.
    chance = rng.random()
    rare = (("mask", 0.025), ("scarf", 0.05), ("hand", 0.075), ("lock", 0.10))
    occluder = next((name for name, limit in rare if chance < strength * limit), "none")
    smiling = rng.random() < 0.45
    talking = rng.random() < 0.22
    blinking = rng.random() < strength * 0.06
    backdrop = rng.uniform(0.0, 1.0)
    blobs = rng.normal(0.0, 0.13, (6, 6, 1)) + rng.normal(0.0, 0.035, (6, 6, 3))
    background = backdrop + blobs + rng.normal(0.0, 0.07, 3)
    return Variation(
        yaw=spread(0.19, 0.45),
        pitch=spread(0.11, 0.26),
        roll=spread(0.035, 0.09),
        shift=strength * np.clip(rng.normal(0.0, 0.7, 2), -1.8, 1.8),
        scale=1.0 + spread(0.018, 0.045),
        smile=float(rng.uniform(0.35, 1.0)) if smiling else float(rng.uniform(-0.12, 0.15)),
        mouth_open=float(rng.uniform(0.25, 1.0)) if talking else 0.0,
        eye_open=float(rng.uniform(0.0, 0.3)) if blinking else float(rng.uniform(0.85, 1.12)),
        brow_raise=float(rng.normal(0.0, 0.75)),
        gaze=np.clip(rng.normal(0.0, 0.6, 2), -1.6, 1.6),
        light=np.array(light, np.float32),
        ambient=float(rng.uniform(0.36, 0.72)),
        key_colour=np.array([1 + warmth, 1 + tint, 1 - warmth], np.float32),
        fill_colour=np.array([1 - warmth * 0.8, 1.0, 1 + warmth * 0.8], np.float32),
        gloss=float(rng.uniform(0.15, 1.0)),
        exposure=metered * float(np.exp(strength * np.clip(rng.normal(0.0, 0.19), -0.5, 0.36))),
        contrast=float(np.exp(strength * np.clip(rng.normal(0.0, 0.13), -0.3, 0.3))),
        saturation=1.0 + strength * float(np.clip(rng.normal(0.0, 0.16), -0.65, 0.4)),
        glasses=bool(rng.random() < person.wears_glasses),
        sunglasses=bool(rng.random() < strength * 0.03),
        occluder=occluder,
        occluder_place=rng.uniform(-1.0, 1.0, 4),
        occluder_colour=(rng.uniform(40, 200) + rng.uniform(-45, 45, 3)).astype(np.float32),
        background=np.clip(background, 0.03, 0.97).astype(np.float32),
        clothing=rng.uniform(20, 220, 3).astype(np.float32),
        blur=strength * float(max(0.0, rng.normal(0.15, 0.42))),
        noise=strength * float(np.clip(rng.exponential(2.2), 0.0, 9.0)),
        quality=int(rng.integers(45, 99)),
    )

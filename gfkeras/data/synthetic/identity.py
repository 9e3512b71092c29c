"""Parameters of a synthetic person, and of the differences between two images of the person."""

from types import SimpleNamespace

import numpy as np

# Control colours (RGB, hexadecimal) between which continuous parameters interpolate.
_SKIN = "f2d0bc ecc2a6 e1b18f c6906b 9e6a4a 764d36 543729"
_HAIR = "161212 2e201a 543624 7a5030 925836 b2844e dcba7c"
_IRIS = "2c1a12 52321c 7a582e 6a7846 608480 5c86ac 889caa"
_FRAMES = "181618 462416 781e24 283460 beb8b0"
_GREY = np.array((196, 196, 198), np.float32)


class Identity(SimpleNamespace):
    """The fixed parameters of one person, under the names that `draw_identity` uses.

    Lengths are in pixels of the 112x112 template, with x from the midline of the face and y from
    the upper edge of the image. Angles are in radians, colours are RGB float32 0..255, and
    strengths are from 0 to 1.
    """


def _between(row: str, position: float) -> np.ndarray:
    """Interpolates a row of control colours at `position` in 0..1."""
    colours = np.array([list(bytes.fromhex(colour)) for colour in row.split()], np.float32)
    scaled = float(np.clip(position, 0.0, 1.0)) * (len(colours) - 1)
    low = min(int(scaled), len(colours) - 2)
    return colours[low] + (scaled - low) * (colours[low + 1] - colours[low])


def draw_identity(identity: int, seed: int = 0) -> Identity:
    """Draws the parameters of person number `identity` of the population `seed`.

    Almost all of them are continuous, so tens of thousands of people can be told apart. A few are
    correlated as in real people: dark skin with dark hair and eyes, facial hair with masculine
    faces, grey hair and wrinkles with age.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, identity]))

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def maybe(probability: float, low: float, high: float) -> float:
        # Always draw both numbers, so that one trait does not change the numbers for the next.
        wanted, value = rng.random(), rng.uniform(low, high)
        return float(value) if wanted < probability else 0.0

    male = rng.random() < 0.5
    masculine = float(np.clip(rng.normal(0.8 if male else 0.2, 0.13), 0.0, 1.0))
    age = float(rng.beta(1.3, 1.9))
    tone = between(0.0, 1.0)
    # The undertone, from rosy to olive, is almost independent of how light the skin is.
    rosy, golden = rng.normal(0.0, 1.0, 2)
    undertone = np.array((0.0, -0.012 * rosy, 0.016 * rosy - 0.055 * golden), np.float32)
    skin = np.clip(_between(_SKIN, tone) * (1.0 + undertone), 25, 248)

    # The darker the skin, the closer hair and eyes stay to the dark end of their colours.
    colour_freedom = max(0.0, 1.0 - 1.5 * tone)
    hair_position = between(0.0, 0.25) + colour_freedom * between(0.0, 0.8)
    hair = _between(_HAIR, hair_position)
    greying = float(np.clip((age - between(0.35, 0.8)) * 3.0, 0.0, 0.95))
    hair = hair + greying * (_GREY - hair)
    iris = _between(_IRIS, between(0.0, 0.22) + colour_freedom * between(0.0, 0.85))

    make_up = maybe(0.6 * (1.0 - masculine), 0.2, 1.0)
    natural_lips = skin * np.array((0.88, 0.58, 0.57), np.float32)
    natural_lips = natural_lips + np.array((14, 2, 6), np.float32)
    lipstick = np.array((between(120, 205), between(22, 80), between(40, 105)), np.float32)
    lips = natural_lips * between(0.88, 1.08)
    lips = lips + 0.65 * make_up * (lipstick - lips)

    bearded = maybe(0.45 * (masculine > 0.5), 0.35, 1.0)
    long_hair = between(0.0, 1.0)
    # Nine in ten men and one in ten women have mostly short hair.
    if male != (rng.random() < 0.1):
        long_hair = 0.4 * long_hair**3
    freckle_count = int(maybe(0.28 * (tone < 0.55), 14, 60))
    mole_count = int(rng.integers(0, 4))
    # Columns: x, y and radius.
    freckles = [rng.normal(middle, sigma, freckle_count) for middle, sigma in ((0, 17), (67, 6))]
    freckles.append(rng.uniform(0.35, 0.7, freckle_count))
    ranges = ((-33.0, 33.0), (26.0, 104.0), (0.55, 1.1))
    moles = [rng.uniform(low, high, mole_count) for low, high in ranges]
    cheek_width = between(35.5, 41.5) + 1.0 * masculine
    return Identity(
        masculine=masculine,
        age=age,
        skin=skin.astype(np.float32),
        skin_texture=rng.normal(0.0, 1.0, (24, 24)).astype(np.float32),
        cheek_width=cheek_width,
        temple_width=cheek_width * between(0.88, 0.98),
        jaw_width=cheek_width * (between(0.70, 0.86) + 0.07 * masculine),
        jaw_height=between(88.0, 96.0),
        chin_width=between(8.0, 14.0) + 4.0 * masculine,
        chin_y=between(109.5, 119.0) + 2.0 * masculine,
        cheek_fullness=between(0.0, 1.0),
        cheekbone=between(0.0, 1.0),
        brow_ridge=between(0.0, 0.6) + 0.6 * masculine,
        eye_spacing=between(15.6, 19.4),
        eye_y=between(50.2, 53.0),
        eye_width=between(6.4, 8.9),
        eye_height=between(2.6, 4.5) - 0.3 * masculine,
        eye_slant=between(-0.10, 0.22),
        eye_roundness=between(0.55, 1.0),
        eye_depth=between(0.0, 1.0),
        iris_radius=between(3.0, 3.9),
        iris=iris.astype(np.float32),
        lid_crease=between(0.8, 2.8),
        eye_bags=between(0.0, 0.5) + 0.5 * age,
        lashes=between(0.1, 0.5) + 0.5 * (1 - masculine) * between(0.4, 1.0),
        brow_height=between(7.6, 11.6) - 1.0 * masculine,
        brow_thickness=between(1.0, 2.2) + between(0.0, 1.5) * masculine,
        brow_length=between(8.4, 11.6),
        brow_arch=between(0.2, 3.2) * (1.15 - 0.5 * masculine),
        brow_tilt=between(-0.14, 0.14),
        brow_gap=between(-1.8, 1.8),
        brow_strength=between(0.45, 0.95),
        nose_y=between(68.8, 74.8),
        nose_width=between(5.2, 8.4) + 0.8 * masculine + 0.8 * tone,
        nose_bridge_width=between(2.2, 3.8),
        nose_height=between(0.6, 1.2),
        nose_tip=between(2.8, 5.0),
        nostril=between(0.3, 1.0),
        nose_bend=between(-0.9, 0.9),
        mouth_y=between(89.6, 95.0),
        mouth_width=between(11.6, 17.0),
        upper_lip=between(1.8, 4.3) + 0.6 * tone - 0.5 * masculine,
        lower_lip=between(3.0, 6.0) + 0.6 * tone - 0.4 * masculine,
        cupid_bow=between(0.0, 1.0),
        mouth_curve=between(-0.7, 1.4),
        lips=np.clip(lips, 20, 250).astype(np.float32),
        hair=hair.astype(np.float32),
        baldness=maybe(0.17 * masculine, 0.55, 1.0),
        hairline_y=between(6.0, 19.0),
        hairline_peak=between(-2.5, 4.0),
        recession=between(0.0, 0.35) + masculine * age * between(0.2, 0.9),
        fringe=maybe(0.5 - 0.3 * masculine, 0.35, 1.0),
        parting=between(-24.0, 24.0),
        hair_length=long_hair,
        hair_volume=between(0.0, 1.0),
        hair_wave=between(0.0, 1.0) ** 2,
        hair_frequency=between(0.12, 0.4),
        stubble=maybe(0.6 * (masculine > 0.5), 0.2, 0.9),
        moustache=bearded * maybe(0.75, 0.4, 1.0),
        goatee=bearded * maybe(0.7, 0.4, 1.0),
        beard=bearded * maybe(0.55, 0.5, 1.0),
        freckles=np.column_stack(freckles).astype(np.float32),
        moles=np.column_stack(moles).astype(np.float32),
        wrinkles=float(np.clip(age * 1.25 - 0.2 + between(-0.15, 0.15), 0.0, 1.0)),
        blush=between(0.0, 1.0),
        make_up=make_up,
        wears_glasses=0.85 if rng.random() < 0.22 else 0.02,
        glasses_size=between(0.0, 1.0),
        glasses_square=between(0.0, 1.0),
        glasses_thickness=between(0.0, 1.0),
        glasses_colour=_between(_FRAMES, between(0.0, 1.0)).astype(np.float32),
        asymmetry=rng.normal(0.0, 0.45, 8).astype(np.float32),
    )


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

"""Appearance of each category, derived from its name: the kind of fruit ("Apple") and colours ("Red").

This module holds data only. `drawing` draws it.
"""

from __future__ import annotations

import colorsys
import zlib
from dataclasses import dataclass, replace
from typing import Final, Literal

Shape = Literal["round", "heart", "pear", "arc", "rod", "lobed", "star", "lump"]
Skin = Literal["smooth", "freckles", "pores", "patches", "stripes", "net", "beads", "fibres"]
Top = Literal["none", "stem", "tips", "calyx", "crown", "husk"]
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Appearance:
    """Appearance of a category.

    Attributes:
        color: Colour of the skin, RGB.
        blush: Second colour of the skin, RGB. It covers one side and a part of the top.
        shape: Outline of the fruit.
        aspect: Height of the upright fruit divided by its width.
        skin: Pattern of the skin.
        contrast: Strength of the pattern, 0 (none) to 1.
        gloss: Strength of the highlight, 0 (dull) to 1.
        top: Stem or leaves at the upper end.
    """

    color: Rgb
    blush: Rgb
    shape: Shape = "round"
    aspect: float = 1.0
    skin: Skin = "smooth"
    contrast: float = 0.3
    gloss: float = 0.5
    top: Top = "none"


_KINDS: Final[dict[str, Appearance]] = {
    "Apple": Appearance((190, 40, 38), (222, 170, 70), "heart", 0.95, "freckles", 0.35, 0.6, "stem"),
    "Apricot": Appearance((238, 158, 60), (222, 90, 50), "round", 0.97, "smooth", 0.2, 0.25),
    "Avocado": Appearance((78, 104, 40), (46, 60, 28), "pear", 1.35, "pores", 0.5, 0.45, "stem"),
    "Banana": Appearance((232, 194, 52), (172, 160, 50), "arc", 1.0, "freckles", 0.3, 0.35, "tips"),
    "Banana Red": Appearance((158, 66, 54), (120, 52, 50), "arc", 1.0, "freckles", 0.35, 0.35, "tips"),
    "Beetroot": Appearance((104, 30, 52), (70, 30, 40), "pear", 0.95, "fibres", 0.5, 0.2, "husk"),
    "Blueberry": Appearance((58, 66, 112), (110, 120, 160), "round", 0.92, "smooth", 0.25, 0.2, "calyx"),
    "Cactus": Appearance((150, 140, 60), (196, 92, 60), "rod", 1.35, "freckles", 0.6, 0.3),
    "Cantaloupe": Appearance((196, 180, 124), (150, 150, 90), "round", 0.98, "net", 0.6, 0.15),
    "Carambula": Appearance((214, 196, 62), (150, 170, 50), "star", 1.3, "smooth", 0.25, 0.6),
    "Cauliflower": Appearance((226, 220, 196), (196, 196, 150), "lobed", 0.9, "pores", 0.9, 0.1, "husk"),
    "Cherry": Appearance((140, 18, 34), (84, 10, 24), "heart", 0.95, "smooth", 0.15, 0.9, "stem"),
    "Chestnut": Appearance((96, 48, 26), (150, 104, 66), "heart", 0.9, "fibres", 0.35, 0.6),
    "Clementine": Appearance((240, 110, 22), (226, 84, 16), "round", 0.88, "pores", 0.4, 0.5, "calyx"),
    "Cocos": Appearance((104, 74, 46), (72, 50, 32), "round", 1.05, "fibres", 0.9, 0.05),
    "Corn": Appearance((236, 196, 64), (214, 160, 40), "rod", 2.3, "beads", 0.7, 0.4),
    "Corn Husk": Appearance((160, 184, 92), (206, 204, 130), "rod", 2.5, "stripes", 0.6, 0.2, "husk"),
    "Cucumber": Appearance((196, 170, 62), (140, 150, 60), "rod", 2.6, "freckles", 0.4, 0.4),
    "Dates": Appearance((110, 60, 28), (70, 36, 18), "rod", 1.7, "fibres", 0.7, 0.55),
    "Eggplant": Appearance((58, 28, 66), (36, 18, 44), "pear", 1.55, "smooth", 0.15, 0.9, "husk"),
    "Fig": Appearance((84, 60, 82), (120, 128, 70), "pear", 1.1, "stripes", 0.45, 0.2, "stem"),
    "Ginger": Appearance((196, 160, 108), (160, 120, 76), "lump", 0.75, "fibres", 0.6, 0.1),
    "Granadilla": Appearance((222, 140, 46), (180, 96, 40), "round", 1.08, "freckles", 0.5, 0.4, "stem"),
    "Grape": Appearance((190, 196, 92), (150, 160, 66), "round", 1.2, "smooth", 0.2, 0.6),
    "Grapefruit": Appearance((236, 176, 66), (230, 120, 66), "round", 0.93, "pores", 0.45, 0.35),
    "Guava": Appearance((164, 184, 74), (200, 200, 100), "round", 1.12, "pores", 0.5, 0.3, "calyx"),
    "Hazelnut": Appearance((160, 104, 58), (206, 166, 116), "heart", 0.98, "stripes", 0.4, 0.25),
    "Huckleberry": Appearance((44, 36, 66), (78, 66, 100), "round", 0.95, "smooth", 0.2, 0.4, "calyx"),
    "Kaki": Appearance((236, 110, 34), (214, 80, 30), "lobed", 0.85, "smooth", 0.2, 0.6, "calyx"),
    "Kiwi": Appearance((124, 92, 54), (92, 68, 40), "rod", 1.25, "fibres", 0.6, 0.08),
    "Kohlrabi": Appearance((172, 194, 128), (200, 214, 160), "round", 0.9, "stripes", 0.35, 0.2, "crown"),
    "Kumquats": Appearance((240, 146, 30), (222, 110, 24), "rod", 1.35, "pores", 0.4, 0.6),
    "Lemon": Appearance((240, 212, 52), (206, 196, 46), "rod", 1.3, "pores", 0.35, 0.45),
    "Limes": Appearance((146, 166, 74), (96, 136, 62), "round", 1.1, "pores", 0.3, 0.4),
    "Lychee": Appearance((176, 64, 62), (130, 60, 50), "round", 1.05, "beads", 0.6, 0.1, "stem"),
    "Mandarine": Appearance((242, 132, 28), (220, 110, 20), "round", 0.84, "pores", 0.45, 0.45, "calyx"),
    "Mango": Appearance((120, 156, 60), (206, 160, 60), "pear", 1.25, "freckles", 0.4, 0.4),
    "Mangostan": Appearance((74, 34, 44), (100, 54, 50), "round", 0.93, "smooth", 0.3, 0.35, "calyx"),
    "Maracuja": Appearance((116, 70, 96), (150, 110, 84), "round", 1.05, "freckles", 0.5, 0.3),
    "Melon": Appearance((110, 132, 60), (166, 164, 76), "rod", 1.35, "stripes", 0.7, 0.2),
    "Mulberry": Appearance((54, 24, 48), (104, 26, 54), "rod", 1.7, "beads", 0.7, 0.6, "stem"),
    "Nectarine": Appearance((206, 70, 42), (238, 178, 76), "round", 0.98, "freckles", 0.45, 0.5),
    "Nut Forest": Appearance((150, 96, 52), (190, 146, 92), "heart", 1.0, "stripes", 0.45, 0.35),
    "Nut Pecan": Appearance((150, 92, 58), (110, 62, 40), "rod", 1.75, "stripes", 0.6, 0.35),
    "Onion": Appearance((206, 146, 84), (228, 204, 150), "heart", 0.95, "stripes", 0.3, 0.55, "stem"),
    "Orange": Appearance((240, 136, 20), (226, 114, 20), "round", 0.98, "pores", 0.45, 0.4),
    "Papaya": Appearance((150, 160, 60), (226, 160, 50), "pear", 1.4, "patches", 0.5, 0.3),
    "Passion Fruit": Appearance((84, 44, 62), (120, 80, 76), "round", 1.04, "pores", 0.5, 0.3, "stem"),
    "Peach": Appearance((226, 140, 84), (190, 56, 50), "heart", 0.96, "patches", 0.4, 0.1),
    "Pear": Appearance((176, 178, 72), (196, 170, 80), "pear", 1.3, "freckles", 0.5, 0.35, "stem"),
    "Pepino": Appearance((222, 200, 104), (130, 90, 120), "pear", 1.2, "stripes", 0.7, 0.45),
    "Pepper": Appearance((196, 36, 30), (140, 20, 24), "lobed", 1.15, "smooth", 0.2, 0.95, "stem"),
    "Physalis": Appearance((236, 152, 34), (222, 120, 30), "round", 1.0, "smooth", 0.2, 0.7),
    "Physalis with Husk": Appearance((204, 166, 96), (160, 126, 66), "heart", 1.15, "net", 0.55, 0.1, "stem"),
    "Pineapple": Appearance((170, 120, 44), (120, 110, 44), "rod", 1.45, "beads", 0.9, 0.15, "crown"),
    "Pitahaya": Appearance((206, 46, 96), (150, 170, 76), "lobed", 1.2, "patches", 0.7, 0.25, "crown"),
    "Plum": Appearance((84, 44, 84), (120, 60, 90), "round", 1.1, "patches", 0.4, 0.35),
    "Pomegranate": Appearance((190, 56, 50), (216, 140, 80), "lobed", 0.98, "patches", 0.5, 0.35, "calyx"),
    "Pomelo": Appearance((176, 190, 70), (206, 206, 96), "pear", 1.05, "pores", 0.5, 0.3),
    "Potato": Appearance((206, 172, 112), (176, 140, 86), "lump", 0.85, "freckles", 0.6, 0.1),
    "Quince": Appearance((226, 200, 70), (180, 170, 60), "pear", 1.1, "patches", 0.45, 0.2),
    "Rambutan": Appearance((176, 44, 42), (150, 120, 60), "round", 1.1, "net", 0.9, 0.1),
    "Raspberry": Appearance((196, 40, 60), (150, 20, 44), "heart", 1.15, "beads", 0.75, 0.35),
    "Redcurrant": Appearance((206, 24, 30), (160, 14, 20), "round", 1.0, "smooth", 0.25, 0.95, "stem"),
    "Salak": Appearance((110, 66, 40), (72, 42, 28), "heart", 1.2, "beads", 0.8, 0.25),
    "Strawberry": Appearance((210, 34, 36), (226, 90, 50), "heart", 1.25, "beads", 0.55, 0.5, "crown"),
    "Tamarillo": Appearance((150, 34, 34), (206, 84, 40), "rod", 1.5, "smooth", 0.3, 0.6, "stem"),
    "Tangelo": Appearance((240, 106, 24), (226, 84, 16), "pear", 1.05, "pores", 0.4, 0.5),
    "Tomato": Appearance((206, 40, 24), (226, 96, 30), "lobed", 0.88, "smooth", 0.15, 0.9, "calyx"),
    "Walnut": Appearance((166, 124, 86), (120, 84, 56), "round", 1.08, "net", 0.8, 0.1),
    "Watermelon": Appearance((80, 116, 54), (34, 66, 34), "round", 1.02, "stripes", 0.9, 0.4),
}

_COLORS: Final[dict[str, tuple[Rgb, Rgb]]] = {
    "Golden": ((214, 196, 84), (196, 180, 70)),
    "Granny": ((130, 172, 50), (160, 186, 80)),
    "Pink": ((206, 84, 92), (222, 160, 110)),
    "Crimson": ((150, 24, 36), (196, 90, 60)),
    "Braeburn": ((176, 52, 40), (206, 150, 64)),
    "Rainier": ((222, 150, 70), (196, 50, 44)),
    "ripe": ((52, 46, 36), (70, 64, 40)),
    "Lady": ((236, 206, 84), (206, 170, 60)),
    "Black": ((52, 16, 28), (80, 20, 34)),
    "Blue": ((52, 48, 84), (84, 84, 120)),
    "Maroon": ((110, 30, 26), (140, 50, 30)),
    "not": ((130, 150, 60), (190, 140, 50)),
    "Green": ((70, 116, 40), (40, 84, 34)),
    "Orange": ((236, 122, 24), (214, 96, 20)),
    "Yellow": ((238, 196, 40), (220, 160, 36)),
    "White": ((220, 214, 150), (200, 200, 110)),
    "Red": ((176, 40, 40), (130, 28, 36)),
    "Forelle": ((206, 110, 50), (196, 170, 70)),
    "Sweet": ((186, 110, 76), (150, 80, 60)),
    "Meyer": ((240, 190, 46), (230, 160, 40)),
}


def appearance_of(category: str) -> Appearance:
    """Return the appearance of a category: that of its kind, in the colours of its name, slightly varied by its name.

    >>> appearance_of("Apple Red 1").shape, appearance_of("Apple Red 1").color == appearance_of("Apple Golden 1").color
    ('heart', False)

    Raises:
        KeyError: No kind matches the name. All names of categories.csv have one.
    """
    words = category.split()
    kind = category if category in _KINDS else next((key for key in _KINDS if key == " ".join(words[:2])), words[0])
    appearance = _KINDS[kind]
    colors = [_COLORS[word] for word in words[1:] if word in _COLORS and word not in kind.split()]
    if len(colors) > 1:  # "Apple Red Yellow": the first word colours the skin, the last one its blush
        appearance = replace(appearance, color=colors[0][0], blush=colors[-1][0])
    elif colors:
        appearance = replace(appearance, color=colors[0][0], blush=colors[0][1])
    if "Flat" in words:
        appearance = replace(appearance, aspect=appearance.aspect * 0.72)
    return _vary(appearance, category)


def _vary(appearance: Appearance, category: str) -> Appearance:
    """Vary the appearance slightly by a hash of the name, so that varieties of a kind differ."""
    digest = zlib.crc32(category.encode())
    hue, light, aspect, contrast = ((digest >> shift & 0xFF) / 255 - 0.5 for shift in (0, 8, 16, 24))
    return replace(
        appearance,
        color=_shift(appearance.color, hue * 0.03, light * 0.12),
        blush=_shift(appearance.blush, hue * 0.03, light * 0.12),
        aspect=appearance.aspect * (1 + aspect * 0.12),
        contrast=min(1.0, appearance.contrast * (1 + contrast * 0.4)),
    )


def _shift(color: Rgb, hue: float, light: float) -> Rgb:
    h, s, v = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    red, green, blue = colorsys.hsv_to_rgb((h + hue) % 1, s, min(1.0, v * (1 + light)))
    return round(red * 255), round(green * 255), round(blue * 255)

"""What the starter model can draw: everyday names and the single code point that pictures each one, and what they stand on."""

from __future__ import annotations

# name -> emoji code point.  Short human words, one picture each, no people, no skin tones, no flags.
# fmt: off
NAMES: dict[str, int] = {
    # food
    "apple": 0x1F34E, "banana": 0x1F34C, "grapes": 0x1F347, "watermelon": 0x1F349,
    "orange": 0x1F34A, "lemon": 0x1F34B, "pineapple": 0x1F34D, "pear": 0x1F350, "peach": 0x1F351,
    "cherries": 0x1F352, "strawberry": 0x1F353, "tomato": 0x1F345,
    "avocado": 0x1F951, "eggplant": 0x1F346, "carrot": 0x1F955, "corn": 0x1F33D,
    "broccoli": 0x1F966, "mushroom": 0x1F344, "bread": 0x1F35E,
    "cheese": 0x1F9C0, "hamburger": 0x1F354, "fries": 0x1F35F, "pizza": 0x1F355,
    "hot dog": 0x1F32D, "egg": 0x1F95A, "popcorn": 0x1F37F, "donut": 0x1F369,
    "cookie": 0x1F36A, "cake": 0x1F370, "birthday cake": 0x1F382, "cupcake": 0x1F9C1, "chocolate": 0x1F36B,
    "lollipop": 0x1F36D, "ice cream": 0x1F368, "coffee": 0x2615,
    # animals
    "cat": 0x1F431, "dog": 0x1F436, "fox": 0x1F98A, "bear": 0x1F43B, "panda": 0x1F43C, "koala": 0x1F428,
    "tiger": 0x1F42F, "lion": 0x1F981, "cow": 0x1F42E, "pig": 0x1F437, "frog": 0x1F438, "monkey": 0x1F435,
    "rabbit": 0x1F430, "mouse": 0x1F42D, "wolf": 0x1F43A, "unicorn": 0x1F984, "horse": 0x1F40E,
    "zebra": 0x1F993, "elephant": 0x1F418, "giraffe": 0x1F992, "sheep": 0x1F411,
    "chicken": 0x1F414, "penguin": 0x1F427, "owl": 0x1F989,
    "duck": 0x1F986, "turtle": 0x1F422, "snake": 0x1F40D,
    "whale": 0x1F433, "dolphin": 0x1F42C, "fish": 0x1F41F, "shark": 0x1F988, "octopus": 0x1F419,
    "crab": 0x1F980, "butterfly": 0x1F98B, "bee": 0x1F41D, "ladybug": 0x1F41E,
    "dinosaur": 0x1F995,
    # plants, sky, weather
    "tree": 0x1F333, "pine tree": 0x1F332, "palm tree": 0x1F334, "cactus": 0x1F335, "rose": 0x1F339,
    "tulip": 0x1F337, "sunflower": 0x1F33B, "clover": 0x1F340, "maple leaf": 0x1F341, "sun": 0x2600,
    "moon": 0x1F319, "star": 0x2B50, "cloud": 0x2601, "rainbow": 0x1F308, "snowflake": 0x2744,
    "snowman": 0x26C4, "fire": 0x1F525, "volcano": 0x1F30B, "earth": 0x1F30D,
    # travel and places
    "car": 0x1F697, "taxi": 0x1F695, "bus": 0x1F68C, "truck": 0x1F69A, "tractor": 0x1F69C,
    "bicycle": 0x1F6B2, "train": 0x1F682, "airplane": 0x2708, "rocket": 0x1F680,
    "sailboat": 0x26F5, "ship": 0x1F6A2, "anchor": 0x2693, "house": 0x1F3E0,
    "castle": 0x1F3F0, "tent": 0x26FA,
    # things
    "heart": 0x2764, "balloon": 0x1F388, "gift": 0x1F381, "trophy": 0x1F3C6, "crown": 0x1F451,
    "diamond": 0x1F48E, "key": 0x1F511, "lock": 0x1F512, "bell": 0x1F514, "book": 0x1F4D5,
    "pencil": 0x270F, "scissors": 0x2702, "umbrella": 0x2602, "clock": 0x23F0,
    "light bulb": 0x1F4A1, "camera": 0x1F4F7, "television": 0x1F4FA, "computer": 0x1F4BB,
    "telephone": 0x260E, "guitar": 0x1F3B8,
    "soccer ball": 0x26BD, "basketball": 0x1F3C0,
    "robot": 0x1F916, "ghost": 0x1F47B, "alien": 0x1F47D, "skull": 0x1F480, "pumpkin": 0x1F383,
    "hammer": 0x1F528, "hat": 0x1F3A9, "shirt": 0x1F455, "dress": 0x1F457, "shoe": 0x1F45F,
    "glasses": 0x1F453, "bomb": 0x1F4A3, "magnet": 0x1F9F2, "teddy bear": 0x1F9F8,
}

# The names that a short training on a small machine is spent on.
COMMON: tuple[str, ...] = (
    "apple", "banana", "grapes", "watermelon", "orange", "lemon", "pineapple", "pear", "peach", "cherries", "strawberry", "tomato",
    "avocado", "eggplant", "carrot", "corn", "broccoli", "mushroom", "bread", "cheese", "hamburger", "fries", "pizza", "hot dog",
    "egg", "donut", "cookie", "cake", "cupcake", "ice cream", "coffee",
    "cat", "dog", "fox", "bear", "panda", "koala", "tiger", "lion", "cow", "pig", "frog", "monkey", "rabbit", "mouse", "chicken",
    "penguin", "owl", "duck", "turtle", "whale", "fish", "octopus", "crab", "butterfly", "bee", "ladybug",
    "tree", "pine tree", "palm tree", "cactus", "rose", "tulip", "sunflower", "sun", "moon", "star", "cloud", "rainbow", "snowman",
    "fire", "volcano", "earth", "car", "bus", "truck", "airplane", "rocket", "sailboat", "house", "heart", "balloon", "gift",
    "trophy", "crown", "diamond", "key", "bell", "book", "umbrella", "light bulb", "camera", "guitar", "soccer ball", "basketball",
    "robot", "ghost", "alien", "skull", "pumpkin", "hat", "shirt", "bomb", "teddy bear",
)

# colour word -> sRGB of a plain background.
COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "black": (18, 18, 20),
    "grey": (136, 138, 142),
    "red": (214, 40, 44),
    "orange": (247, 140, 28),
    "yellow": (250, 218, 60),
    "green": (52, 162, 70),
    "teal": (22, 142, 142),
    "blue": (38, 92, 206),
    "sky blue": (138, 202, 240),
    "purple": (126, 58, 176),
    "pink": (246, 158, 192),
    "brown": (122, 80, 48),
    "beige": (232, 214, 178),
}
# fmt: on

# landscape -> how a caption says it, after the objects.
LANDSCAPES: dict[str, str] = {
    "grass": " on the grass",
    "sea": " at the sea",
    "snow": " in the snow",
    "desert": " in the desert",
    "night": " at night",
    "sky": " in the sky",
}

UNCHANGED = ("grapes", "cherries", "fries", "glasses", "scissors", "sheep", "fish", "broccoli", "popcorn", "corn")
IRREGULAR = {"mouse": "mice", "wolf": "wolves", "tomato": "tomatoes", "maple leaf": "maple leaves", "snowman": "snowmen"}


def plural(name: str) -> str:
    """Return more than one of a name: "cat" gives "cats", "strawberry" gives "strawberries"."""
    if name in UNCHANGED or name in IRREGULAR:
        return IRREGULAR.get(name, name)
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"

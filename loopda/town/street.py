"""The static world of one place: a street with its lots, furniture and lamps, drawn from one seed."""

from dataclasses import dataclass, field

import numpy as np

from loopda.town import buildings, furniture, lots, plants
from loopda.town.lots import Lot
from loopda.town.texture import cell, cloud, fill, paint
from loopda.town.world import ROAD, SIDEWALK, TERRAIN, UP, Lamp, Quad, Shade, Surface, ground_shadow

BEGIN, END = -24, 150  # metres along the street
PAVED, GREEN, CROSSING = 0, 1, 2  # what lies beyond the pavement

SODIUM, WARM, WHITE = np.array((1.0, 0.52, 0.16)), np.array((1.0, 0.78, 0.50)), np.array((0.92, 1.0, 1.0))


@dataclass
class Street:
    """The dimensions of a street, in metres from the middle of the road; pairs are (left, right)."""

    lane: float
    lanes: int  # per direction
    tracks: bool
    parking: tuple[float, float]
    verge: tuple[float, float]
    front: tuple[float, float]  # end of the pavement
    tall: float
    style: float
    yellow: bool  # crossings are painted yellow
    asphalt: float
    crossing: float | None  # z of the pedestrian crossing
    lots: tuple[list, list] = field(default_factory=lambda: ([], []))

    @property
    def edge(self) -> float:
        """Half the width of the driving lanes."""
        return self.lane * self.lanes

    def kerb(self, side: int) -> float:
        """Where the pavement of side 0 (left) or 1 begins."""
        return self.edge + self.parking[side]


def sample_street(rng: np.random.Generator, needs: frozenset[str], *, city: float, yellow: bool) -> Street:
    """A random street with its lots. `needs`: classes that must be near (wall, fence, terrain, light, train)."""
    tracks = "train" in needs or rng.random() < 0.12
    lanes = 2 if rng.random() < 0.2 else 1
    lane = rng.uniform(2.9, 3.4) if not tracks else rng.uniform(3.3, 3.6)
    parking = tuple(float(rng.choice([0.0, 2.2], p=[0.5, 0.5])) for _ in range(2))
    verge = tuple(float(rng.choice([0.0, rng.uniform(1.0, 2.2)], p=[0.75, 0.25])) for _ in range(2))
    pavement = tuple(float(rng.uniform(2.2, 4.6)) for _ in range(2))
    front = tuple(lane * lanes + parking[i] + verge[i] + pavement[i] for i in range(2))
    street = Street(
        lane=lane, lanes=lanes, tracks=tracks, parking=parking, verge=verge, front=front,
        tall=rng.uniform(9, 22), style=float(np.clip(city + rng.normal(0, 0.25), 0, 1)), yellow=yellow,
        asphalt=rng.uniform(0.075, 0.17),
        crossing=float(rng.uniform(10, 24)) if "light" in needs or rng.random() < 0.45 else None,
    )  # fmt: skip
    green = rng.random() < 0.36
    kinds = ["building", "house", "park", "wall", "fence", "side", "square"]
    chances = np.array(
        [0.26, 0.24, 0.28, 0.05, 0.06, 0.08, 0.03] if green else [0.66, 0.10, 0.10, 0.02, 0.03, 0.06, 0.03]
    )
    wanted = {"wall": "wall", "fence": "fence", "terrain": "park"}
    forced = [wanted[need] for need in sorted(needs & set(wanted))]
    turn = int(rng.integers(2))
    for side in range(2):
        mine = [kind for i, kind in enumerate(forced) if (i + turn) % 2 == side]
        z = float(BEGIN - rng.uniform(0, 10))
        while z < END:
            kind = kinds[int(rng.choice(7, p=chances / chances.sum()))]
            length = float(rng.uniform(9, 22))
            if z > 1 and mine:
                kind = mine.pop()
            if kind == "side":
                length = float(rng.uniform(7, 10))
            street.lots[side].append((kind, z, length))
            z += length
    return street


def ground_of(street: Street) -> Surface:
    """The surface of the ground as a function of x and z: lanes, markings, tracks, kerbs, pavement, grass."""
    metres = np.arange(BEGIN * 2 - 20, END * 2 + 20) / 2
    beyond = np.zeros((2, len(metres)), np.int64)
    for side in range(2):
        for kind, start, length in street.lots[side]:
            inside = (metres >= start) & (metres < start + length)
            green = kind in ("house", "park", "wall", "fence")
            beyond[side][inside] = GREEN if green else CROSSING if kind == "side" else PAVED
    kerb = np.array([street.kerb(0), street.kerb(1)])
    front = np.array(street.front)
    verge = np.array(street.verge)
    line = np.array((0.62, 0.62, 0.60))
    cross_line = np.array((0.66, 0.47, 0.06)) if street.yellow else line

    def surface(x: np.ndarray, z: np.ndarray, footprint: np.ndarray) -> Shade:
        n = len(x)
        side = (x > 0).astype(np.int64)
        away = np.abs(x)
        where = beyond[side, np.clip(((z - metres[0]) * 2).astype(np.int64), 0, len(metres) - 1)]
        k, f, g = kerb[side], front[side], verge[side]
        label = np.full(n, ROAD, np.uint8)
        off_road = (away > k) & (where != CROSSING)
        label[off_road] = SIDEWALK
        grass = off_road & (((away - k - 0.25 < g) & (away - k > 0.25)) | ((away > f) & (where == GREEN)))
        label[grass] = TERRAIN
        fine = np.clip(0.25 / footprint, 0, 1)  # markings and joints fade where a pixel is larger than they are
        grain = 0.85 + 0.3 * cloud(x * 3, z * 3) + 0.16 * (cell(x * 12, z * 12, 1) - 0.5) * fine
        albedo = fill(n, (1.0, 1.0, 1.02)) * (street.asphalt * grain)[:, None]
        patch = cell(x / 1.7, z / 4.3, 4) > 0.9
        albedo *= np.where(patch, 0.78, 1.0)[:, None]
        on_road = label == ROAD
        # where the tyres roll the asphalt is polished
        track = np.abs(np.abs((away / street.lane) % 1 - 0.5) - 0.26) < 0.08
        albedo *= np.where(track & on_road, 1.08, 1.0)[:, None]
        dash = (z % 9 < 4.5) if street.lanes == 1 else np.ones(n, bool)
        marks = on_road & (away < 0.08) & dash & (not street.tracks)
        if street.lanes == 2:
            marks |= on_road & (np.abs(away - street.lane) < 0.07) & (z % 9 < 3.5)
        marks |= (
            on_road & (np.abs(away - street.edge) < 0.06) & (np.array(street.parking)[side] > 0) & (where != CROSSING)
        )
        if street.crossing is not None:
            zebra = on_road & (np.abs(z - street.crossing) < 1.6) & (x % 1.0 < 0.5) & (away < street.edge + 0.3)
            stop = on_road & (np.abs(z - street.crossing + 3.0) < 0.2) & (x > 0) & (away < street.edge)
            paint(albedo, zebra * fine, cross_line)
            marks |= stop
        worn = 0.6 + 0.4 * cloud(x * 20, z * 20)
        paint(albedo, marks * worn * fine, line)
        if street.tracks:
            inner = np.abs(away - street.lane / 2)
            rail = np.abs(inner - 0.72) < 0.05
            paint(albedo, (inner < 0.95) & on_road, np.array((1, 0.98, 0.95)) * street.asphalt * 1.25)
            paint(albedo, rail * fine, (0.05, 0.05, 0.055))
        paving = 0.24 + 0.05 * cell(x / 0.5, z / 0.5, 3) * fine + 0.1 * cloud(x * 4, z * 4)
        joint = ((x % 0.5 < 0.03) | (z % 0.5 < 0.03)) * (fine * np.clip(0.05 / footprint, 0, 1))
        albedo = np.where(
            (label == SIDEWALK)[:, None], (paving * (1 - 0.4 * joint))[:, None] * np.array((1.0, 0.96, 0.9)), albedo
        )
        paint(albedo, (label == SIDEWALK) & (away - k < 0.22), (0.40, 0.39, 0.37))
        blades = cloud(x * 14, z * 14)
        dry = cloud(x * 1.5 + 60, z * 1.5)[:, None]
        green = np.array((0.10, 0.16, 0.04)) * (1 - dry) + np.array((0.22, 0.19, 0.09)) * dry
        return Shade(label, np.where(grass[:, None], green * (0.55 + 0.8 * blades)[:, None], albedo).astype(np.float32))

    return surface


def static_world(
    street: Street, rng: np.random.Generator, eye: np.ndarray, needs: frozenset[str], phase: int
) -> tuple[list[Quad], list[Lamp], tuple[np.ndarray, np.ndarray]]:
    """Quads, lamps and skyline. No random number depends on `eye` or `phase`: every visit shows the same place."""
    quads: list[Quad] = []
    lamps: list[Lamp] = []
    heights = np.zeros((2, END - BEGIN))
    for side in range(2):
        sign = 1 if side else -1
        for kind, start, length in street.lots[side]:
            lot = Lot(
                rng=rng, eye=eye, side=sign, start=start, length=length, front=street.front[side],
                tall=street.tall, style=street.style, quads=quads, lamps=lamps,
            )  # fmt: skip
            top = lots.build_up(lot, kind)
            low = int(np.clip(start - BEGIN, 0, END - BEGIN))
            heights[side, low : int(np.clip(start + length - BEGIN, 0, END - BEGIN))] = top
        _pavement(street, rng, eye, sign, needs, quads)
    _lamps(street, rng, eye, quads, lamps)
    if street.crossing is not None and ("light" in needs or rng.random() < 0.8):
        z = street.crossing - 2.2
        colour = furniture.STEEL[int(rng.integers(4))]
        over = street.lane * 0.5 if rng.random() < 0.4 else None
        for x, above in ((street.kerb(1) + 0.45, over), (-street.kerb(0) - 0.45, None)):
            if x > 0 or rng.random() < 0.7:
                more, light = furniture.traffic_light(x, z, eye, phase=phase, over=above, colour=colour)
                quads += more
                lamps += light
    _far_end(street, rng, quads)
    return quads, lamps, (heights[0], heights[1])


def _pavement(
    street: Street, rng: np.random.Generator, eye: np.ndarray, sign: int, needs: frozenset[str], quads: list[Quad]
) -> None:
    """Signs, poles, bollards and street trees in a row behind the kerb."""
    side = int(sign > 0)
    x0 = street.kerb(side) + 0.45
    colour = furniture.STEEL[int(rng.integers(4))]
    avenue = rng.random() < (0.85 if street.verge[side] else 0.5)
    z = float(rng.uniform(2, 7)) - 14.0
    taken = -100.0
    if "sign" in needs and side:
        taken = float(rng.uniform(7, 11))
        quads += furniture.sign(rng, x0, taken, eye, colour=colour)
    while z < 70:
        x = sign * (x0 + rng.uniform(-0.1, 0.2))
        pick = rng.random()
        if _crossed(street, side, z) or abs(z - taken) < 2.0:
            z += 3.0
            continue
        if avenue and pick < 0.6:
            middle = sign * (street.kerb(side) + max(street.verge[side] / 2, 0.0) + 0.35)
            size = rng.uniform(6.0, 10.5)
            quads += plants.tree(rng, middle, z, eye, size=size)
            quads.append(ground_shadow(middle, z, 0.0, size * 0.6, size * 0.6, 0.35))
        elif pick < 0.86:
            facing = 1 if side or rng.random() < 0.3 else 0
            if facing:
                quads += furniture.sign(rng, x, z, eye, colour=colour, turn=rng.uniform(-0.15, 0.15))
            else:  # signs for the other direction show their grey back
                quads.append(furniture.pole(x, z, eye, height=rng.uniform(2.6, 3.4), width=0.12, colour=colour))
        elif pick < 0.91:
            quads += furniture.signpost(rng, sign * (x0 + 1.0), z, eye, colour=colour)
        else:
            for i in range(int(rng.integers(2, 6))):
                quads.append(furniture.pole(x, z + 1.6 * i, eye, height=0.95, width=0.16, colour=colour))
        z += rng.uniform(5, 13)


def _lamps(street: Street, rng: np.random.Generator, eye: np.ndarray, quads: list[Quad], lamps: list[Lamp]) -> None:
    """Street lamps on one or both sides, of one kind in a street; some are out of order."""
    tone = (SODIUM, WARM, WHITE)[int(rng.choice(3, p=[0.4, 0.35, 0.25]))] * rng.uniform(26, 60)
    height, spacing = rng.uniform(4.6, 6.8), rng.uniform(15, 27)
    colour = furniture.STEEL[int(rng.integers(4))]
    both = int(rng.integers(3))
    z, i = float(BEGIN + rng.uniform(0, spacing)), 0
    while z < 110:
        for side in range(2):
            works = rng.random() < 0.88
            if both == 2 or (both == side) or (both == 1 and i % 2 == side):
                x = (1 if side else -1) * (street.kerb(side) + 0.4)
                if not _crossed(street, side, z):
                    own = tone * rng.uniform(0.85, 1.15)
                    more, light = furniture.street_lamp(
                        rng, x, z, eye, height=height, tone=own, works=works, colour=colour
                    )
                    quads += more
                    lamps += light
        z, i = z + spacing, i + 1


def _far_end(street: Street, rng: np.random.Generator, quads: list[Quad]) -> None:
    """Houses and trees across the end of the street."""
    x = -90.0
    while x < 90:
        width = rng.uniform(12, 26)
        corner = np.array([x, 0.0, float(END) - 2])
        if rng.random() < 0.55:
            height = rng.uniform(8, 16)
            surface = buildings.facade(rng, width, height, shops=False, style=street.style)
        else:
            height = rng.uniform(6, 13)
            surface = plants.hedge(rng, height)
        quads.append(Quad(corner, np.array([1.0, 0, 0]), UP, width, height, surface))
        x += width
    for sign in (-1, 1):  # and behind the lots, so that no gap shows the bare horizon
        z = float(BEGIN)
        while z < END:
            length = rng.uniform(14, 40)
            height = rng.uniform(6, 13)
            corner = np.array([sign * 62.0, 0.0, z + length if sign > 0 else z])
            surface = (
                plants.hedge(rng, height)
                if rng.random() < 0.6
                else buildings.facade(rng, length, height, shops=False, style=street.style)
            )
            quads.append(Quad(corner, np.array([0.0, 0.0, -float(sign)]), UP, length, height, surface))
            z += length


def _crossed(street: Street, side: int, z: float) -> bool:
    """Whether a side street opens at this z."""
    return any(kind == "side" and start - 0.5 <= z <= start + length + 0.5 for kind, start, length in street.lots[side])

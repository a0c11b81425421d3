"""A visit to a place: the camera, and the traffic, parked cars and people at that moment."""

from dataclasses import dataclass

import numpy as np

from loopda.town import people, vehicles
from loopda.town.camera import Camera
from loopda.town.street import Street, ground_of, sample_street, static_world
from loopda.town.world import BUS, TRUCK, Lamp, Quad, Scene


@dataclass(frozen=True)
class Place:
    """A place: its seed, and the rare classes that it or its visits must show; all else follows from the seed."""

    seed: tuple[int, ...]
    needs: frozenset[str]
    city: float  # 0 plaster .. 1 brick
    yellow: bool

    def street(self) -> Street:
        """The street of the place, the same each time."""
        return sample_street(np.random.default_rng([*self.seed, 1]), self.needs, city=self.city, yellow=self.yellow)


# Every sixth image shows each of these for certain, so that even eight images show all classes.
ROUND = (
    {"truck", "fence", "sign", "person"},
    {"bus", "terrain", "light", "bicycle"},
    {"train", "wall", "person"},
    {"rider", "light", "terrain"},
    {"motorcycle", "wall", "sign"},
    {"rider engine", "fence", "bicycle", "light"},
)


def needs_of(index: int, rng: np.random.Generator) -> frozenset[str]:
    """What image `index` of a split must show."""
    extra = {need for need, chance in (("truck", 0.03), ("bus", 0.03), ("sign", 0.3)) if rng.random() < chance}
    return frozenset(ROUND[index % len(ROUND)] | extra)


def sample_camera(street: Street, rng: np.random.Generator, *, style: str) -> Camera:
    """A camera in the ego lane, roughly along it. `style` "target": a wider lens that looks slightly higher."""
    wide = style == "target"
    own = street.lane * (0.5 if street.lanes == 1 or rng.random() < 0.5 else 1.5)
    return Camera(
        x=own + rng.normal(0, 0.2),
        y=rng.uniform(1.3, 1.55),
        z=rng.uniform(-1, 1),
        yaw=rng.normal(0, 0.045),
        pitch=rng.normal(0.0, 0.012),
        focal=rng.uniform(0.53, 0.57) if wide else rng.uniform(0.56, 0.64),
        middle=0.45 if wide else 0.43,
    )


def visit(place: Place, camera: Camera, seed: tuple[int, ...], *, chance: bool = False) -> Scene:
    """The scene of the place at one moment, which `seed` determines: traffic, parked cars, people.

    chance: moving things are random; only the static needs of the place are certain to be there.
    """
    street = place.street()
    eye = camera.position()
    rng = np.random.default_rng([*seed, 3])
    quads, lamps, skyline = static_world(
        street, np.random.default_rng([*place.seed, 2]), eye, place.needs, phase=int(rng.choice(3, p=[0.5, 0.1, 0.4]))
    )
    scene = Scene(
        ground=ground_of(street), quads=quads, lamps=lamps, skyline=skyline, facade_at=street.front, first_metre=-24
    )
    _parked(place, street, camera, rng, scene.quads)
    needs = frozenset() if chance else place.needs
    _traffic(street, camera, rng, needs, scene.quads, scene.lamps)
    _pedestrians(street, camera, rng, needs, scene.quads)
    _riders(street, camera, rng, needs, scene.quads)
    _parked_two_wheelers(street, camera, rng, needs, scene.quads)
    return scene


def _parked(place: Place, street: Street, camera: Camera, rng: np.random.Generator, quads: list[Quad]) -> None:
    """Cars along the kerb; half of them belong to the place and are the same on every visit."""
    residents = np.random.default_rng([*place.seed, 4])
    for side in range(2):
        if not street.parking[side]:
            continue
        z = -14.0 + residents.uniform(0, 5)
        while z < 75:
            resident = residents.random() < 0.4
            own = residents.integers(1 << 30)
            other, present = rng.integers(1 << 30), rng.random() < 0.45
            near_light = street.crossing is not None and abs(z - street.crossing) < 6
            if (resident or present) and not near_light and not _opens(street, side, z):
                car = np.random.default_rng(int(own if resident else other))
                body = vehicles.truck_body(car) if car.random() < 0.015 else vehicles.car_body(car)
                x = (1 if side else -1) * (street.edge + street.parking[side] / 2 + car.normal(0, 0.06))
                heading = (0.0 if side else np.pi) + car.normal(0, 0.02)
                quads += vehicles.vehicle(car, body, x, z, heading, moving=False)[0]
            z += 6.0


def _opens(street: Street, side: int, z: float) -> bool:
    return any(kind == "side" and start - 3 <= z <= start + length + 3 for kind, start, length in street.lots[side])


def _traffic(
    street: Street,
    camera: Camera,
    rng: np.random.Generator,
    needs: frozenset[str],
    quads: list[Quad],
    lamps: list[Lamp],
) -> None:
    """Moving vehicles in the ego direction and oncoming; required classes come first in their lane."""

    def add(body: vehicles.Body, x: float, z: float, angle: float) -> None:
        more, light = vehicles.vehicle(rng, body, x, z, angle + rng.normal(0, 0.015), moving=True)
        quads.extend(more)
        lamps.extend(light)

    def any_body() -> vehicles.Body:
        pick = rng.random()
        if pick < 0.03:
            return vehicles.truck_body(rng)
        return vehicles.bus_body(rng) if pick < 0.05 else vehicles.car_body(rng)

    big = [need for need in vehicles.LARGE if need in needs]
    for lane in range(street.lanes):
        for way in (1, -1):
            x = way * street.lane * (lane + 0.5)
            own = abs(x - camera.x) < street.lane * 0.6
            z = camera.z + (rng.uniform(9, 32) if own else rng.uniform(5, 26))
            first = None
            if big and lane == 0:
                first = vehicles.LARGE[big.pop(0)](rng)
                z = camera.z + rng.uniform(*((13, 26) if way == 1 else (8, 20))) + first.length / 2
            free = rng.random() < (0.3 if own else 0.25)
            for i in range(4):
                if first is None and free:
                    break
                body = first if i == 0 and first is not None else any_body()
                z += 0 if i == 0 else body.length / 2
                if body.label in (BUS, TRUCK) and not first and own:
                    z += 8
                if z > 95:
                    break
                add(body, x + rng.normal(0, 0.15), z, 0.0 if way == 1 else np.pi)
                z += body.length / 2 + rng.uniform(3, 25)


def _pedestrians(
    street: Street, camera: Camera, rng: np.random.Generator, needs: frozenset[str], quads: list[Quad]
) -> None:
    """Groups of one to three on the pavement, and people on the crossing; where needed, two groups are near."""
    eye = camera.position()
    needed = 2 if "person" in needs else 0
    for number in range(int(rng.poisson(4.5)) + needed):
        side = int(rng.integers(2))
        away = rng.uniform(5, 11) if number < needed else float(np.exp(rng.uniform(np.log(5), np.log(50))))
        low, high = street.kerb(side) + 0.6, street.front[side] - 0.3
        x = (1 if side else -1) * float(rng.uniform(low, max(high, low + 0.2)))
        z = camera.z + away
        for _ in range(int(rng.choice([1, 2, 3], p=[0.7, 0.22, 0.08]))):
            quads += people.pedestrian(rng, x, z, eye)
            x, z = x + rng.uniform(0.35, 0.6), z + rng.uniform(-0.3, 0.6)
    if street.crossing is not None and rng.random() < 0.35:
        for _ in range(int(rng.integers(1, 4))):
            x, z = rng.uniform(-street.edge, street.edge), street.crossing + rng.uniform(-1.2, 1.2)
            quads += people.pedestrian(rng, x, z, eye)


def _riders(street: Street, camera: Camera, rng: np.random.Generator, needs: frozenset[str], quads: list[Quad]) -> None:
    """Riders along the kerb; some cross the road."""
    rides = [
        ("rider" in needs, False),
        ("rider engine" in needs, True),
        (rng.random() < 0.1, False),
        (rng.random() < 0.04, True),
    ]
    for engine in [engine for wanted, engine in rides if wanted]:
        oncoming = rng.random() < 0.45
        if oncoming:
            x = -rng.uniform(0.8, street.edge - 0.5)
        else:
            x = rng.uniform(max(camera.x + 0.9, street.edge - 0.9), max(camera.x + 1.0, street.edge - 0.3))
        z = camera.z + rng.uniform(5.5, 12)
        if rng.random() < 0.25:  # one who crosses
            z = camera.z + rng.uniform(7, 12)
            quads += people.bicycle(rng, x * 0.5, z, 0.0, ridden=True, engine=engine, moving=True)
        else:
            quads += people.rider(rng, x, z, camera.position(), engine=engine, oncoming=oncoming)


def _parked_two_wheelers(
    street: Street, camera: Camera, rng: np.random.Generator, needs: frozenset[str], quads: list[Quad]
) -> None:
    """Rows of one to three bicycles or motorcycles at the kerb."""
    stands = [
        ("bicycle" in needs, False),
        ("motorcycle" in needs, True),
        (rng.random() < 0.25, False),
        (rng.random() < 0.05, True),
    ]
    for engine in [engine for wanted, engine in stands if wanted]:
        side = int(rng.integers(2)) if street.parking[1] else 1
        x = (1 if side else -1) * (street.kerb(side) + (0.7 if engine else 1.0))
        z = camera.z + rng.uniform(4.5, 9)
        for _ in range(int(rng.integers(1, 4))):
            quads += people.bicycle(rng, x, z, rng.uniform(-0.5, 0.5), ridden=False, engine=engine)
            z += rng.uniform(0.7, 1.2)

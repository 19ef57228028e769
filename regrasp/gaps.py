"""Gap profiles: how a simulated cell differs from the one that everything was trained around. Read by `stack`.

A profile is a YAML file of numbers or [low, high]; what is a range is drawn anew for every episode, from the episode's
seed and the profile's name alone, so that every arm of an evaluation meets the same cells.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from core.arrays import Floats
from core.errors import ConfigError, unknown_name
from core.worlds import DomainParams
from sim.cameras import CAMERA_NAMES, CameraSlip, Light

Range = tuple[float, float]
"""Low and high; the same twice for what does not vary."""
NAMED = ("nominal", "lab", "harsh")
"""Profiles that ship."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One episode's cell."""

    domain: DomainParams
    """Physics, one row."""
    observation_latency_s: float
    """Age of readings and images when they arrive [s]."""
    tracker_noise_m: float
    """Added to tracked positions, standard deviation per axis [m]."""
    tracker_dropout: float
    """Probability that an object is not found in a tick."""
    slips: Mapping[str, CameraSlip]
    """How wrongly each camera is mounted."""
    light: Light
    seed: int
    """Of the tracker's noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapProfile:
    """What a gap is drawn from; the defaults are the nominal cell."""

    name: str
    friction_scale: Range = (1.0, 1.0)
    """Friction of every object and fingertip, dimensionless."""
    mass_scale: Range = (1.0, 1.0)
    """Mass of every object, dimensionless."""
    actuator_gain_scale: Range = (1.0, 1.0)
    """Gains of the joint servos, dimensionless."""
    action_latency_s: Range = (0.0, 0.0)
    """Delay from command to motion [s]."""
    observation_latency_s: Range = (0.0, 0.0)
    """Age of readings and images when they arrive [s]."""
    tracker_noise_m: Range = (0.0, 0.0)
    """Added to tracked positions, standard deviation per axis [m]."""
    tracker_dropout: Range = (0.0, 0.0)
    """Probability that an object is not found in a tick."""
    camera_shift_m: Range = (0.0, 0.0)
    """Each camera sits so far from where the calibration says, in a random direction [m]."""
    camera_rot_deg: Range = (0.0, 0.0)
    """And is turned so far, about a random axis [deg]."""
    light_scale: Range = (1.0, 1.0)
    """Brightness of every light, dimensionless."""
    table_height_m: Range = (0.0, 0.0)
    """Table top above where the calibration says [m]."""
    joint_offset_rad: Range = (0.0, 0.0)
    """How far each joint is turned beyond what its encoder says, drawn for each by itself [rad]."""
    gripper_friction_scale: Range = (1.0, 1.0)
    """Friction of the fingertips on top of `friction_scale`, dimensionless."""

    def draw(self, seed: int) -> Gap:
        """Returns the cell of the episode with this seed."""
        digest = sha256(self.name.encode()).digest()
        rng = np.random.default_rng([seed, int.from_bytes(digest[:8])])
        drawn = {name: float(rng.uniform(*getattr(self, name))) for name in KEYS if name != "joint_offset_rad"}
        domain = DomainParams(
            friction_scale=np.array([drawn["friction_scale"]]),
            mass_scale=np.array([drawn["mass_scale"]]),
            gain_scale=np.array([drawn["actuator_gain_scale"]]),
            action_latency_s=np.array([drawn["action_latency_s"]]),
            table_height_m=np.array([drawn["table_height_m"]]),
            gripper_friction_scale=np.array([drawn["gripper_friction_scale"]]),
            joint_offset_rad=rng.uniform(*self.joint_offset_rad, (1, 7)),
        )
        turn_rad = float(np.radians(drawn["camera_rot_deg"]))
        return Gap(
            domain=domain,
            observation_latency_s=drawn["observation_latency_s"],
            tracker_noise_m=drawn["tracker_noise_m"],
            tracker_dropout=drawn["tracker_dropout"],
            slips={
                name: CameraSlip(shift_m=drawn["camera_shift_m"] * _heading(rng), turn_rad=turn_rad * _heading(rng))
                for name in CAMERA_NAMES
            },
            light=Light(brightness=drawn["light_scale"]),
            seed=int(rng.integers(2**40)),
        )


_ALLOWED = {
    "friction_scale": (0.1, 10.0, "1"),
    "mass_scale": (0.1, 10.0, "1"),
    "actuator_gain_scale": (0.1, 3.0, "1"),
    "action_latency_s": (0.0, 0.2, "s"),
    "observation_latency_s": (0.0, 0.2, "s"),
    "tracker_noise_m": (0.0, 0.05, "m"),
    "tracker_dropout": (0.0, 0.95, "1"),
    "camera_shift_m": (0.0, 0.1, "m"),
    "camera_rot_deg": (0.0, 30.0, "deg"),
    "light_scale": (0.1, 3.0, "1"),
    "table_height_m": (-0.05, 0.05, "m"),
    "joint_offset_rad": (-0.1, 0.1, "rad"),
    "gripper_friction_scale": (0.1, 10.0, "1"),
}
KEYS = tuple(f.name for f in fields(GapProfile) if f.name != "name")
"""What a profile may say, in the order in which it is drawn."""


def find_gap(given: str) -> GapProfile:
    """Returns a profile by name, or from a YAML file.

    Args:
        given: One of `NAMED`, or a path that ends in .yaml or .yml.

    Raises:
        ConfigError: No such profile or file, or something in it is wrong; says where and what is allowed.
    """
    if Path(given).suffix in (".yaml", ".yml"):
        return read_gap(Path(given))
    if given not in NAMED:
        raise unknown_name("gap profile (or a .yaml file)", given, NAMED)
    checkout, *above = Path(__file__).resolve().parents[1:]
    installed = [root / "share/runtime/config/gaps" for root in (Path(sys.prefix), *above)]
    folder = next((p for p in (checkout / "config/gaps", *installed) if p.is_dir()), checkout / "config/gaps")
    return read_gap(folder / f"{given}.yaml")


def read_gap(path: Path) -> GapProfile:
    """Returns the profile in a YAML file, named as the file; keys left out are nominal.

    Raises:
        ConfigError: No such file, no YAML, an unknown or repeated key, a value that is no number or range, or is not
            allowed; says where and what is.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read gap profile {path}: {error}; give one of {NAMED} or a YAML file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"gap profile {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"gap profile {path} holds no `key: value` lines; allowed keys: {', '.join(KEYS)}")
    lines: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name not in KEYS:
            raise unknown_name(f"key in {path}:{line}", name, KEYS)
        if name in lines:
            raise ConfigError(f"{path}:{line}: {name} is there twice, first in line {lines[name]}; keep one")
        lines[name] = line
    found = {name: _range(f"{path}:{line}: {name}", name, data[name]) for name, line in lines.items()}
    return GapProfile(name=path.stem, **found)


def _range(where: str, name: str, value: Any) -> Range:
    """Returns a number or a pair of numbers as a checked range."""
    low, high, unit = _ALLOWED[name]
    wanted = f"a number or [low, high] within [{low:g}, {high:g}] {unit}"
    pair = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in pair):
        raise ConfigError(f"{where} is {value!r}; expected {wanted} (1e-3 is written 0.001)")
    first, last = float(pair[0]), float(pair[1])
    if not low <= first <= last <= high:
        raise ConfigError(f"{where} is {value!r}; expected {wanted}, low first")
    return first, last


def _heading(rng: np.random.Generator) -> Floats:
    """Returns a random unit vector (3,)."""
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))

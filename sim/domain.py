"""Applies domain parameters to single worlds of a batch. Used by `sim.world`."""

import mujoco.batch
import numpy as np

from core.arrays import Floats, Ints
from core.worlds import DomainParams
from sim.arm_parts import KP
from sim.cell import Cell


class DomainFields:
    """Per-world model fields; they stay shared until the first world that is not nominal.

    Args:
        batch: The batch to change.
        cell: Its cell.
    """

    def __init__(self, batch: mujoco.batch.Batch, cell: Cell) -> None:
        self._batch, self._cell, self._expanded = batch, cell, False

    def apply(self, ids: Ints, domain: DomainParams) -> None:
        """Gives worlds `ids` (M,) the parameters in `domain`, one row per id.

        Latency is the controller's business, and joint offsets are the world's.
        """
        if not self._expanded and _is_nominal(domain):
            return
        self._expanded = True
        model = self._cell.model
        geoms, bodies, servos = self._cell.material_geoms, self._cell.object_bodies, np.arange(len(KP))
        self._scale("geom_friction", model.geom_friction, ids, geoms, domain.friction_scale)
        grip = domain.friction_scale * domain.gripper_friction_scale
        self._scale("geom_friction", model.geom_friction, ids, self._cell.grip_geoms, grip)
        self._scale("body_mass", model.body_mass, ids, bodies, domain.mass_scale)
        self._scale("body_inertia", model.body_inertia, ids, bodies, domain.mass_scale)
        self._scale("actuator_gainprm", model.actuator_gainprm, ids, servos, domain.gain_scale)
        self._scale("actuator_biasprm", model.actuator_biasprm, ids, servos, domain.gain_scale)
        table = model.geom("table").id
        height = self._batch.expand("geom_pos")
        height[ids, table, 2] = model.geom_pos[table, 2] + domain.table_height_m
        self._batch.set_const(ids)

    def _scale(self, name: str, nominal: Floats, ids: Ints, rows: Ints, scale: Floats) -> None:
        values = self._batch.expand(name)
        factor = scale.reshape(-1, *[1] * (values.ndim - 1))
        values[np.ix_(ids, rows)] = nominal[rows] * factor


def _is_nominal(domain: DomainParams) -> bool:
    scales = (domain.friction_scale, domain.mass_scale, domain.gain_scale, domain.gripper_friction_scale)
    return all(bool((s == 1.0).all()) for s in scales) and not domain.table_height_m.any()

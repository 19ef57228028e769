"""Who drives: one pure choice a tick, and why nobody may in this one. Called by the loop before the guard.

What is decided here follows from recorded values alone, so a replay decides the same.
"""

from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Floats
from core.flow import Arrived, Observation, OperatorCommand, OperatorInput, Phase, Source
from core.robots import ActionSpace, ResidualSpace
from runtime.phases import HOLDS

_HALTS = frozenset({OperatorCommand.STOP, OperatorCommand.HOLD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who asked for what."""

    source: Source
    action: Floats
    """Shape (A,), in the action space's units, finite."""
    note: str = ""
    """Why an answer was refused, "" when none was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How old sensing may be for the arm to move on it; what is older holds the arm for this tick and no longer."""

    cameras: tuple[str, ...]
    """Cameras that must deliver."""
    robot_s: float
    """Oldest allowed robot state [s]."""
    image_s: float
    """Oldest allowed image [s]."""

    def objection(self, obs: Observation, now_ns: int) -> str:
        """Returns why nothing may move in this tick, "" when it may.

        Args:
            obs: What was measured.
            now_ns: When the tick began [ns].
        """
        if obs.fault:
            return f"arm cannot follow: {obs.fault}"
        found = _too_old("robot state", now_ns - obs.t_ns, self.robot_s)
        for camera in self.cameras:
            if found:
                break
            if camera not in obs.image_t_ns:
                return f"stale observation: no image of {camera} yet"
            found = _too_old(f"image of {camera}", now_ns - obs.image_t_ns[camera], self.image_s)
        return found


def _too_old(what: str, age_ns: int, allowed_s: float) -> str:
    if age_ns <= allowed_s * 1e9:
        return ""
    return f"stale observation: {what} is {age_ns * 1e-6:.0f} ms old; allowed {allowed_s * 1e3:.0f} ms"


def halted(operator: OperatorInput | None) -> bool:
    """Whether the person asks to stop or hold in this very tick."""
    return operator is not None and operator.command in _HALTS


def choose(
    *,
    phase: Phase,
    space: ActionSpace,
    obs: Observation,
    arrived: Arrived,
    base: Floats | None,
    residual_space: ResidualSpace | None,
    objection: str = "",
) -> Choice:
    """Returns the action of this tick; whatever is missing or unsound becomes a hold.

    Args:
        phase: Phase of this tick.
        space: The action space.
        obs: What was measured.
        arrived: The answers of the ports.
        base: The base policy's action (A,), None when no chunk covers this instant.
        residual_space: How to compose while recovering, None when no skill is active.
        objection: Why nothing may move in this tick, "" when it may.
    """
    still = Choice(source=Source.HOLD, action=space.still(obs.gripper_command))
    if halted(arrived.operator) or phase in HOLDS:
        return still
    if objection:
        return Choice(source=Source.HOLD, action=still.action, note=objection)
    if phase is Phase.RUNNING and base is not None:
        return Choice(source=Source.POLICY, action=base)
    if phase is Phase.RECOVERING and base is not None and residual_space is not None:
        return _composed(space, residual_space, base, arrived.correction, still)
    if phase is Phase.OPERATOR and arrived.operator is not None and arrived.operator.action is not None:
        return _driven(space, arrived.operator.action, still)
    return still


def paced(choice: Choice, pace: float) -> Choice:
    """Returns the choice with the motion of a policy or skill slowed down; people drive at their own speed.

    Args:
        choice: What was chosen; its last dim, the gripper, is never slowed.
        pace: Share of the trained speed, (0, 1].
    """
    if pace == 1.0 or choice.source not in (Source.POLICY, Source.RESIDUAL):
        return choice
    return replace(choice, action=np.append(choice.action[:-1] * pace, choice.action[-1]))


def _composed(
    space: ActionSpace, residual_space: ResidualSpace, base: Floats, correction: Floats | None, still: Choice
) -> Choice:
    problem = correction_flaw(space, residual_space, correction)
    if correction is None or problem:
        return Choice(source=Source.HOLD, action=still.action, note=problem)
    return Choice(source=Source.RESIDUAL, action=residual_space.compose(space, base, correction))


def correction_flaw(space: ActionSpace, residual_space: ResidualSpace, correction: Floats | None) -> str:
    """Returns why a residual's answer cannot be used, "" when it can.

    Args:
        space: The action space.
        residual_space: Which dims it may move.
        correction: Its answer, None when there was none.
    """
    if correction is None:
        return "no correction: the scene is unknown"
    if correction.shape != (space.size,) or not np.isfinite(correction).all():
        return f"correction refused: shape {correction.shape}, {correction}; expected ({space.size},), finite"
    if np.abs(correction).max() > 1.0 + 1e-6:
        return f"correction refused: {np.abs(correction).max():.3g} exceeds 1"
    outside = np.delete(correction, list(residual_space.dims))
    return "correction refused: it moves dims outside its space" if outside.any() else ""


def _driven(space: ActionSpace, action: Floats, still: Choice) -> Choice:
    if action.shape != (space.size,):
        note = f"operator action refused: shape {action.shape}; expected ({space.size},)"
        return Choice(source=Source.HOLD, action=still.action, note=note)
    return Choice(source=Source.OPERATOR, action=action)

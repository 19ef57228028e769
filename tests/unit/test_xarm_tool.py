"""Where our tool is, whatever tool the box was told of."""

import numpy as np
import pytest

from bridge.xarm.config import BoxSafety
from bridge.xarm.tool import at_tool
from bridge.xarm.units import quat_from_rpy
from core.kinematics import HOME_RAD, forward
from core.transforms import quat_conjugate, quat_multiply, quat_rotate

OURS = BoxSafety().tcp_offset
BENT = HOME_RAD + np.array([0.3, 0.2, -0.4, 0.1, 0.5, -0.3, 0.7])
NONE = (0.0,) * 6


@pytest.fixture
def tool():
    pos, quat = forward(BENT[None])
    return pos[0], quat[0]


def told(tool, offset):
    """What a box says that knows a tool with this offset."""
    flange_pos, flange = tool[0] - quat_rotate(tool[1], np.array(OURS[:3])), tool[1]
    return flange_pos + quat_rotate(flange, np.array(offset[:3])), quat_multiply(flange, quat_from_rpy(offset[3:]))


@pytest.mark.parametrize("offset", [NONE, OURS, (0.03, -0.02, 0.1, 0.4, -0.2, 1.1)])
def test_our_tool_is_found_from_the_pose_of_any_other(tool, offset):
    pos, quat = at_tool(*told(tool, offset), offset, OURS)
    assert pos == pytest.approx(tool[0], abs=1e-9)
    assert abs(quat_multiply(quat, quat_conjugate(tool[1]))[3]) == pytest.approx(1.0, abs=1e-9)


def test_a_box_that_knows_no_tool_is_off_by_the_length_of_ours(tool):
    bare, _ = told(tool, NONE)
    assert np.linalg.norm(tool[0] - bare) == pytest.approx(0.172)

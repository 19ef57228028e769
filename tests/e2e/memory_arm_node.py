"""An arm node's process around an arm in memory, for tests of the node without a controller."""

import sys

from bridge.ros.arm_node import ArmDevice, ArmNodeConfig, run_arm
from core.clock import MonotonicClock
from core.fake_arm import FakeArm


def memory_arm(config: ArmNodeConfig) -> ArmDevice:
    arm = FakeArm(MonotonicClock())
    return ArmDevice(arm=arm, stop=arm.stop)


if __name__ == "__main__":
    sys.exit(run_arm(sys.argv, memory_arm))

"""The real arm: a `core.ports.JointArm` over the vendor's SDK, with its own wall of limits."""

"""The xArm cell in MuJoCo: worlds, cameras, tasks, failures, demonstrations, and the simulated robot."""

"""The controller twin: a process that answers the xArm protocol with the simulated cell behind it, in real time."""

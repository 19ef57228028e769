"""The commands: wires the rooms together, lives through episodes, measures them, and reports. Nobody imports it."""

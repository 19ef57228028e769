"""Processes of a running robot that this project wires itself. Each is run as `python -m regrasp.nodes.NAME`."""

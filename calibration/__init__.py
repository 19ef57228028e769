"""Measures the cell and keeps one bundle of it; never knows who uses the bundle."""

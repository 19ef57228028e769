"""Detectors: each looks at one step at a time, reports, and never acts."""

"""Runners: emitted folder x inputs -> Run, one file each."""

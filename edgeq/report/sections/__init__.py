"""Sections of the report, one file each, found by scanning this folder."""

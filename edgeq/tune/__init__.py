"""Tuning: what searches over the whole path and calls it as a black box."""

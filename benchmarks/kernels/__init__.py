"""Figures of single kernels. Every module has ``measure() -> dict[str, float]``."""

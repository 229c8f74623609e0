"""How constants are computed from dark frames: numpy and numba, no store, no files."""

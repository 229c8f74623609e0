"""The version of calstore, and nothing else."""

__version__ = "0.1.0"

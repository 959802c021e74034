"""How a host says that it came to the end of a run."""

RECEIPT = "POOLWARD_RECEIPT"
"""Environment variable: the file in which each host that reached the end of the run is noted."""

"""The thinking: pure, synchronous, without clock or I/O. What to do next is decided here and nowhere else."""

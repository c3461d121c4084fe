"""One run: global memory, on-chip memory, launches, blocks that run as one, pipes between cores."""

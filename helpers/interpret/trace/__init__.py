"""The record of a run and its readers: who touched what, who waits for whom."""

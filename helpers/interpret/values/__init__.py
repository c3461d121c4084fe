"""What names hold while a kernel runs: windows, tiles, numbers of many blocks at once, and their data."""

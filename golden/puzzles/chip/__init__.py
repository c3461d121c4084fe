"""The chip: many cores, who waits for whom, and who has how much to do."""

"""What the notebooks lean on: exercises, defects to find, and how notebooks are run and stored."""

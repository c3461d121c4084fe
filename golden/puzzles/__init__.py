"""What is asked in each puzzle, and its golden: a module a puzzle, in the folder of its part."""

"""The cube: products, sums over K, and the hand-over to the vector cores."""

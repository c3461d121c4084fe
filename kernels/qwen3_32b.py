"""Widths of the 32B shape at which pull request 90 measured scope 3, which kernels/mlp.py also serves.

Source: PR 90 of hw-native-sys/pypto-lib. Qwen3-32B itself is narrower (hidden_size 5120 in its config.json,
with 64 layers); the pull request calls its shape after it. Sizes are in elements.
"""

HIDDEN = 8192
INTERMEDIATE = 25600

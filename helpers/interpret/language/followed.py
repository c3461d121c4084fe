"""Which PyPTO, which assembler and which runtime interpret mode follows: the one place that names them.

Where a comment says "PyPTO", "the assembler" or "tried", it is of these. Who moves on to a later PyPTO changes this
file, and runs the tests that need PyPTO: they say what is another way there.
"""

PYPTO = "e2d0f78a"  # the commit of hw-native-sys/pypto
PYPTO_DATE = "2026-08-21"
ASSEMBLER = "0.57"  # ptoas, the version that this PyPTO pins
ASSEMBLER_COMMIT = "77c0afe2"
SIMPLER = "93adc386"  # the runtime, the commit of hw-native-sys/simpler that this PyPTO pins

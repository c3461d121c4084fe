"""How torch's threads wait for each other. Imported before torch is, for the first import of torch reads it."""

import os

# They spin while they wait, which on a busy machine costs more than the work. This is only a default.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

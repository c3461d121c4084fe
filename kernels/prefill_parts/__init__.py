"""The parts that the versions of stage prefill are made of."""

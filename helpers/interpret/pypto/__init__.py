"""The modules that are served as `pypto.*` where PyPTO is not installed, and the kernels they make callable."""

"""The text of kernels: bound when they are decorated, read as an AST, and where an error about it points."""

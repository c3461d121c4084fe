"""What is certain about a kernel while it is compiled: its function, its names, where in it the lowering is."""

"""The parts of `lower`, each a class that `Lowering` is made of: statements, loops, scopes, expressions, calls."""

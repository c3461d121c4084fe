"""The language as data: types, names, signatures, what each operation takes, and what decorators leave."""

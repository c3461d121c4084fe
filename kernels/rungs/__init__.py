"""Kernels between two versions of a ladder: each differs from its neighbours in one thing.

A version of a stage changes several things of the one before. These make the changes one at a time, so that the
notebooks can say what each is worth. `helpers.course.ladders` has the order in which they are climbed.
"""

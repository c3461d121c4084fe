"""Attention and its neighbours: the steps of a decoder, one by one."""

"""The sanitizers: what each looks for, and how it makes sure."""

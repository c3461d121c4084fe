"""Real PyPTO behind the same switch: its compiler, its simulators and the NPU, each in a process of its own.

`run` runs a kernel there, `compile` asks the compiler alone. `worker` is the far side: the only module that imports
PyPTO, and it does so in another process, because PyPTO takes one backend a process and a simulator can crash or
hang. `process` starts, watches and ends those processes; `artifacts` reads what the
compiler wrote and `records` what a run recorded.
"""

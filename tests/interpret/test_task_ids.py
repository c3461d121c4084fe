"""What deps= waits for: ids that loops and arms of ifs carry, arrays of ids, and which of them a line can name.

Every kernel here was compiled with PyPTO e2d0f78a. Its generated orchestration has the edges of WAITS, and it refuses
what is refused here but for four: it takes an element that an array does not have, a number in an array of ids, the ids
of a whole loop in an element (it puts in what the name was before the loop) and loops of different lengths that bind
one id (it loses the edge).
"""

from __future__ import annotations

import kernelgen
import pytest
import torch
from kernelgen import kernel
from test_dry import dry

from helpers.chips import chip
from helpers.errors import FaultError, KernelError
from helpers.interpret.call import interpret
from helpers.interpret.trace import depend
from helpers.interpret.trace.trace import Trace

HEAD = """
N = 4


@pl.jit.inline
def row(x: pl.Tensor[[64, 16], pl.FP32], out: pl.Tensor[[64, 16], pl.FP32], n: pl.Scalar[pl.INDEX]):
    last = None
    for i in pl.parallel(n):
        with pl.at(level=pl.Level.CORE_GROUP, name_hint="in_row") as tid:
            out[i : i + 1, :] = pl.mul(x[i : i + 1, :], 2.0)
        last = tid
    with pl.at(level=pl.Level.CORE_GROUP, name_hint="after_row", deps=[last]):
        out[8:9, :] = pl.mul(x[8:9, :], 2.0)
    return out


@pl.jit.inline
def made(x: pl.Tensor[[64, 16], pl.FP32], out: pl.Tensor[[64, 16], pl.FP32]):
    with pl.at(level=pl.Level.CORE_GROUP) as tid:
        out[1:2, :] = pl.mul(x[1:2, :], 2.0)
    return out, tid


@pl.jit
def k(x: pl.Tensor[[64, 16], pl.FP32], c: pl.Tensor[[4, 1], pl.INT32], n: pl.Scalar[pl.INT32],
      out: pl.Out[pl.Tensor[[64, 16], pl.FP32]]):
    with pl.manual_scope():
"""

TAIL = "    return out\n"


def lines(body: str) -> str:
    """`task(r)` is one task that writes row r, `task(r; deps) as tid` one that waits and binds its id."""
    out = []
    for line in body.strip("\n").splitlines():
        indent, text = line[: len(line) - len(line.lstrip())], line.strip()
        if not text.startswith("task("):
            out.append(line)
            continue
        inside, _, name = text[5:].rpartition(") as ") if ") as " in text else (text[5:-1], "", "")
        at, _, deps = inside.partition("; ")
        given = f", deps={deps}" if deps else ""
        out.append(f"{indent}with pl.at(level=pl.Level.CORE_GROUP{given}){' as ' + name if name else ''}:")
        out.append(f"{indent}    out[{at} : {at} + 1, :] = pl.mul(x[{at} : {at} + 1, :], 2.0)")
    return "\n".join("        " + line for line in out) + "\n"


def source(body: str) -> str:
    """A kernel with this in a manual scope, or, where it begins with `auto`, without one."""
    text = lines(body)
    if body.strip().startswith("auto"):
        text = "\n".join(t[4:] for t in lines(body).splitlines()[1:]) + "\n"
        return HEAD.replace("    with pl.manual_scope():\n", "") + text + TAIL
    return HEAD + text + TAIL


def given() -> list:
    return [torch.randn(64, 16), torch.tensor([[1], [0], [1], [0]], dtype=torch.int32), 4, torch.zeros(64, 16)]


def waits(trace: Trace) -> dict[int, list[int]]:
    """Of each launch that waits: for which."""
    out: dict[int, list[int]] = {}
    for e in depend.declared(trace):
        out.setdefault(e.later, []).append(e.earlier)
    return {later: sorted(found) for later, found in sorted(out.items())}


WAITS = {
    "a pl.parallel stands for all its turns": ("""
last = None
for i in pl.parallel(4):
    task(i) as tid
    last = tid
task(8; [last])
""", {4: [0, 1, 2, 3]}),
    "in the loop an id is what it was before": ("""
task(8) as prev
for i in pl.parallel(4):
    task(i; [prev]) as tid
    prev = tid
""", {1: [0], 2: [0], 3: [0], 4: [0]}),
    "phases that wait for all of the phase before": ("""
prev = None
for p in pl.range(3):
    for b in pl.parallel(4):
        task(p * 4 + b; [prev]) as tid
        prev = tid
task(20; [prev])
""", {4 * p + b: [4 * p - 4 + i for i in range(4)] for p in (1, 2) for b in range(4)} | {12: [8, 9, 10, 11]}),
    "a pl.range hands the last turn's on": ("""
prev = pl.system.task_invalid()
for i in pl.range(4):
    task(i; [prev]) as tid
    prev = tid
task(8; [prev])
""", {1: [0], 2: [1], 3: [2], 4: [3]}),
    "a chain for each turn of a pl.parallel": ("""
last = None
for b in pl.parallel(2):
    prev = None
    for s in pl.range(3):
        task(b * 3 + s; [prev]) as tid
        prev = tid
    last = prev
task(8; [last])
""", {1: [0], 2: [1], 4: [3], 5: [4], 6: [2, 5]}),
    "an array of ids": ("""
tids = pl.array.create(N, pl.TASK_ID)
for i in pl.parallel(4):
    task(i) as tid
    tids[i] = tid
one = tids[2]
task(8; [tids])
task(9; [one])
task(10; [tids[1], None, tids[3]])
task(11; [tids[i] for i in range(N) if i != 1])
task(12; [tids[i] for i in (0, 2)])
""", {4: [0, 1, 2, 3], 5: [2], 6: [1, 3], 7: [0, 2, 3], 8: [0, 2]}),
    "an array that is read and written in one loop": ("""
tids = pl.array.create(3, pl.TASK_ID)
for p in pl.range(2):
    for i in pl.parallel(3):
        task(p * 3 + i; [tids]) as tid
        tids[i] = tid
""", {1: [0], 2: [0, 1], 3: [0, 1, 2], 4: [1, 2, 3], 5: [2, 3, 4]}),
    "as tid again is another name, in a loop too": ("""
task(8) as prev
for p in pl.range(3):
    task(p; [prev]) as prev
""", {1: [0], 2: [0], 3: [0]}),
    "what a loop hands on of an if": ("""
prev = None
for i in pl.range(4):
    if i < 2:
        task(i; [prev]) as tid
        prev = tid
    else:
        task(i; [prev])
""", {1: [0], 2: [1], 3: [1]}),
    "an if that PyPTO works out": ("""
prev = None
for i in pl.unroll(3):
    task(i; [prev]) as tid
    if i == 1:
        prev = tid
""", {2: [1]}),
    "a join of tasks": ("""
task(0) as a
task(1) as b
both = pl.system.task_dummy(deps=[a, b])
none = pl.system.task_dummy(deps=[])
task(2; [both, none])
""", {2: [0, 1], 4: [2, 3]}),
    "joins in a pl.parallel": ("""
task(0) as a
for i in pl.parallel(2):
    both = pl.system.task_dummy(deps=[a])
    task(i + 1; [both])
""", {1: [0], 2: [1], 3: [0], 4: [3]}),
    "the order that turns were counted in, downward": ("""
last = None
for i in pl.parallel(3, -1, -1):
    task(i) as tid
    task(i + 8; [tid]) as tid2
    last = tid2
task(20; [last])
""", {1: [0], 3: [2], 5: [4], 7: [6], 8: [1, 3, 5, 7]}),
    "turns that differ": ("""
last = None
for i in pl.parallel(4):
    if pl.read(c, [i, 0]) > 0:
        task(i + 4)
    task(i) as tid
    last = tid
task(20; [last])
""", {6: [1, 2, 4, 5]}),
    "loops of one length that bind one id": ("""
last = None
for i in pl.parallel(2):
    task(i) as tid
    last = tid
for i in pl.parallel(2, 6, 2):
    task(i + 8; [last]) as tid
    last = tid
task(20; [last])
""", {2: [0, 1], 3: [0, 1], 4: [2, 3]}),
    "a loop in a loop of one length, of which the last turn is left": ("""
last = None
for i in pl.parallel(2):
    for j in pl.parallel(2):
        task(i * 2 + j; [last]) as tid
        last = tid
task(20; [last])
""", {4: [2, 3]}),
    "an id that an if leaves, in an array": ("""
tids = pl.array.create(4, pl.TASK_ID)
for i in pl.parallel(4):
    last = None
    if i < 2:
        task(i) as tid
        last = tid
    tids[i] = last
tids[3] = None
task(20; [tids])
""", {2: [0, 1]}),
    "turns that PyPTO works out": ("""
m = 2
for j in pl.unroll(1, 3):
    last = None
    for i in pl.parallel(j * m):
        task(i) as tid
        last = tid
    task(20 + j; [last])
last = None
for i in pl.parallel(x.shape[1] // 8):
    task(i + 30) as tid
    last = tid
task(24; [last])
""", {2: [0, 1], 7: [3, 4, 5, 6], 10: [8, 9]}),
    "init_values of a pl.parallel": ("""
task(9) as first
for i, (prev,) in pl.parallel(3, init_values=(first,)):
    task(i; [prev]) as tid
    last = pl.yield_(tid)
task(10; [last])
""", {1: [0], 2: [0], 3: [0], 4: [1, 2, 3]}),
    "init_values of a pl.range, from None": ("""
none = None
for i, (prev,) in pl.range(3, init_values=(none,)):
    task(i; [prev]) as tid
    last = pl.yield_(tid)
task(10; [last])
""", {1: [0], 2: [1], 3: [2]}),
    "the number of turns is the caller's": ("""
out = row(x, out, N - 2)
""", {2: [0, 1]}),
    "an id that an inline function returns": ("""
out, tid = made(x, out)
task(2; [tid])
""", {1: [0]}),
    "an id of the scope around": ("""
auto
task(0) as a
with pl.manual_scope():
    task(1; [a])
""", {1: [0]}),
    "an array carries ids out of loops of automatic scopes": ("""
auto
tids = pl.array.create(2, pl.TASK_ID)
for i in pl.range(2):
    task(i) as tid
    tids[i] = tid
task(8; [tids])
""", {2: [0, 1]}),
    "an array carries ids out of a manual scope": ("""
auto
tids = pl.array.create(2, pl.TASK_ID)
with pl.manual_scope():
    for i in pl.parallel(2):
        task(i) as tid
        tids[i] = tid
task(8; [tids])
""", {2: [0, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("title", WAITS)
def test_waits(title: str):
    body, want = WAITS[title]
    k = kernel(source(body))
    assert waits(dry(k, *given())) == want
    a = given()
    assert waits(interpret(k, a, "a2a3interp", chip("a2a3"))) == want
    written = a[3] != 0
    torch.testing.assert_close(a[3], torch.where(written, a[0] * 2, a[3]))


REFUSED = {
    "a pl.parallel with turns of run time": ("""
last = None
for i in pl.parallel(n):
    task(i) as tid
    last = tid
task(8; [last])
""", "statically-known trip count"),
    "turns of run time in an inline function": ("out = row(x, out, n)", "statically-known trip count"),
    "turns that a loop counts": ("""
for j in pl.range(1, 3):
    last = None
    for i in pl.parallel(j):
        task(i) as tid
        last = tid
    task(8; [last])
""", "statically-known trip count"),
    "turns of run time, of an id that nothing waits for": ("""
last = None
for i in pl.parallel(n):
    task(i) as tid
    last = tid
""", "statically-known trip count"),
    "an extent that is asked for": ("""
last = None
for i in pl.parallel(pl.tensor.dim(x, 1)):
    task(i) as tid
    last = tid
task(20; [last])
""", "statically-known trip count"),
    "no turns": ("""
last = None
for i in pl.parallel(0):
    task(i) as tid
    last = tid
task(8; [last])
""", "no turns"),
    "loops of different lengths that bind one id": ("""
last = None
for i in pl.parallel(4):
    task(i) as tid
    last = tid
for i in pl.parallel(8):
    task(i + 8; [last]) as tid
    last = tid
task(20; [last])
""", "loses what it stood for"),
    "a loop in a loop of another length": ("""
last = None
for i in pl.parallel(2):
    for j in pl.parallel(3):
        task(i * 3 + j) as tid
        last = tid
task(20; [last])
""", "3 tasks of a pl.parallel within this one of 2"),
    "an id that an arm binds, carried by a pl.parallel": ("""
last = None
for i in pl.parallel(4):
    if i < 2:
        task(i) as tid
        last = tid
task(20; [last])
""", "arm of an if"),
    "an array of ids in an arm": ("""
tids = pl.array.create(4, pl.TASK_ID)
for i in pl.parallel(4):
    if i < 2:
        task(i) as tid
        tids[i] = tid
task(20; [tids])
""", "arm of an if"),
    "an array of numbers in an arm": ("""
a = pl.array.create(4, pl.INT32)
for i in pl.range(4):
    if pl.read(c, [i, 0]) > 0:
        a[i] = 3
task(20)
""", "arm of an if"),
    "the ids of a whole loop in an element": ("""
tids = pl.array.create(4, pl.TASK_ID)
last = None
for i in pl.parallel(4):
    task(i) as tid
    last = tid
tids[0] = last
task(20; [tids])
""", "whole loop"),
    "None among init_values": ("""
for i, (prev,) in pl.range(3, init_values=(None,)):
    task(i; [prev]) as tid
    last = pl.yield_(tid)
""", "None among init_values"),
    "another name of a closed scope": ("""
auto
task(0) as a
b = None
with pl.manual_scope():
    b = a
task(2; [b])
""", "closed"),
    "an array of a closed scope": ("""
auto
with pl.manual_scope():
    tids = pl.array.create(2, pl.TASK_ID)
    task(0) as a
    tids[0] = a
task(2; [tids])
""", "closed"),
    "an id of a closed manual scope": ("""
auto
with pl.manual_scope():
    task(0) as tid
task(1; [tid])
""", "closed"),
    "an id of a turn of automatic scopes": ("""
auto
last = None
for i in pl.range(2):
    task(i) as tid
    last = tid
task(8; [last])
""", "closed"),
    "an id that a loop of automatic scopes carries": ("""
auto
task(8) as prev
for i in pl.range(2):
    task(i; [prev]) as tid
    prev = tid
""", "closed"),
    "an id that an arm of an if binds": ("""
last = None
if pl.read(c, [0, 0]) > 0:
    task(0) as tid
    last = tid
task(8; [last])
""", "closed"),
    "an id that one arm makes": ("""
if pl.read(c, [0, 0]) > 0:
    task(0) as tid
else:
    task(1) as tid
task(8; [tid])
""", "'tid\\W*' is read outside the scope"),
    "a join of an id of a closed scope": ("""
auto
with pl.manual_scope():
    task(0) as tid
both = pl.system.task_dummy(deps=[tid])
task(1; [both])
""", "closed"),
    "a tensor": ("task(0; [x])", "no task id"),
    "a number": ("task(0; [n])", "no task id"),
    "an expression": ("task(0; [n + 1])", "no task id"),
    "no list": ("""
task(0) as a
task(1; a)
""", "no list"),
    "a whole array beside an element of it": ("""
tids = pl.array.create(2, pl.TASK_ID)
task(0; [tids, tids[0]])
""", "one or the other"),
    "an element that an array does not have": ("""
tids = pl.array.create(2, pl.TASK_ID)
task(0; [tids[2]])
""", "element 2"),
    "a comprehension over what the run knows": ("""
tids = pl.array.create(2, pl.TASK_ID)
task(0; [tids[i] for i in range(n)])
""", "depends on 'n'"),
    "a number in an array of ids": ("""
tids = pl.array.create(2, pl.TASK_ID)
tids[0] = 3
""", "which is none"),
    "a manual scope in a manual scope": ("""
with pl.manual_scope():
    task(0)
""", "inside a manual scope"),
    "a join without deps=": ("both = pl.system.task_dummy()", "takes deps="),
}  # fmt: skip


@pytest.mark.parametrize("title", REFUSED)
def test_refused(title: str):
    body, said = REFUSED[title]
    with pytest.raises((KernelError, FaultError), match=said):
        dry(kernel(source(body)), *given())


GATED = """
@pl.program
class k:
    @pl.function(type=pl.FunctionType.InCore)
    def gate(self, n: PC, rc: pl.Out[PC]) -> PC:
        return pl.store(pl.load(n, [0, 0], [4, 8]), [0, 0], rc)

    @pl.function(type=pl.FunctionType.InCore)
    def expert(self, x: PT, out: pl.Out[PT]) -> PT:
        return pl.store(pl.load(x, [0, 0], [64, 16]), [0, 0], out)

    @pl.function(type=pl.FunctionType.Orchestration)
    def main(self, x: PT, n: PC, rc: pl.Out[PC], rc2: pl.Out[PC], u: pl.Tensor[[4, 8], pl.UINT32],
             out: pl.Out[PT]) -> PT:
        with pl.manual_scope():
"""
GATED = GATED.replace("PT", "pl.Tensor[[64, 16], pl.FP32]").replace("PC", "pl.Tensor[[4, 8], pl.INT32]")

PREDICATES = {
    "of a submit's result": ("""
rc, g = pl.submit(self.gate, n, rc)
out, _ = pl.submit(self.expert, x, out, deps=[g], predicate=(rc[0, 0] > 0))
""", ""),
    "written the other way round, with a negative number": ("""
rc, g = pl.submit(self.gate, n, rc)
out, _ = pl.submit(self.expert, x, out, deps=[None, g], predicate=(-1 < rc[0, 0]))
""", ""),
    "of a parameter": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[0, 0] > 0))", ""),
    "whose ids are in an array": ("""
tids = pl.array.create(1, pl.TASK_ID)
rc, g = pl.submit(self.gate, n, rc)
tids[0] = g
out, _ = pl.submit(self.expert, x, out, deps=[tids], predicate=(rc[0, 0] > 0))
""", ""),
    "of another pl.spmd": ("""
with pl.spmd(1) as g:
    rc = self.gate(n, rc)
with pl.spmd(1, deps=[g], predicate=(rc[0, 0] > 0)) as done:
    out = self.expert(x, out)
""", ""),
    "without the producer": ("""
rc, g = pl.submit(self.gate, n, rc)
out, _ = pl.submit(self.expert, x, out, predicate=(rc[0, 0] > 0))
""", "'g', is not in deps="),
    "without the producer among others": ("""
rc, g = pl.submit(self.gate, n, rc)
rc2, h = pl.submit(self.gate, n, rc2)
out, _ = pl.submit(self.expert, x, out, deps=[h], predicate=(rc[0, 0] > 0))
""", "'g', is not in deps="),
    "whose producer's id has another task since": ("""
rc, tid = pl.submit(self.gate, n, rc)
rc2, tid = pl.submit(self.gate, n, rc2)
out, _ = pl.submit(self.expert, x, out, deps=[tid], predicate=(rc[0, 0] > 0))
""", "'tid', is not in deps="),
    "of a pl.spmd without the producer": ("""
with pl.spmd(1) as g:
    rc = self.gate(n, rc)
with pl.spmd(1, predicate=(rc[0, 0] > 0)):
    out = self.expert(x, out)
""", "as done"),
    "of unsigned numbers": ("out, _ = pl.submit(self.expert, x, out, predicate=(u[0, 0] > 0))", "signed integer"),
    "of floats": ("out, _ = pl.submit(self.expert, x, out, predicate=(x[0, 0] > 0))", "signed integer"),
    "of a row": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[0, :] > 0))", "no element"),
    "with too few indices": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[0] > 0))", "2 axes"),
    "with a negative index": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[-1, 0] > 0))", "negative"),
    "against an element": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[0, 0] > n[1, 0]))", "integer literal"),
    "against a float": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[0, 0] > 0.5))", "integer literal"),
    "chained": ("out, _ = pl.submit(self.expert, x, out, predicate=(0 < n[0, 0] < 8))", "chained comparison"),
    "of two": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[0, 0] > 0 and n[1, 0] > 0))", "single comparison"),
    "of a remainder": ("out, _ = pl.submit(self.expert, x, out, predicate=(n[0, 0] % 8 == 0))", "integer literal"),
}  # fmt: skip


@pytest.mark.parametrize("title", PREDICATES)
def test_predicate(title: str):
    body, said = PREDICATES[title]
    text = "\n".join(" " * 12 + line for line in body.strip().splitlines())
    program = kernel(GATED + text + "\n        return out\n")
    counts = torch.ones(4, 8, dtype=torch.int32)
    args = [torch.randn(64, 16), counts, counts * 0, counts * 0, counts.long(), torch.zeros(64, 16)]
    if not said:
        interpret(program, args, "a2a3interp", chip("a2a3"))
        assert torch.equal(args[5], args[0])
        return
    with pytest.raises(KernelError, match=said):
        interpret(program, args, "a2a3interp", chip("a2a3"))


@pytest.mark.parametrize(
    ("test", "one"), [("i >= 0", True), ("i < 4", True), ("4 > 3", True), ("i < 3", False), ("i > 0", False)]
)
def test_an_arm_that_the_loops_bounds_decide_is_no_arm(test: str, one: bool):
    source = f"""
@pl.program
class P:
    @pl.function(type=pl.FunctionType.InCore)
    def copy(self, x: pl.Tensor[[64, 64], pl.FP32], i: pl.Scalar[pl.INDEX],
             y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]) -> pl.Tensor[[64, 64], pl.FP32]:
        y = pl.store(pl.load(x, [i * 16, 0], [16, 64]), [i * 16, 0], y)
        return y

    @pl.function(type=pl.FunctionType.Orchestration)
    def main(self, x: pl.Tensor[[64, 64], pl.FP32], y: pl.Out[pl.Tensor[[64, 64], pl.FP32]]):
        with pl.manual_scope():
            tids = pl.array.create(4, pl.TASK_ID)
            for i in pl.parallel(4):
                if {test}:
                    y, tid = pl.submit(self.copy, x, i, y)
                    tids[i] = tid
        return y
"""
    x, y = torch.randn(64, 64), torch.zeros(64, 64)
    program = kernelgen.module(source).P
    if one:
        kernelgen.run(program, x, y)
        assert torch.equal(y, x)
    else:
        with pytest.raises(KernelError, match="arm of an if"):
            kernelgen.run(program, x, y)

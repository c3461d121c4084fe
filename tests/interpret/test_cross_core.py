"""Cross-core pipes: cube and vector functions of a Group that push tiles to each other, against plain torch."""

from __future__ import annotations

import re

import kernelgen
import pytest
import torch
from kernelgen import same

from helpers.errors import FaultError, KernelError
from helpers.run import run

SIGNATURE = """self, a: pl.Tensor[[32, 32], pl.FP32], b: pl.Tensor[[32, 128], pl.FP32],
            out: pl.Out[pl.Tensor[[32, 128], pl.FP32]]"""
OUT = "pl.Tensor[[32, 128], pl.FP32]"
PROGRAM = """
    @pl.program
    class P:
        @pl.function(type=pl.FunctionType.AIC{attrs})
        def cube({signature}){cube_returns}:
            {cube}

        @pl.function(type=pl.FunctionType.AIV{attrs})
        def vector({signature}){vector_returns}:
            {vector}

        @pl.function(type=pl.FunctionType.Group{attrs})
        def both({signature}) -> {out}:
            {both}

        @pl.function(type=pl.FunctionType.Orchestration)
        def main({signature}) -> {out}:
            r = self.both(a, b, out)
            return r
"""


def lines(text: str) -> str:
    return text.strip("\n").replace("\n", "\n            ")


def program(cube: str, vector: str, both: str = "", attrs: str = "", cube_returns: bool = False):
    both = both or "self.cube(a, b, out)\nr = self.vector(a, b, out)\nreturn r"
    text = PROGRAM.format(
        signature=SIGNATURE, out=OUT, cube=lines(cube), vector=lines(vector), both=lines(both), attrs=attrs,
        cube_returns=f" -> {OUT}" if cube_returns else "", vector_returns="" if cube_returns else f" -> {OUT}",
    )  # fmt: skip
    return kernelgen.module(text).P


# The cube multiplies a by eight parts of b, the vector cores add 1 and store: out = a @ b + 1.
CUBE = """
peer = pl.import_peer_buffer(name="ring", peer_func="vector")
pl.aic_initialize_pipe(dir_mask=1, slot_size=2048, c2v_consumer_buf=peer)
for i in pl.range(8):
    ta = pl.load(a, [0, 0], [32, 32], target_memory=pl.Mem.Mat)
    tb = pl.load(b, [0, i * 16], [32, 16], target_memory=pl.Mem.Mat)
    c = pl.matmul(pl.move(ta, target_memory=pl.Mem.Left), pl.move(tb, target_memory=pl.Mem.Right))
    pl.tpush_to_aiv(c, split=0)
"""
VECTOR = """
ring = pl.reserve_buffer(name="ring", size=16384, base=pl.AUTO)
pl.aiv_initialize_pipe(dir_mask=1, slot_size=2048, c2v_consumer_buf=ring)
for i in pl.range(8):
    v: pl.Tile[[32, 16], pl.FP32, pl.Mem.Vec] = pl.tpop_from_aic(split=0)
    w = pl.add(v, 1.0)
    pl.tfree_to_aic(v)
    out = pl.store(w, [0, i * 16], out)
return out
"""


def arguments(seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(32, 32, generator=g), torch.randn(32, 128, generator=g), torch.zeros(32, 128)


def cube_to_vector(**changes: str):
    cube, vector = CUBE, VECTOR
    for old, new in changes.pop("cube", {}).items():
        assert old in cube
        cube = cube.replace(old, new)
    for old, new in changes.pop("vector", {}).items():
        assert old in vector
        vector = vector.replace(old, new)
    return program(cube, vector, **changes)


@pytest.mark.parametrize("platform", ["a2a3interp", "a5interp"])
@pytest.mark.parametrize("both", ["", "r = self.vector(a, b, out)\nself.cube(a, b, out)\nreturn r"])
def test_cube_to_vector(platform: str, both: str):
    """Whichever function the Group names first, and with more pushes than the ring has slots."""
    a, b, out = arguments()
    trace = run(cube_to_vector(both=both, vector={"pl.range(8)": "pl.range(8)"}), [a, b, out], platform=platform).trace
    same(out, a @ b + 1.0)
    assert trace.tasks == 1
    assert trace.peaks()["UB"] == 16384 + 2048  # the ring, and the tile that the sum is put in


@pytest.mark.parametrize("mode", ["UP_DOWN", "LEFT_RIGHT"])
def test_a_split_changes_no_value(mode: str):
    a, b, out = arguments(1)
    code = str({"UP_DOWN": 1, "LEFT_RIGHT": 2}[mode])
    p = cube_to_vector(
        attrs=f", attrs={{'split': pl.SplitMode.{mode}}}", cube={"split=0": f"split={code}"},
        vector={"split=0": f"split={code}"},
    )  # fmt: skip
    run(p, [a, b, out], platform="a2a3interp")
    same(out, a @ b + 1.0)


def test_vector_to_cube_through_two_pipes():
    """Pushed in the other order than popped: each pipe is a ring of its own."""
    cube = """
one = pl.reserve_buffer(name="one", size=32768)
two = pl.reserve_buffer(name="two", size=131072)
pl.aic_initialize_pipe(pl.const(0, pl.INT32), one, dir_mask=2, slot_size=4096, id=0)
pl.aic_initialize_pipe(pl.const(0, pl.INT32), two, dir_mask=2, slot_size=16384, id=1)
x = pl.tpop_from_aiv(shape=[32, 32], dtype=pl.FP32, split=0, id=0)
y: pl.Tile[[32, 128], pl.FP32, pl.Mem.Mat] = pl.tpop_from_aiv(split=0, id=1)
c = pl.matmul(pl.move(x, target_memory=pl.Mem.Left), pl.move(y, target_memory=pl.Mem.Right))
pl.tfree_to_aiv(x, id=0)
pl.tfree_to_aiv(y, id=1)
return pl.store(c, [0, 0], out)
"""
    vector = """
p = pl.import_peer_buffer(name="one", peer_func="cube")
q = pl.import_peer_buffer(name="two", peer_func="cube")
pl.aiv_initialize_pipe(pl.const(0, pl.INT32), p, dir_mask=2, slot_size=4096, id=0)
pl.aiv_initialize_pipe(pl.const(0, pl.INT32), q, dir_mask=2, slot_size=16384, id=1)
pl.tpush_to_aic(pl.mul(pl.load(b, [0, 0], [32, 128]), 2.0), split=0, id=1)
pl.tpush_to_aic(pl.add(pl.load(a, [0, 0], [32, 32]), 1.0), split=0, id=0)
"""
    a, b, out = arguments(2)
    both = "r = self.cube(a, b, out)\nself.vector(a, b, out)\nreturn r"
    run(program(cube, vector, both, cube_returns=True), [a, b, out], platform="a2a3interp")
    same(out, (a + 1.0) @ (b * 2.0))


def test_to_and_fro():
    """The vector cores scale a part of b, the cube multiplies it, they add 1: neither core can run ahead."""
    cube = """
back = pl.reserve_buffer(name="back", size=8192)
peer = pl.import_peer_buffer(name="ring", peer_func="vector")
pl.aic_initialize_pipe(peer, back, dir_mask=3, slot_size=2048)
for i in pl.range(8):
    ta = pl.load(a, [0, 0], [32, 32], target_memory=pl.Mem.Mat)
    tb = pl.tpop_from_aiv(shape=[32, 16], dtype=pl.FP32, split=0)
    c = pl.matmul(pl.move(ta, target_memory=pl.Mem.Left), pl.move(tb, target_memory=pl.Mem.Right))
    pl.tfree_to_aiv(tb)
    pl.tpush_to_aiv(c, split=0)
"""
    vector = """
ring = pl.reserve_buffer(name="ring", size=8192)
peer = pl.import_peer_buffer(name="back", peer_func="cube")
pl.aiv_initialize_pipe(ring, peer, dir_mask=3, slot_size=2048)
for i in pl.range(8):
    pl.tpush_to_aic(pl.mul(pl.load(b, [0, i * 16], [32, 16]), 0.5), split=0)
    v: pl.Tile[[32, 16], pl.FP32, pl.Mem.Vec] = pl.tpop_from_aic(split=0)
    w = pl.add(v, 1.0)
    pl.tfree_to_aic(v)
    out = pl.store(w, [0, i * 16], out)
return out
"""
    a, b, out = arguments(3)
    run(program(cube, vector), [a, b, out], platform="a5interp")
    same(out, a @ (b * 0.5) + 1.0)


def test_a_barrier_orders_what_the_cores_do_in_global_memory():
    """The vector cores read what the cube stored before both came to the barrier."""
    cube = """
ta = pl.load(a, [0, 0], [32, 32], target_memory=pl.Mem.Mat)
tb = pl.load(b, [0, 0], [32, 128], target_memory=pl.Mem.Mat)
c = pl.matmul(pl.move(ta, target_memory=pl.Mem.Left), pl.move(tb, target_memory=pl.Mem.Right))
out = pl.store(c, [0, 0], out)
pl.system.syncall(core_type="mix")
"""
    vector = """
pl.system.syncall(core_type="mix")
return pl.store(pl.add(pl.load(out, [0, 0], [32, 128]), 1.0), [0, 0], out)
"""
    a, b, out = arguments(4)
    both = "r = self.vector(a, b, out)\nself.cube(a, b, out)\nreturn r"
    run(program(cube, vector, both), [a, b, out], platform="a2a3interp")
    same(out, a @ b + 1.0)


@pytest.mark.parametrize(("pushed", "popped"), [(5, 5), (32, 5)])
def test_what_is_valid_of_a_tile(pushed: int, popped: int):
    """The cube narrows what it pushes, or the vector cores what they pop: only those rows are stored."""
    p = cube_to_vector(
        cube={
            "pl.tpush_to_aiv(c, split=0)": f"c = pl.set_validshape(c, {pushed}, 16)\n    pl.tpush_to_aiv(c, split=0)"
        },
        vector={"pl.Mem.Vec]": f"pl.Mem.Vec, pl.TileView(valid_shape=[{popped}, 16])]"},
    )
    a, b, out = arguments(7)
    run(p, [a, b, out], platform="a2a3interp")
    same(out[:5], (a @ b + 1.0)[:5])
    assert not out[5:].any()


def test_a_cluster_is_a_group():
    p = kernelgen.module(
        PROGRAM.format(
            signature=SIGNATURE, out=OUT, cube=lines(CUBE), vector=lines(VECTOR), both="return out", attrs="",
            cube_returns="", vector_returns=f" -> {OUT}",
        )
        .replace("type=pl.FunctionType.Group", "type=pl.FunctionType.Inline")
        .replace(
            "r = self.both(a, b, out)",
            "with pl.cluster():\n                self.cube(a, b, out)\n                r = self.vector(a, b, out)",
        )
    ).P  # fmt: skip
    a, b, out = arguments(5)
    trace = run(p, [a, b, out], platform="a2a3interp").trace
    same(out, a @ b + 1.0)
    assert trace.tasks == 1


def test_in_a_region():
    """In a pl.at the compiler makes the two cores, sets the pipe up and frees its slots."""
    k = kernelgen.kernel(
        kernelgen.incore(
            {"x": "pl.Tensor[[32, 32], pl.FP32]", "y": "pl.Tensor[[32, 32], pl.FP32]",
             "out": "pl.Out[pl.Tensor[[32, 32], pl.FP32]]"},
            """
            c = pl.matmul(pl.load(x, [0, 0], [32, 32], target_memory=pl.Mem.Mat),
                          pl.load(y, [0, 0], [32, 32], target_memory=pl.Mem.Mat))
            pl.tpush_to_aiv(c, split=0)
            v: pl.Tile[[32, 32], pl.FP32, pl.Mem.Vec] = pl.tpop_from_aic(split=0)
            w = pl.add(v, 1.0)
            pl.tfree_to_aic(v)
            pl.store(w, [0, 0], out)
            """,
        )
    )  # fmt: skip
    x, y, out = torch.randn(32, 32), torch.randn(32, 32), torch.zeros(32, 32)
    kernelgen.run(k, x, y, out)
    same(out, x @ y + 1.0)


def test_a_dry_run_needs_no_values():
    a, b, out = arguments(6)
    from helpers.chips import chip
    from helpers.interpret.call import interpret

    trace = interpret(cube_to_vector(), [a, b, out], "a2a3interp", chip("a2a3"), dry=True)
    assert trace.tasks == 1
    assert not out.any()


PUSH = "    pl.tpush_to_aiv(c, split=0)\n"
OPEN = "pl.aic_initialize_pipe(dir_mask=1, slot_size=2048, c2v_consumer_buf=peer)\n"
WRONG = {
    "no tfree": ({"vector": {"    pl.tfree_to_aic(v)\n": ""}}, "slots of pipe 0 are taken|never freed"),
    "freed twice": ({"vector": {"    pl.tfree_to_aic(v)\n": "    pl.tfree_to_aic(v)\n    pl.tfree_to_aic(v)\n"}},
                    "holds no slot"),
    "freed to the other": ({"vector": {"pl.tfree_to_aic(v)": "pl.tfree_to_aiv(v)"}}, "holds no slot"),
    "pushed too often": ({"cube": {PUSH: PUSH + PUSH}}, "8 tiles stay in pipe 0"),
    "popped too often": ({"vector": {"in pl.range(8)": "in pl.range(9)"}}, "nothing is pushed to pipe 0"),
    "no pipe on the cube": ({"cube": {OPEN: ""}},
                            "pipe 0 is not initialized"),
    "the other direction": ({"cube": {"dir_mask=1": "dir_mask=2"}}, "pipe 0 is not initialized"),
    "the other core's": ({"cube": {"pl.aic_initialize": "pl.aiv_initialize"}}, "in an AIC function"),
    "another pipe": ({"cube": {"split=0)": "split=0, id=1)"}}, "pipe 1 is not initialized"),
    "two slot sizes": ({"cube": {"slot_size=2048": "slot_size=4096"}}, "slots of"),
    "a slot too small": ({"cube": {"slot_size=2048": "slot_size=1024"}, "vector": {"slot_size=2048": "slot_size=1024"}},
                         "takes 2048 bytes"),
    "another name": ({"cube": {'name="ring"': 'name="rung"'}}, "'vector' reserves no buffer 'rung'"),
    "another shape": ({"vector": {"[32, 16], pl.FP32, pl.Mem.Vec": "[16, 32], pl.FP32, pl.Mem.Vec"}}, "annotated"),
    "another type": ({"vector": {"pl.FP32, pl.Mem.Vec": "pl.INT32, pl.Mem.Vec"}}, "annotated"),
    "no type": ({"vector": {"v: pl.Tile[[32, 16], pl.FP32, pl.Mem.Vec] = ": "v = "}}, "type of the popped tile"),
    "no split": ({"cube": {"(c, split=0)": "(c)"}}, "split"),
    "a split that is none": ({"cube": {"split=0": "split=7"}}, "split=7"),
    "the ring too large": ({"vector": {"size=16384": "size=262144"}}, "bytes of UB"),
    "more than calls": ({"both": "r = pl.add(a, b)\nself.cube(a, b, out)\nr = self.vector(a, b, out)\nreturn r"},
                        "does nothing but call"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_line(name: str):
    changes, message = WRONG[name]
    a, b, out = arguments()
    with pytest.raises((FaultError, KernelError), match=message) as e:
        run(cube_to_vector(**changes), [a, b, out], platform="a2a3interp")
    assert re.search(r"^  at .+:\d+:\d+$", str(e.value), re.MULTILINE)
    assert not out.any()  # what was written is put back


def test_a_stall_is_told_and_leaves_no_thread():
    import threading

    before = threading.active_count()
    a, b, out = arguments()
    p = cube_to_vector(cube={PUSH: PUSH + PUSH}, vector={"in pl.range(8)": "in pl.range(1)"})
    with pytest.raises(FaultError, match="all 8 slots of pipe 0 are taken and stay so: nobody pops"):
        run(p, [a, b, out], platform="a2a3interp")
    assert threading.active_count() == before


@pytest.mark.parametrize("line", ["pl.tpush_to_aiv(x, split=0)", "v = pl.tpop_from_aic(shape=[8, 8], dtype=pl.FP32)"])
def test_only_in_a_region(line: str):
    text = f"@pl.jit\ndef k(x: pl.Tensor[[8, 8], pl.FP32], out: pl.Out[pl.Tensor[[8, 8], pl.FP32]]):\n    {line}\n"
    with pytest.raises((FaultError, KernelError), match="InCore region"):
        kernelgen.run(kernelgen.kernel(text), torch.zeros(8, 8), torch.zeros(8, 8))


def test_pipes_are_set_up_in_groups_only():
    k = kernelgen.incore({"out": "pl.Out[pl.Tensor[[8, 8], pl.FP32]]"}, "b = pl.reserve_buffer(name='r', size=64)")
    with pytest.raises(FaultError, match="functions of a Group"):
        kernelgen.run(kernelgen.kernel(k), torch.zeros(8, 8))

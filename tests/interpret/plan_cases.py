"""Small kernels with the bytes of on-chip buffers that PyPTO's compiler (e2d0f78a) plans for them, on both chips."""

from __future__ import annotations

from dataclasses import dataclass, field

from kernelgen import incore, out, tensor

X, HALF, ROW = tensor((64, 256), "FP32"), tensor((64, 256), "BF16"), tensor((1, 256), "FP32")
OUT = out((64, 256), "FP32")
A, B, C = tensor((16, 512), "BF16"), tensor((512, 128), "BF16"), out((16, 128), "FP32")


@dataclass(frozen=True)
class Plan:
    """A kernel and what the compiler's plan of it takes: bytes by buffer, of those that are compared."""

    title: str
    body: str
    bytes: dict[str, int]
    parameters: dict[str, str] = field(default_factory=lambda: {"x": X, "o": OUT})
    split: str = ""

    def on(self, chip: str) -> dict[str, int]:
        """What the compiler plans for a chip: the larger buffer of A5 has room for all stages, and a tile on its way to
        A5's cube is laid out for it first."""
        return self.bytes | ({"UB": _ON_A5[self.title]} if chip == "a5" and self.title in _ON_A5 else {})

    def source(self) -> str:
        text = incore(self.parameters, self.body)
        options = f"CORE_GROUP, optimizations=[pl.split(pl.SplitMode.{self.split})])"
        return text.replace("CORE_GROUP)", options) if self.split else text


def vector(title: str, nbytes: int, *lines: str, **more: str) -> Plan:
    return Plan(title, "\n".join(lines), {"UB": nbytes}, {"x": X, **more, "o": OUT})


def cube(title: str, nbytes: dict[str, int], *lines: str, split: str = "") -> Plan:
    return Plan(title, "\n".join(lines), nbytes, {"a": A, "b": B, "c": C}, split)


def nested(nbytes: int, *loops: str, before: str = "", product: bool = True) -> Plan:
    """Loads and what is made of them in nested loops: "p3/2" is pl.pipeline(3, stage=2), "r2" is pl.range(2). `before`
    stands at the start of the outermost."""
    lines, names = [], "ijk"[: len(loops)]
    for depth, (name, loop) in enumerate(zip(names, loops)):
        turns, _, stage = loop[1:].partition("/")
        head = f"pl.pipeline({turns}, stage={stage})" if loop[0] == "p" else f"pl.range({turns})"
        lines.append("    " * depth + f"for {name} in {head}:")
        lines += ["    " + line for line in before.splitlines() if depth == 0]
    at = f"({' + '.join(names)}) % 4"
    body = [
        f"xa = pl.slice(a, [16, 128], [0, {at} * 128])", f"xb = pl.slice(b, [128, 128], [{at} * 128, 0])",
        "acc = pl.matmul(xa, xb, out_dtype=pl.FP32)", "c = pl.assemble(c, acc, [0, 0])",
    ] if product else [
        f"t = pl.slice(x, [8, 256], [{at} * 8, 0])", "t = pl.add(t, 1.0)", f"o = pl.assemble(o, t, [{at} * 8, 0])",
    ]  # fmt: skip
    text = "\n".join([*lines, *("    " * len(loops) + line for line in body)])
    title = f"nested {' '.join(loops)}{', more before' if before else ''}{'' if product else ', vector'}"
    given = {"a": A, "b": B, "c": C} if product else {"x": X, "o": OUT}
    return Plan(title, text, {"L1" if product else "UB": nbytes}, given)


_ON_A5 = {"four loads, three of which fit": 196608, "there and back": 22528}

# Bytes that interpret mode takes more than the compiler, where it does.
MORE = {"a sum round a pipeline": 8192}

LOAD, STORE = "t = pl.slice(x, [16, 256], [0, 0])", "o = pl.assemble(o, t, [0, 0])"
PART, PUT = "    t = pl.slice(x, [8, 256], [i * 8, 0])", "    o = pl.assemble(o, t, [i * 8, 0])"
NESTED = ["for i in pl.pipeline(2, stage=2):", "    for j in pl.range(4):",
          "        t = pl.slice(x, [8, 256], [(i * 4 + j) * 8, 0])"]  # fmt: skip
NESTED_PUT = ["        o = pl.assemble(o, t, [(i * 4 + j) * 8, 0])"]
PEELED = """ya = pl.slice(a, [16, 128], [0, i * 128])
yb = pl.slice(b, [128, 128], [i * 128, 0])
first = pl.matmul(ya, yb, out_dtype=pl.FP32)
c = pl.assemble(c, first, [0, 0])"""
ZERO = "s = pl.full([8, 256], dtype=pl.FP32, value=0.0)"
FIRST = ["xa = pl.slice(a, [16, 128], [0, 0])", "xb = pl.slice(b, [128, 128], [0, 0])",
         "acc = pl.matmul(xa, xb, out_dtype=pl.FP32)"]  # fmt: skip

PLANS = [
    vector("in place", 16384, LOAD, "t = pl.exp(pl.add(t, 1.0))", "t = pl.mul(t, 2.0)", STORE),
    vector("recip", 32768, LOAD, "t = pl.recip(pl.add(pl.exp(t), 1.0))", STORE),
    vector("silu", 49152, LOAD, "t = pl.mul(t, pl.recip(pl.add(pl.exp(pl.neg(t)), 1.0)))", STORE),
    vector("row sum", 32832, LOAD, "t = pl.row_expand_mul(t, pl.row_sum(t))", STORE),
    vector("softmax", 32832, LOAD, "e = pl.exp(pl.row_expand_sub(t, pl.row_max(t)))",
           "t = pl.row_expand_div(e, pl.row_sum(e))", STORE),
    vector("RMSNorm", 49216, LOAD, "s = pl.rsqrt(pl.add(pl.mul(pl.row_sum(pl.mul(t, t)), 1 / 256), 1e-6))",
           "w = pl.slice(g, [1, 256], [0, 0])", "t = pl.col_expand_mul(pl.row_expand_mul(t, s), w)", STORE, g=ROW),
    vector("a cast that widens", 24576, "h = pl.slice(y, [16, 256], [0, 0])",
           "t = pl.cast(h, target_type=pl.FP32)", STORE, y=HALF),
    vector("a cast that narrows, and back", 24576, LOAD, "h = pl.cast(t, target_type=pl.BF16)",
           "t = pl.cast(h, target_type=pl.FP32)", STORE),
    vector("columns of a tile", 33792, LOAD, "t = pl.add(t, 1.0)", "w = pl.slice(g, [1, 256], [0, 0])",
           "lo = pl.col_expand_mul(t[:, 0:128], w[:, 0:128])", "hi = pl.col_expand_mul(t[:, 128:256], w[:, 128:256])",
           "o = pl.assemble(o, lo, [0, 0])", "o = pl.assemble(o, hi, [0, 128])", g=ROW),
    vector("rows of a tile", 24576, LOAD, "t = pl.add(t, 1.0)", "lo = pl.mul(t[0:8, :], 2.0)",
           "hi = pl.mul(t[8:16, :], 3.0)", "o = pl.assemble(o, lo, [0, 0])", "o = pl.assemble(o, hi, [8, 0])"),
    vector("one load for each stage", 16384, "for i in pl.pipeline(8, stage=2):", PART, "    t = pl.add(t, 1.0)", PUT),
    vector("all tiles for each stage", 98304, "for i in pl.pipeline(8, stage=4):", PART,
           "    t = pl.mul(t, pl.recip(pl.exp(t)))", PUT),
    vector("loads of a loop in each stage", 16384, *NESTED, "        t = pl.add(t, 1.0)", *NESTED_PUT),
    vector("a load of the stage and loads of its loop", 32768, NESTED[0], "    u = pl.slice(x, [8, 256], [i * 8, 0])",
           *NESTED[1:], "        t = pl.add(t, u)", *NESTED_PUT),
    vector("a sum round a pipeline", 24576, ZERO, "for i in pl.pipeline(8, stage=2):", PART, "    s = pl.add(s, t)",
           "o = pl.assemble(o, s, [0, 0])"),
    vector("a sum round a loop", 16384, ZERO, "for i in pl.range(8):", PART, "    s = pl.add(s, pl.mul(t, t))",
           "o = pl.assemble(o, s, [0, 0])"),
    vector("more than its stages fit", 163840, "for i in pl.pipeline(2, stage=2):",
           "    t = pl.slice(x, [32, 256], [i * 32, 0])", "    u = pl.recip(pl.exp(t))",
           "    v = pl.recip(pl.add(t, u))",
           "    t = pl.mul(pl.add(t, v), u)", "    o = pl.assemble(o, t, [i * 32, 0])"),
    vector("four loads, three of which fit", 180224, "for i in pl.pipeline(4, stage=4):",
           "    t = pl.slice(x, [16, 256], [i * 16, 0])", "    u = pl.slice(y, [16, 256], [i * 16, 0])",
           "    t = pl.mul(pl.recip(t), u)", "    o = pl.assemble(o, t, [i * 16, 0])", y=X),
    cube("products of a loop in each stage", {"L1": 73728, "L0C": 8192}, *NESTED[:2],
         "        xa = pl.slice(a, [16, 128], [0, (i * 2 + j % 2) * 128])",
         "        xb = pl.slice(b, [128, 128], [(i * 2 + j % 2) * 128, 0])",
         "        acc = pl.matmul(xa, xb, out_dtype=pl.FP32)", "        c = pl.assemble(c, acc, [0, 0])"),
    cube("a K-loop", {"L1": 73728, "L0C": 8192}, *FIRST, "for k in pl.pipeline(1, 4, stage=2):",
         "    xa = pl.slice(a, [16, 128], [0, k * 128])", "    xb = pl.slice(b, [128, 128], [k * 128, 0])",
         "    acc = pl.matmul_acc(acc, xa, xb)", "c = pl.assemble(c, acc, [0, 0])"),
    cube("a product and its epilogue", {"UB": 24576, "L1": 36864, "L0C": 8192}, *FIRST,
         "r = pl.mul(pl.recip(acc), 2.0)", "c = pl.assemble(c, r, [0, 0])"),
    cube("its rows on two vector cores", {"UB": 28704, "L1": 36864, "L0C": 8192}, *FIRST,
         "r = pl.recip(pl.add(acc, 1.0))", "r = pl.row_expand_mul(r, pl.row_sum(r))",
         "c = pl.assemble(c, r, [0, 0])", split="UP_DOWN"),
    cube("there and back", {"UB": 20480, "L1": 53248, "L0C": 8192}, *FIRST,
         "w = pl.cast(pl.exp(acc), target_type=pl.BF16)", "xb = pl.slice(b, [128, 128], [128, 0])",
         "acc = pl.matmul(w, xb, out_dtype=pl.FP32)", "c = pl.assemble(c, acc, [0, 0])", split="UP_DOWN"),
    nested(147456, "p2/2", "p4/2"), nested(221184, "p2/2", "p3/2"), nested(221184, "p4/2", "p5/2"),
    nested(147456, "p3/2", "p4/2"), nested(73728, "p2/2", "p1/2"), nested(331776, "p2/2", "p5/3"),
    nested(221184, "p2/2", "r2", "p3/2"), nested(73728, "r2", "p3/2"), nested(110592, "p2/1", "p3/2"),
    nested(442368, "p4/4", "p3/2"), nested(479232, "p3/3", "p5/3"), nested(147456, "p2/2", "p3/2", before=PEELED),
    nested(147456, "p2/2", "p4/2", before=PEELED), nested(49152, "p2/2", "p3/2", product=False),
    nested(122880, "p3/3", "p5/3", product=False), nested(24576, "p2/1", "p3/2", product=False),
]  # fmt: skip

"""Random programs, each written twice: as a kernel and as plain Python on torch tensors.

`legal()` draws one. Both texts are made statement by statement from the same draws and share nothing else: the kernel
is parsed by interpret mode, the other text is executed by Python. A tile of partly valid shape is, in plain torch, the
tensor of its valid part. Values are small integers in every element type, and the operations are those that torch
computes alike however they are grouped, so that the results are equal to the bit.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from kernelgen import TORCH, padded, taken

ROWS, COLS = 32, 32  # of the part of every tensor that a block works on
DTYPES = ("FP32", "BF16", "INT32")
TYPES = {"FP32": "torch.float32", "BF16": "torch.bfloat16", "INT32": "torch.int32"}
OPERATORS = {"add": "{a} + {b}", "sub": "{a} - {b}", "mul": "{a} * {b}", "maximum": "torch.maximum({a}, {b})",
             "minimum": "torch.minimum({a}, {b})"}  # fmt: skip
FOLDS = {"max": "amax", "min": "amin", "sum": "sum"}


def taken_by(dtype: str, operations: Iterable[str]) -> list[str]:
    """Which of these operations A5, on which the programs run, has for a type; products of BF16 are not exact."""
    return [op for op in operations if taken(op, [dtype]) and not (dtype == "BF16" and op.endswith("mul"))]


def fits(dtype: str, shape: tuple[int, ...] | list[int]) -> bool:
    """Whether a tile can have this shape: its rows, or its only column, are whole lines of 32 bytes."""
    n = shape[0] if shape[1] == 1 else shape[1]
    return n == padded(n, dtype)


@dataclass(frozen=True)
class Tile:
    """A name, its type, and the extents of its valid part as text (the same in both languages)."""

    name: str
    dtype: str
    shape: tuple[int, int]
    valid: tuple[str, str]

    @property
    def whole(self) -> bool:
        return self.valid == (str(self.shape[0]), str(self.shape[1]))

    def like(self, other: Tile) -> bool:
        return (self.dtype, self.shape, self.valid) == (other.dtype, other.shape, other.valid)


@dataclass
class Program:
    """The two texts, and how many blocks the launches have."""

    blocks: int
    kernel: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)

    def source(self) -> str:
        inputs = [f"x{d}: pl.Tensor[{[self.blocks * ROWS, COLS]}, pl.{d}]" for d in DTYPES]
        outputs = [f"o{d}: pl.InOut[pl.Tensor[{[self.blocks * ROWS, COLS]}, pl.{d}]]" for d in DTYPES]
        head = ", ".join([*inputs, "idx: pl.Tensor[[8], pl.INT32]", "n: pl.Scalar[pl.INT32]", *outputs])
        return f"@pl.jit\ndef k({head}):\n" + textwrap.indent("\n".join(self.kernel), "    ") + "\n    return oFP32\n"

    def arguments(self, seed: int) -> dict[str, Any]:
        g = torch.Generator().manual_seed(seed)
        shape = (self.blocks * ROWS, COLS)
        values = {f"x{d}": torch.randint(-3, 4, shape, generator=g).to(TORCH[d]) for d in DTYPES}
        values["idx"] = torch.randint(1, 5, (8,), generator=g, dtype=torch.int32)
        values["n"] = int(torch.randint(0, 4, (), generator=g))
        return values | {f"o{d}": torch.randint(-3, 4, shape, generator=g).to(TORCH[d]) for d in DTYPES}

    def run(self, arguments: dict[str, Any]) -> None:
        """Plain torch, in place."""
        exec("\n".join(self.plain), {"torch": torch, **arguments})


class _Writer:
    """Draws statements; `scopes` has the tiles that can be used, innermost last."""

    def __init__(self, draw: Any, blocks: int):
        self.draw, self.program, self.depth, self.names = draw, Program(blocks), [0, 0], 0
        self.scopes: list[list[Tile]] = []
        self.counters: list[tuple[str, int]] = []  # variables of the loops around, and how far they go
        self.left = 0

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def fresh(self, hint: str = "t") -> str:
        self.names += 1
        return f"{hint}{self.names}"

    def emit(self, kernel: str | None, plain: str | None) -> None:
        if kernel is not None:
            self.program.kernel.append("    " * self.depth[0] + kernel)
        if plain is not None:
            self.program.plain.append("    " * self.depth[1] + plain)

    def tiles(self) -> list[Tile]:
        return [t for scope in self.scopes for t in scope]

    def bind(self, kernel: str, plain: str, dtype: str, shape: tuple, valid: tuple) -> Tile:
        t = Tile(self.fresh(), dtype, shape, valid)
        self.emit(f"{t.name} = {kernel}", f"{t.name} = {plain}")
        self.scopes[-1].append(t)
        return t

    # ---- launches --------------------------------------------------------------------------------------

    def launch(self) -> None:
        how = self.pick(["spmd", "with", "parallel", "at"])
        if how == "at":
            self.emit("g = 0", "for g in range(1):")
            self.emit("with pl.at(level=pl.Level.CORE_GROUP):", None)
        elif how == "with":
            self.emit(f"with pl.spmd({self.program.blocks}):", f"for g in range({self.program.blocks}):")
            self.emit("    g = pl.tile.get_block_idx()", None)
        else:
            self.emit(f"for g in pl.{how}({self.program.blocks}):", f"for g in range({self.program.blocks}):")
        deeper = how == "parallel"
        if deeper:
            self.emit("    with pl.at(level=pl.Level.CORE_GROUP):", None)
        self.depth = [1 + deeper, 1]
        self.scopes.append([])
        self.left = self.draw(st.integers(3, 12))
        self.load()
        while self.left > 0:
            self.statement()
        self.store()
        self.scopes.pop()
        self.depth = [0, 0]

    def statement(self) -> None:
        self.left -= 1
        nested = len(self.scopes) < 3
        choices = ["load", "load", "binary", "binary", "scalar", "fold", "expand", "store", "cast", "fillpad", "view"]
        choices += ["update", "product", *(["loop", "loop", "branch", "carried"] if nested else [])]
        getattr(self, self.pick(choices))()

    def body(self, count: int) -> None:
        """The statements of a loop or arm."""
        self.scopes.append([])
        self.depth = [d + 1 for d in self.depth]
        self.load()
        for _ in range(count):
            self.statement()

    def end(self) -> None:
        self.scopes.pop()
        self.depth = [d - 1 for d in self.depth]

    # ---- statements ------------------------------------------------------------------------------------

    def place(self, rows: int) -> str:
        """An offset of rows inside the block's part, which may follow a loop around."""
        free = ROWS - rows
        start, terms = self.draw(st.integers(0, free // 2)), ["g * 32"]
        if self.counters and self.draw(st.booleans()):
            name, most = self.pick(self.counters)
            step = self.draw(st.integers(0, (free - start) // max(1, most - 1)))
            terms.append(f"{name} * {step}")
        return " + ".join([*terms, str(start)])

    def load(self) -> None:
        dtype, rows, columns = self.pick(DTYPES), self.pick([1, 4, 8, 16]), self.pick([16, 32])
        source = self.pick(["x", "o"]) + dtype
        r, c = self.place(rows), self.draw(st.integers(0, COLS - columns))
        valid = [str(rows), str(columns)]
        if self.draw(st.integers(0, 2)):
            self.bind(
                f"{source}[{r} : {r} + {rows}, {c} : {c + columns}]",
                f"{source}[{r} : {r} + {rows}, {c} : {c + columns}].clone()",
                dtype, (rows, columns), tuple(valid),
            )  # fmt: skip
            return
        axis = self.draw(st.integers(0, 1))
        known = self.draw(st.integers(1, (rows, columns)[axis]))
        valid[axis] = str(known)
        if self.draw(st.booleans()) and (rows, columns)[axis] >= 4:  # idx holds 1 to 4
            valid[axis] = self.fresh("v")
            read = self.draw(st.integers(0, 7))
            self.emit(f"{valid[axis]} = pl.cast(pl.read(idx, [{read}]), pl.INDEX)", f"{valid[axis]} = int(idx[{read}])")
        self.bind(
            f"pl.slice({source}, [{rows}, {columns}], [{r}, {c}], valid_shape=[{valid[0]}, {valid[1]}])",
            f"{source}[{r} : {r} + {valid[0]}, {c} : {c} + {valid[1]}].clone()",
            dtype, (rows, columns), tuple(valid),
        )  # fmt: skip

    def binary(self) -> None:
        a = self.pick(self.tiles())
        b = self.pick([t for t in self.tiles() if t.like(a)])
        op = self.pick(taken_by(a.dtype, OPERATORS))
        self.bind(f"pl.{op}({a.name}, {b.name})", OPERATORS[op].format(a=a.name, b=b.name), a.dtype, a.shape, a.valid)

    def scalar(self) -> None:
        a, op = self.pick(self.tiles()), self.pick(["add", "sub", "mul"])
        number = self.pick([-2.0, 0.5, 1.0, 2.0]) if a.dtype == "FP32" else self.draw(st.integers(-2, 2))
        self.bind(f"pl.{op}({a.name}, {number})", OPERATORS[op].format(a=a.name, b=number), a.dtype, a.shape, a.valid)

    def fold(self) -> None:
        a, row, fold = self.pick(self.tiles()), self.draw(st.booleans()), self.pick(FOLDS)
        if not taken(f"{'row' if row else 'col'}_{fold}", [a.dtype]):
            return
        axis = 1 if row else 0
        shape, valid = list(a.shape), list(a.valid)
        column = row and shape[1] == 1  # it is folded already, which interpret mode refuses to do again
        shape[axis], valid[axis] = 1, "1"
        if column or not fits(a.dtype, shape):
            return
        more = f", dtype={TYPES[a.dtype]}" if fold == "sum" else ""
        self.bind(
            f"pl.{'row' if row else 'col'}_{fold}({a.name})",
            f"{a.name}.{FOLDS[fold]}({axis}, keepdim=True{more})", a.dtype, tuple(shape), tuple(valid),
        )  # fmt: skip

    def expand(self) -> None:
        """A column beside rows: a fold, and what it was folded from."""
        a, row = self.pick(self.tiles()), self.draw(st.booleans())
        axis, kind = (1, "row") if row else (0, "col")
        if not taken(f"{kind}_max", [a.dtype]) or not fits(a.dtype, (a.shape[0], 1) if row else (1, a.shape[1])):
            return
        found = taken_by(a.dtype, [f"{kind}_expand_{op}" for op in ("sub", "add", "mul", "max", "min")])
        if not found:  # as for BF16: A5's assembler takes none of them
            return
        op = self.pick(found).removeprefix(f"{kind}_expand_")
        v = self.fresh()
        self.emit(f"{v} = pl.{kind}_max({a.name})", f"{v} = {a.name}.amax({axis}, keepdim=True)")
        plain = OPERATORS[{"max": "maximum", "min": "minimum"}.get(op, op)].format(a=a.name, b=v)
        self.bind(f"pl.{kind}_expand_{op}({a.name}, {v})", plain, a.dtype, a.shape, a.valid)

    def cast(self) -> None:
        a = self.pick(self.tiles())
        to = self.pick([d for d in DTYPES if d != a.dtype])
        if not fits(to, a.shape):
            return
        mode = ", mode='trunc'" if to == "INT32" else ""
        self.bind(
            f"pl.cast({a.name}, pl.{to}{mode})",
            f"{a.name}.to({TYPES[to]})",
            to, a.shape, a.valid,
        )  # fmt: skip

    def fillpad(self) -> None:
        a = self.pick(self.tiles())
        rows, columns = a.shape
        self.bind(
            f"pl.fillpad({a.name}, pad_value=pl.PadValue.zero)",
            f"torch.nn.functional.pad({a.name}, (0, {columns} - {a.name}.shape[1], 0, {rows} - {a.name}.shape[0]))",
            a.dtype, a.shape, (str(rows), str(columns)),
        )  # fmt: skip

    def view(self) -> None:
        """A part of a tile that is wholly valid."""
        found = [t for t in self.tiles() if t.whole and t.shape[0] > 1]
        if not found:
            return self.load()
        a = self.pick(found)
        rows = self.draw(st.integers(1, a.shape[0]))
        if not fits(a.dtype, (rows, a.shape[1])):
            return
        at = self.draw(st.integers(0, a.shape[0] - rows))
        self.bind(
            f"{a.name}[{at} : {at + rows}, :]", f"{a.name}[{at} : {at + rows}, :]", a.dtype, (rows, a.shape[1]),
            (str(rows), str(a.shape[1])),
        )  # fmt: skip

    def product(self) -> None:
        """A small matrix product, in two steps of K."""
        name, rows, k = self.fresh("p"), self.pick([1, 16]), 16
        r = self.place(rows)
        lhs, rhs = "xBF16[{r} : {r} + {n}, {k} : {m}]", "xBF16[g * 32 : g * 32 + 16, :]"
        first = lhs.format(r=r, n=rows, k=0, m=k)
        second = lhs.format(r=r, n=rows, k=k, m=2 * k)
        self.emit(f"{name} = pl.matmul({first}, {rhs}, out_dtype=pl.FP32)", f"{name} = {first}.float() @ {rhs}.float()")
        t = self.bind(
            f"pl.matmul_acc({name}, {second}, {rhs})", f"{name} + {second}.float() @ {rhs}.float()", "FP32",
            (rows, COLS), (str(rows), str(COLS)),
        )  # fmt: skip
        self.scopes[-1].remove(t)  # it lies in L0C: stored, and read from there by nothing else
        self.emit(f"oFP32[{r} : {r} + {rows}, :] = {t.name}", f"oFP32[{r} : {r} + {rows}, :] = {t.name}")

    def store(self) -> None:
        t = self.pick(self.tiles())
        rows, columns = t.shape
        r, c = self.place(rows), self.draw(st.integers(0, COLS - columns))
        target = f"o{t.dtype}"
        kernel = self.pick([
            f"{target}[{r} : {r} + {rows}, {c} : {c + columns}] = {t.name}",
            f"{target} = pl.assemble({target}, {t.name}, [{r}, {c}])",
        ])  # fmt: skip
        self.emit(kernel, f"{target}[{r} : {r} + {t.valid[0]}, {c} : {c} + {t.valid[1]}] = {t.name}")

    def update(self) -> None:
        """A name of a scope around gets a new value of its type: in a loop, it is carried."""
        found = [t for t in self.tiles() if t.dtype != "BF16"]
        if not found:
            return self.load()
        a = self.pick(found)
        number = "2" if a.dtype == "INT32" else "0.5"
        self.emit(f"{a.name} = pl.mul({a.name}, {number})", f"{a.name} = {a.name} * {number}")

    def loop(self) -> None:
        name, count = self.fresh("i"), self.draw(st.integers(0, 3))
        bound, most = self.pick([(str(count), count), ("n", 3), ("pl.cast(pl.read(idx, [1]), pl.INDEX)", 4)])
        kind = self.pick(["range({})", "range(0, {}, 2)", "pipeline({}, stage=2)"])
        plain = {"n": "n", str(count): str(count)}.get(bound, "int(idx[1])")
        step = ", 2" if "2)" in kind and "stage" not in kind else ""
        self.emit(f"for {name} in pl.{kind.format(bound)}:", f"for {name} in range(0, {plain}{step}):")
        self.counters.append((name, most))
        self.body(self.draw(st.integers(1, 3)))
        self.store()
        self.counters.pop()
        self.end()

    def branch(self) -> None:
        read, limit = self.draw(st.integers(0, 7)), self.draw(st.integers(1, 4))
        condition = self.pick([("pl.read(idx, [{r}]) > {c}", "idx[{r}] > {c}"), ("n < {c}", "n < {c}")])
        other = self.pick([("", ""), (" and n > 0", " and n > 0"), (" or n == 1", " or n == 1")])
        kernel, plain = (f"if {p.format(r=read, c=limit)}{o}:" for p, o in zip(condition, other))
        self.emit(kernel, plain)
        self.body(1)
        self.store()
        self.end()
        if self.draw(st.booleans()):
            self.emit("else:", "else:")
            self.body(1)
            self.store()
            self.end()

    def carried(self) -> None:
        """A loop that hands a tile on with init_values and pl.yield_."""
        found = [t for t in self.tiles() if t.whole and t.dtype != "BF16"]  # BF16 and a float: PyPTO's parser says FP32
        if not found:
            return self.load()
        a, i, count = self.pick(found), self.fresh("i"), self.draw(st.integers(0, 3))
        c, r = self.fresh("c"), self.fresh("r")
        self.emit(None, f"{c} = {a.name}")
        self.emit(f"for {i}, ({c},) in pl.range({count}, init_values=({a.name},)):", f"for {i} in range({count}):")
        number = "1" if a.dtype == "INT32" else "1.0"
        self.emit(f"    {r} = pl.yield_(pl.add({c}, {number}))", f"    {c} = {c} + {number}")
        self.emit(None, f"{r} = {c}")
        self.scopes[-1].append(Tile(r, a.dtype, a.shape, a.valid))


@st.composite
def legal(draw: Any) -> Program:
    """A program of one to three launches."""
    writer = _Writer(draw, draw(st.sampled_from([1, 2, 5])))
    for _ in range(draw(st.integers(1, 3))):
        writer.launch()
    return writer.program

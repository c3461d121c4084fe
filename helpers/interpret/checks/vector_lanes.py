"""What a region with a `pl.split_aiv` may do where: vector work inside of it, cube work outside, and named crossings.

Source: src/ir/verifier/verify_aiv_split.cpp, lower_auto_vector_split_pass.cpp (`ScanRegionHalfWidth`) and the header
of docs/en/dev/passes/20.
"""

from __future__ import annotations

import ast

from helpers.interpret.checks.base_check import Check
from helpers.interpret.facts.forms import nodes_of
from helpers.interpret.ops import COMPUTES, CUBE, FOLDS
from helpers.interpret.source.walk import walk

CROSSINGS = ("aiv_shard", "aic_gather")
READS = {
    "load": ("offsets",),
    "slice": ("offset",),
    "extract": ("index_row", "index_col"),
    "gather_row": ("src_offset",),
}
AXES = {"UP_DOWN": ("col_", -2), "LEFT_RIGHT": ("row_", -1)}  # mode -> what reduces along its axis, and the axis


class VectorLanes(Check):
    """Refuses what stands on the wrong side of a `pl.split_aiv`."""

    def begin(self, body: list[ast.stmt]) -> None:
        """A region begins."""
        loops = [n for n in nodes_of(body) if isinstance(n, ast.For) and self._over_lanes(n)]
        self.opens_lanes = bool(loops)
        self.crossing = any(self._crosses(n) for loop in loops for n in nodes_of(loop.body))  # it names what crosses
        self.of_lanes: set[str] = set()  # names that a lane binds, but for what pl.aic_gather gives
        self.of_cube: set[str] = set()  # names that a product outside is bound to
        self.halves: set[str] = set()  # names of half tiles, and of numbers that the lane's index is in

    def _over_lanes(self, loop: ast.For) -> bool:
        return isinstance(loop.iter, ast.Call) and self.pl_path(loop.iter.func) == "split_aiv"

    def _crosses(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and self.facts.called(node)[0] in CROSSINGS

    def begin_lane(self, index: str) -> None:
        """`index` is the number of the lane."""
        self.halves.add(index)

    def bind(self, name: str, value: ast.expr) -> None:
        """`name = value` in a region."""
        called = self.facts.called(value)[0] if isinstance(value, ast.Call) else ""
        half = self.region.lanes and (self._half(value) or (self.kind(value) != "tensor" and self._of_lane(value)))
        for names in (self.of_lanes, self.of_cube, self.halves):
            names.discard(name)
        if self.region.lanes and called not in ("aic_gather", "load", "store", "") and self.kind(value) == "tensor":
            self.of_lanes.add(name)
        if not self.region.lanes and called in CUBE:
            self.of_cube.add(name)
        if half:
            self.halves.add(name)

    def check(self, node: ast.Call) -> None:
        """A call of an operation.

        Raises:
            KernelError: it is on the wrong side.
        """
        name, given = self.facts.called(node)
        if not self.region.incore or self.region.dispatching:
            return
        if name in CROSSINGS and not self.region.lanes:
            raise self.refuse(node, f"pl.{name} outside a pl.split_aiv", "for i in pl.split_aiv(2, mode=...):")
        if not self.opens_lanes or not node.args or self.kind(node.args[0]) == "scalar":
            return
        if self.region.lanes:
            self._check_inside(node, name, given)
        elif name in COMPUTES:
            raise self.refuse(
                node, f"pl.{name} outside the pl.split_aiv of this region, which says where vector work runs",
                "put it into one: for i in pl.split_aiv(2, mode=pl.SplitMode.NONE):",
            )  # fmt: skip
        for a in given.values():
            if not isinstance(a, ast.Name):
                continue
            if not self.region.lanes and name in CUBE and a.id in self.of_lanes:
                raise self.refuse(
                    a, f"'{a.id}' goes from the vector cores to the cube without pl.aic_gather",
                    f"{a.id} = pl.aic_gather({a.id}), inside the pl.split_aiv",
                )  # fmt: skip
            if self.region.lanes and name in COMPUTES and a.id in self.of_cube:
                raise self.refuse(
                    a, f"the product '{a.id}' goes to the vector cores without pl.aiv_shard",
                    f"half = pl.aiv_shard({a.id}), inside the pl.split_aiv",
                )  # fmt: skip

    def _check_inside(self, node: ast.Call, name: str, given: dict[str, ast.expr]) -> None:
        if name in CUBE:
            raise self.refuse(node, f"pl.{name} inside a pl.split_aiv, which vector cores run", "put it outside")
        if self.region.lanes not in AXES:
            return
        along, axis = AXES[self.region.lanes]
        if name in FOLDS | {f"{along}argmax", f"{along}argmin"} and name.startswith(along):
            raise self.refuse(
                node, f"pl.{name} along the axis that the pl.split_aiv({self.region.lanes}) halves: each vector core"
                " has half", "reduce the other axis, or mode=pl.SplitMode.NONE",
            )  # fmt: skip
        shape = self.facts.shape(node.args[0])
        if name == "transpose" and (shape is None or shape[axis] != 1):
            raise self.refuse(
                node, f"pl.transpose turns the axis that the pl.split_aiv({self.region.lanes}) halves",
                "store it, and turn the tensor",
            )  # fmt: skip
        if self.crossing and name in COMPUTES and not any(self._half(a) for a in given.values()):
            raise self.refuse(
                node, f"pl.{name} of no half tile, in a pl.split_aiv whose tiles are halves (pl.aiv_shard): both vector"
                " cores would do all of it", "load at an offset that the index of the lane is in",
            )  # fmt: skip

    def _of_lane(self, node: ast.expr) -> bool:
        """True when the index of the lane is in an expression."""
        return any(isinstance(n, ast.Name) and n.id in self.halves for n in walk(node))

    def _half(self, node: ast.expr) -> bool:
        """True for a tile that is another one in each lane."""
        if isinstance(node, ast.Name):
            return node.id in self.halves and self.kind(node) != "scalar"
        if isinstance(node, ast.Subscript):
            return self._half(node.value) or self._of_lane(node.slice)
        name, given = self.facts.called(node) if isinstance(node, ast.Call) else ("", {})
        if name == "aiv_shard":
            return True
        if name in ("aic_gather", "full", "arange", "create_tile", ""):
            return False
        return any(self._of_lane(given[a]) for a in READS.get(name, ()) if a in given) or any(
            self._half(a) for a in given.values()
        )

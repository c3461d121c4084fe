"""All checks of one function, and the order in which a call meets them."""

from __future__ import annotations

import ast
from collections.abc import Callable

from helpers.interpret.checks.assembled import Assembled
from helpers.interpret.checks.directives import Directives
from helpers.interpret.checks.in_place import InPlace
from helpers.interpret.checks.operands import Operands
from helpers.interpret.checks.scalars import Scalars
from helpers.interpret.checks.stores import Stores
from helpers.interpret.checks.types import ElementTypes, VariableTypes
from helpers.interpret.checks.units import Units
from helpers.interpret.checks.vector_lanes import VectorLanes
from helpers.interpret.facts.function import Subject
from helpers.interpret.facts.infer import Facts
from helpers.interpret.facts.region import Region
from helpers.interpret.language.operation import Operation
from helpers.interpret.ops import STORES


class Checks:
    """What a kernel is refused for, but for what the lowering itself cannot do."""

    def __init__(self, subject: Subject, facts: Facts, region: Region):
        around = subject, facts, region
        self.refuse, self.called, self.region = subject.refuse, facts.called, region
        self.scalars, self.element_types, self.types = Scalars(*around), ElementTypes(*around), VariableTypes(*around)
        self.operands, self.assembled, self.directives = Operands(*around), Assembled(*around), Directives(*around)
        self.in_place, self.stores, self.units = InPlace(*around), Stores(*around), Units(*around)
        self.lanes = VectorLanes(*around)

    def begin(self, body: list[ast.stmt]) -> None:
        """A function, or a region of it."""
        self.stores.begin(body)
        self.units.begin(body, self.stores.inner)
        self.lanes.begin(body)

    def bind(self, name: str, value: ast.expr) -> None:
        """`name = value`, when `Facts` knows it."""
        self.stores.bind(name, value)
        self.units.bind(name, value)
        self.in_place.bind(name, value)
        if self.region.incore:
            self.lanes.bind(name, value)

    def call(self, node: ast.Call, path: str, operation: Operation) -> Callable:
        """A call of an operation: what computes it, behind a check where that has to wait for the run.

        Raises:
            KernelError: at the argument in question.
        """
        wrong = operation.misuse(path, len(node.args), [k.arg for k in node.keywords])
        if wrong is not None:
            raise self.refuse(node, f"pl.{path}: {wrong}")
        if path == "array.create":
            self.directives.check_array(node, self.called(node)[1])
        if path == "system.syncall":
            self.directives.check_barrier(node)
        self.scalars.check_lists(node)
        self.in_place.check_lists(node, path)
        self.operands.check(node, path)
        self.assembled.check(node, path)
        self.stores.check(node)
        self.units.check(node)
        self.lanes.check(node)
        if path.rpartition(".")[-1] in STORES:
            given = self.called(node)[1]
            self.assembled.check_something(node, given.get("source", given.get("tile")))
        return self.element_types.check(node, path, operation.compute)

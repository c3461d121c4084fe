"""`workbook debug`: step through a task in a terminal, with the commands of pdb."""

from __future__ import annotations

import cmd
import sys
from collections.abc import Callable
from typing import Any

import torch

from helpers.errors import InputError
from helpers.inside import value_text
from helpers.inside.opened import Inside
from helpers.inside.rounding_by_line import rounding
from helpers.interpret.values.seen import Seen

AROUND = 5  # lines of source above and below


class Debugger(cmd.Cmd):
    """The prompt. Its place is a moment; what the names hold is as after it."""

    prompt = "(debug) "

    def __init__(self, opened: Inside, at: int = 0, write: Callable[[str], Any] = print):
        super().__init__(stdin=sys.stdin, stdout=sys.stdout)
        self.use_rawinput = sys.stdin.isatty()
        if not self.use_rawinput:
            self.prompt = ""
        self.opened, self.now, self.write = opened, at, write

    def preloop(self) -> None:
        self.write(f"{self.opened.title}: {len(self.opened):,} operations. h: help, q: quit")
        for i, what in self.opened.odd[:3]:
            self.write(f"  at {i}, line {self.opened[i].place.line}: {'; '.join(what)}")
        self.show()

    def show(self) -> None:
        """Where it stands."""
        self.write(self.opened.described(self.now))

    def go(self, to: int) -> None:
        last = len(self.opened) - 1
        if to > last or to < 0:
            self.write(f"that is the {'end' if to > last else 'beginning'} of the task")
        self.now = max(0, min(to, last))
        self.show()

    # ---- commands; a docstring is what `help` says ---------------------------------------------------------------

    def do_next(self, text: str) -> None:
        """n(ext) [K]: the next operation, or the K-th from here."""
        self.go(self.now + _number(text, 1))

    def do_back(self, text: str) -> None:
        """b(ack) [K]: the operation before."""
        self.go(self.now - _number(text, 1))

    def do_jump(self, text: str) -> None:
        """j(ump) LINE [TURN]: to a line, when it runs for the TURN-th time (1: the first, -1: the last)."""
        line, *turn = text.split()
        turn = int(turn[0]) if turn else 1
        self.go(self.opened.at(int(line), turn - 1 if turn > 0 else turn))

    def do_goto(self, text: str) -> None:
        """g(oto) NUMBER: to an operation by its number."""
        self.go(int(text))

    def do_until(self, text: str) -> None:
        """u(ntil) EXPRESSION: on to the first operation after which it is true; `result` is what that one made."""
        for i in range(self.now + 1, len(self.opened)):
            try:
                true = self.evaluate(text, i)
            except (NameError, TypeError, AttributeError):
                continue  # a name is not bound yet, or there is no result
            if bool(true.any() if isinstance(true, torch.Tensor) else true):
                self.go(i)
                return
        self.write("it is not true until the end of the task")

    def do_odd(self, _: str) -> None:
        """o(dd): on to the next result with NaN, inf, nothing but zeros, or elements at the limit of a narrow type."""
        found = next((i for i, _ in self.opened.odd if i > self.now), None)
        if found is None:
            self.write("nothing odd until the end of the task")
        else:
            self.go(found)

    def do_print(self, text: str) -> None:
        """p(rint) EXPRESSION: of the names of the kernel as torch tensors, `torch`, and `result`."""
        seen = self.opened.names(self.now).get(text.strip())
        if text.strip() == "result":
            seen = self.opened[self.now].result
        if isinstance(seen, Seen):
            shown = value_text.text(seen)
            self.write(f"{shown}\n{value_text.table(seen)}" if seen.data is not None else shown)
        else:
            self.write(str(self.evaluate(text, self.now)))

    def do_names(self, _: str) -> None:
        """a, names: what the names of the function hold."""
        for name, value in self.opened.names(self.now).items():
            self.write(f"  {name} = {value_text.text(value)}")

    def do_memory(self, _: str) -> None:
        """m(emory): bytes alive in each on-chip buffer, and the chip's limit."""
        for space, n in sorted(self.opened.on_chip(self.now).items()):
            self.write(f"  {space}: {n:,} of {self.opened.limits.get(space, 0):,} bytes")

    def do_rounding(self, _: str) -> None:
        """r(ounding): what each line's rounding adds to the error of what the task stored, the dearest first."""
        self.write(repr(rounding(self.opened)))

    def do_list(self, _: str) -> None:
        """l(ist): the source around, with how often each line runs in this task."""
        m = self.opened[self.now]
        for n in range(max(1, m.place.line - AROUND), m.place.line + AROUND + 1):
            code = m.place.text.line(n) if m.place.text is not None else m.place.code if n == m.place.line else ""
            runs = len(self.opened.lines.get((m.place.file, n), ()))
            self.write(f"{'->' if n == m.place.line else '  '} {runs or '':>5} {n:>4}  {code}")

    def do_where(self, _: str) -> None:
        """w(here): the operation again, with what it took and made."""
        self.show()

    def do_quit(self, _: str) -> bool:
        """q(uit): end."""
        return True

    do_n, do_s, do_step = do_next, do_next, do_next
    do_b, do_j, do_g, do_u, do_o, do_p, do_a = do_back, do_jump, do_goto, do_until, do_odd, do_print, do_names
    do_m, do_r, do_l, do_w = do_memory, do_rounding, do_list, do_where
    do_q, do_exit, do_EOF = do_quit, do_quit, do_quit

    # ---- what cmd.Cmd asks ---------------------------------------------------------------------------------------

    def do_help(self, _: str) -> None:
        """h(elp): this."""
        done = set()
        for name in dir(self):
            said = getattr(self, name).__doc__ if name.startswith("do_") else None
            if said and said not in done:
                done.add(said)
                self.write(f"  {said}")

    do_h = do_help

    def onecmd(self, line: str) -> bool:
        """One command; what is wrong with it is said in a line."""
        try:
            return bool(super().onecmd(line))
        except InputError as e:
            self.write(str(e))
        except (ValueError, IndexError):
            self.write(f"{line.split()[0]}: {getattr(self, 'do_' + line.split()[0], self.default).__doc__}")
        except Exception as e:  # of an expression that was typed
            self.write(f"{type(e).__name__}: {e}")
        return False

    def default(self, line: str) -> None:
        """Unknown commands are said to be."""
        self.write(f"there is no command {line.split()[0]!r}; h lists them, p EXPRESSION prints a value")

    def emptyline(self) -> None:
        """Return alone goes on, as it does in pdb."""
        self.do_next("")

    def evaluate(self, text: str, at: int) -> Any:
        """An expression over the kernel's names after a moment."""
        known = {n: v.data if isinstance(v, Seen) else v for n, v in self.opened.names(at).items()}
        result = self.opened[at].result
        known["result"] = result.data if isinstance(result, Seen) else result
        return eval(text, {"torch": torch, "__builtins__": __builtins__}, known)


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.strip() else otherwise

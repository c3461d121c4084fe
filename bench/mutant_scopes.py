"""Edits of task ids, predicates, sums in no order, and axes that pl.split halves."""

from __future__ import annotations

from collections.abc import Iterable

from bench.mutant_subjects import BOUNDS, MEMORY, ORDER, SPLIT, VALUE, Mutant


def _of(subject: str, family: str, edits: Iterable[tuple[str, str, str]]) -> list[Mutant]:
    """Mutants of one kernel of `mutant_kernels` from (what, old, new)."""
    return [Mutant(f"scopes.{subject}", family, what, f"def {subject}(", old, new) for what, old, new in edits]


EDITS: tuple[Mutant, ...] = (
    *_of("chain", ORDER, [
        ("add_one waits for nothing", ", deps=[first]", ""),
        ("square waits for nothing", ", deps=[second]", ""),
        ("square waits for the task before", "deps=[second]", "deps=[first]"),
        ("subtract waits for nothing", ", deps=[third]", ""),
        ("subtract waits for the task before", "deps=[third]", "deps=[second]"),
        ("subtract waits for the two tasks before", "deps=[third]", "deps=[first, second]"),
        ("subtract waits for no task", "deps=[third]", "deps=[None]"),
        ("square's id is add_one's name", "as third", "as second"),
    ]),
    *_of("chain", VALUE, [
        ("doubled is overwritten before it is read", "squared = pl.assemble(squared, pl.mul(tile, tile), [k, 0])",
         "doubled = pl.assemble(doubled, pl.mul(tile, tile), [k, 0])\n"
         "            squared = pl.assemble(squared, pl.mul(tile, tile), [k, 0])"),
    ]),
    *_of("chain", MEMORY, [
        ("square leaves the last tile out", 'TILES, name_hint="square"', 'TILES - 1, name_hint="square"'),
    ]),
    *_of("chain", BOUNDS, [
        ("square is a row off", "pl.slice(more, [TILE, WIDTH], [k, 0])", "pl.slice(more, [TILE, WIDTH], [k + 1, 0])"),
        ("one tile too many is doubled", 'TILES, name_hint="times2"', 'TILES + 1, name_hint="times2"'),
    ]),
    *_of("phases", ORDER, [
        ("a phase waits for nothing", "name_hint=\"phase\", deps=[ready]", "name_hint=\"phase\""),
        ("the end waits for nothing", "name_hint=\"out\", deps=[ready]", "name_hint=\"out\""),
        ("every phase waits for the copy alone", "ready = done", "pass"),
        ("a phase reads what it writes", "pl.col_sum(steps[p * ROWS : p * ROWS + ROWS, :])",
         "pl.col_sum(steps[(p + 1) * ROWS : (p + 1) * ROWS + ROWS, :])"),
        ("tasks of a phase overlap", "row = (p + 1) * ROWS + b * TILE", "row = (p + 1) * ROWS + b * (TILE // 2)"),
    ]),
    *_of("phases", VALUE, [
        ("the end takes the phase before", "steps[PHASES * ROWS : PHASES * ROWS + ROWS, :]",
         "steps[(PHASES - 1) * ROWS : (PHASES - 1) * ROWS + ROWS, :]"),
    ]),
    *_of("phases", BOUNDS, [
        ("a phase too many", "pl.range(PHASES)", "pl.range(PHASES + 1)"),
        ("a tile too many", "pl.parallel(TILES)", "pl.parallel(TILES + 1)"),
    ]),
    *_of("reused", ORDER, [
        ("scratch is filled again before it is read", ", deps=[free]", ""),
        ("the fill waits for the fill before", "free = read", "free = full"),
        ("the fill waits for nobody", "free = read", "pass"),
        ("the drain waits for nothing", "name_hint=\"drain\", deps=[full]", "name_hint=\"drain\""),
        ("the drain waits for the drain before", "deps=[full]", "deps=[free]"),
    ]),
    *_of("slots", ORDER, [
        ("the tile after is not waited for", "deps=[ids[j], ids[after]]", "deps=[ids[j]]"),
        ("the own tile is not waited for", "deps=[ids[j], ids[after]]", "deps=[ids[after]]"),
        ("all wait for the first", "deps=[ids[j], ids[after]]", "deps=[ids[0]]"),
        ("all wait for the last", "deps=[ids[j], ids[after]]", "deps=[ids[TILES - 1]]"),
        ("all ids go to one place", "ids[i] = one", "ids[0] = one"),
        ("ids are a place off", "ids[i] = one", "ids[(i + 1) % TILES] = one"),
        ("ids are not kept", "ids[i] = one", "pass"),
        ("ids are one short", "for i in pl.range(TILES):", "for i in pl.range(TILES - 1):"),
    ]),
    *_of("gated", ORDER, [
        ("the launch waits for the task before", "deps=[counted]", "deps=[zeroed]"),
        ("the launch waits for nothing", ", deps=[counted]", ""),
        ("the count waits for nothing", "name_hint=\"count\", deps=[zeroed]", "name_hint=\"count\""),
    ]),
    *_of("gated", VALUE, [
        ("the predicate asks about another element", "count[0, 0] > 0", "count[0, 1] > 0"),
        ("the predicate is turned", "count[0, 0] > 0", "count[0, 0] <= 0"),
    ]),
    *_of("summed", MEMORY, [
        ("the sum is not zeroed", "y = pl.assemble(y, pl.full([TILE, WIDTH], dtype=pl.FP32, value=0.0), [0, 0])",
         "y = pl.assemble(y, pl.full([1, WIDTH], dtype=pl.FP32, value=0.0), [0, 0])"),
        ("half of the sum is not zeroed", "pl.full([TILE, WIDTH]", "pl.full([TILE // 2, WIDTH]"),
    ]),
    *_of("summed", ORDER, [
        ("blocks write in place of adding", ", atomic=pl.AtomicType.Add", ""),
    ]),
    *_of("summed", VALUE, [
        ("a tile is left out", "pl.spmd(TILES, name_hint=\"add\"", "pl.spmd(TILES - 1, name_hint=\"add\""),
        ("a tile counts twice", "[i * TILE, 0]", "[i // 2 * TILE, 0]"),
        ("the seed is one", "value=0.0", "value=1.0"),
    ]),
    *_of("upper", SPLIT, [
        ("columns are halved, and rows reduced", "UP_DOWN", "LEFT_RIGHT"),
        ("columns are reduced too", "pl.row_expand_sub(scores, pl.row_max(scores))",
         "pl.col_expand_sub(scores, pl.col_max(scores))"),
        ("columns are summed", "pl.row_expand_div(exponentials, pl.row_sum(exponentials))",
         "pl.col_expand_div(exponentials, pl.col_sum(exponentials))"),
    ]),
    *_of("beside", SPLIT, [
        ("rows are halved, and columns reduced", "LEFT_RIGHT", "UP_DOWN"),
        ("rows are reduced too", "pl.col_expand_sub(product, pl.col_max(product))",
         "pl.row_expand_sub(product, pl.row_max(product))"),
        ("rows are summed", "pl.col_expand_sub(product, pl.col_max(product))",
         "pl.row_expand_div(product, pl.row_sum(product))"),
    ]),
    Mutant("flash_attention.mixed", SPLIT, "columns of scores are halved, and rows reduced", "def mixed",
           "SplitMode.UP_DOWN", "SplitMode.LEFT_RIGHT"),
    Mutant("flash_attention.fused", SPLIT, "columns of scores are halved, and rows reduced", "Phase 1",
           "SplitMode.UP_DOWN", "SplitMode.LEFT_RIGHT"),
    Mutant("flash_attention.fused", VALUE, "both lanes write the first half's maxima", "Phase 1",
           "pl.assemble(max_parts, top, [part + lane * (Q_PAD // 2), 0])", "pl.assemble(max_parts, top, [part, 0])"),
    Mutant("flash_attention.fused", MEMORY, "both lanes write the second half's sums", "Phase 1",
           "pl.assemble(sum_parts, total, [part + lane * (Q_PAD // 2), 0])",
           "pl.assemble(sum_parts, total, [part + Q_PAD // 2, 0])"),
    Mutant("flash_attention.fused", ORDER, "the launch waits for no task", "def launch_attention", "deps=[table_ready]",
           "deps=[None]"),
)  # fmt: skip

"""What an operation makes of its operands, as far as its name tells: of which the result has shape, type, layout."""

from __future__ import annotations

CREATES = {"create_tensor", "create_tile", "create", "create_l1"}
ELEMENTWISE = {"add", "sub", "mul", "div", "maximum", "minimum", "rem", "fmod", "and_", "or_", "xor", "shl", "shr"}
SAME_SHAPE = {
    "exp", "log", "sin", "cos", "sqrt", "rsqrt", "recip", "neg", "abs", "relu", "not_", "cast", "fillpad", "move",
    "set_validshape", "assemble", "row_expand_mul", "row_expand_div", "row_expand_sub", "row_expand_add",
    "col_expand_mul", "col_expand_div", "col_expand_sub", "col_expand_add", "no_dep", "write", "matmul_acc",
}  # fmt: skip
FOLDS = {"row_sum", "row_max", "row_min", "row_prod", "col_sum", "col_max", "col_min", "col_prod"}
EXPANSIONS = {f"{axis}_expand_{x}" for axis in ("row", "col") for x in ("max", "min", "expdif")} | {
    "row_expand", "col_expand", "expand_clone", "fillpad_expand", "concat", "lrelu", "prelu", "part_add",
    "part_mul", "part_max", "part_min", "adds", "subs", "muls", "divs", "maximums", "minimums", "fmods", "rems", "ands",
    "ors", "xors", "shls", "shrs", "scatter_update", "gather_row", "extract",
}  # fmt: skip
CUBE = {"matmul", "matmul_acc", "matmul_bias", "batch_matmul", "batch_matmul_acc", "gemv", "gemv_acc", "gemv_bias"}
PRODUCTS = {"matmul", "matmul_acc", "matmul_bias"}
# Operations whose result is laid out in UB as their first operand is (tried on PyPTO e2d0f78a, with a product).
SAME_LAYOUT = (SAME_SHAPE | ELEMENTWISE | EXPANSIONS | {"slice", "reshape"}) - {
    "assemble", "write", "matmul_acc", "concat", "expand_clone", "scatter_update", "gather_row", "extract", "no_dep",
    "prelu", "lrelu",
}  # fmt: skip
SAME_TYPE = (SAME_SHAPE | ELEMENTWISE | FOLDS | EXPANSIONS | {"slice", "reshape", "transpose"}) - {"cast"}

UNARY = {"exp", "log", "sin", "cos", "sqrt", "rsqrt", "recip", "neg", "abs", "relu", "not_", "cast"}
# Operations that only the vector unit does.
VECTOR = (SAME_TYPE | UNARY) - {"slice", "reshape", "transpose", "assemble", "move", "no_dep", "write"} - CUBE
# Operations of tensors whose result counts as valid as a whole.
WHOLE = PRODUCTS | {f"{axis}_expand_{x}" for axis in ("row", "col") for x in ("add", "sub", "mul", "div")} | {"concat"}

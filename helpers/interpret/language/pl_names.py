"""The names of `pypto.language` that are no operations, as data: element types, enums, directives.

Source: `pl.__all__` of hw-native-sys/pypto, written down as bare names. Operations are
declared in `helpers.interpret.ops`; `docs/language.md` lists the state of every name.
"""

from __future__ import annotations

from helpers.errors import KernelError

AUTO = -1

NAMESPACES = ("tensor", "tile", "system", "array", "prefetch")

DIRECTIVES = """
range parallel unroll pipeline while_ yield_ cond static_print static_assert func_attr at cluster spmd split_aiv split
cross_core_slot scope manual_scope submit spmd_submit const MemRef TensorView TileView parse loads
parse_program loads_program
""".split()

DTYPES = {
    "BOOL": 8, "INT4": 4, "INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "UINT4": 4, "UINT8": 8, "UINT16": 16,
    "UINT32": 32, "UINT64": 64, "FP4": 4, "FP8E4M3FN": 8, "FP8E5M2": 8, "FP8E8M0": 8, "HF4": 4, "HF8": 8, "FP16": 16,
    "BF16": 16, "FP32": 32, "INDEX": 64, "TASK_ID": 64,
}  # fmt: skip

ENUMS = {
    "Level": ("CORE", "CORE_GROUP", "CHIP", "HOST"),
    "Role": ("Orchestrator", "SubWorker"),
    "SplitMode": ("NONE", "UP_DOWN", "LEFT_RIGHT"),
    "PadValue": ("null", "zero", "min", "max"),
    "MemorySpace": ("DDR", "Vec", "Mat", "Left", "Right", "Acc", "Bias", "LeftScale", "RightScale", "ScalarLocal"),
    "AtomicType": ("None_", "Add"),
    "ScopeMode": ("AUTO", "MANUAL"),
    "FunctionType": ("Opaque", "InCore", "Orchestration", "Inline", "AIC", "AIV", "Group", "Spmd"),
    "ForKind": ("Sequential", "Parallel", "Unroll", "Pipeline"),
    "TensorLayout": ("ND", "DN", "NZ", "MX_A_ZZ", "MX_B_NN"),
    "TileLayout": ("none_box", "row_major", "col_major"),
    "CompactMode": ("null", "normal"),
    "PipeType": ("MTE1", "MTE2", "MTE3", "M", "V", "S", "FIX", "ALL"),
}

# Names that are neither operations nor directives.
DECORATORS = "jit function inline program".split()
TYPES = "Tensor Tile Scalar Array Tuple Out InOut TaskId DynVar dynamic IntLike JITFunction InlineFunction".split()
CONSTANTS = "AUTO RUNTIME Mem ND DN NZ MX_A_ZZ MX_B_NN".split()
MODULES = "optimizations parser adir".split()
HANDLES = "AsyncEvent AsyncSession PrefetchAsyncContext MemRefType Ptr PtrType".split()
RUNTIME = "RUNTIME"  # in place of a scalar argument when compiling: its value is not compiled in

MASK_PATTERNS = ("P0101", "P1010", "P0001", "P0010", "P0100", "P1000", "P1111")


def only_parsed(name: str) -> KernelError:
    """The error for calling a `pl` name outside a kernel."""
    return KernelError(
        f"pl.{name} has no meaning outside a kernel: the source of a function decorated with @pl.jit is parsed, "
        "not executed. Put the call into a kernel and call the kernel."
    )

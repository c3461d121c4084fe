"""The names of `pypto.language`, as data: operations by namespace, element types, enums, directives.

Source: `pl.__all__` and the namespaces of hw-native-sys/pypto at e2d0f78a (2026-08-21), written down as
bare names. What interpret mode does for each is in `helpers.interpret.ops`; `docs/language.md` lists the
state of every name.
"""

from __future__ import annotations

from helpers.errors import KernelError

AUTO = -1

OPERATIONS = """
add sub mul div part_add part_mul part_max part_min maximum minimum exp log sin cos neg abs recip sqrt rsqrt cast
concat reshape reinterpret_view transpose slice matmul batch_matmul matmul_acc matmul_bias matmul_mx matmul_mx_acc
matmul_mx_bias gemv gemv_acc gemv_bias row_max row_sum row_min row_prod col_sum col_max col_min col_prod row_argmax
row_argmin col_argmax col_argmin row_expand row_expand_mul row_expand_div row_expand_add row_expand_sub row_expand_max
row_expand_min row_expand_expdif col_expand col_expand_mul col_expand_div col_expand_sub col_expand_add col_expand_max
col_expand_min col_expand_expdif expand_clone expands read write create_tile fillpad fillpad_expand load store move
gatherb mgather mscatter relu min max cmp cmps set_validshape rem rems fmod fmods and_ ands or_ ors xor xors shl shls
shr shrs maximums minimums prelu not_ addc subc addsc subsc lrelu sel sels tri tpush_to_aiv tpush_to_aic aiv_shard
aic_gather tpop_from_aic tpop_from_aiv aic_initialize_pipe aiv_initialize_pipe reserve_buffer import_peer_buffer
tfree_to_aic tfree_to_aiv assemble gather_row mrgsort scatter_update sort32 create_tensor dim full no_dep dump_tag
scatter arange gather paged_gather random create_l1 get_block_idx get_block_num get_subblock_idx
""".split()

NAMESPACES = {
    "tensor": """
create create_tensor no_dep dump_tag read write dim slice fillpad fillpad_expand set_validshape full ci arange
random matmul matmul_acc mul muls add adds sub subs div divs part_add part_mul part_max part_min fmod fmods
maximum minimum cmp and_ ands or_ ors xor xors not_ shl shls shr shrs row_max row_sum row_min row_prod col_sum
col_max col_min col_prod row_argmax row_argmin col_argmax col_argmin row_expand row_expand_mul row_expand_div
row_expand_add row_expand_sub row_expand_max row_expand_min row_expand_expdif col_expand_mul col_expand
col_expand_sub col_expand_div col_expand_add col_expand_max col_expand_min col_expand_expdif expands
expand_clone exp log sin cos neg abs recip sqrt rsqrt cast assemble concat reshape reinterpret_view transpose
view scatter_update sort32 mrgsort gather paged_gather create_l1 gather_row scatter alloc get_block_idx
get_subblock_idx get_block_num
""".split(),
    "tile": """
alloc create create_tile read write load store assemble gather_row extract scatter_update concat move
aiv_shard aic_gather full ci arange tri random fillpad fillpad_inplace fillpad_expand get_block_idx
get_subblock_idx get_block_num add sub mul div adds subs muls divs neg exp sin cos sqrt rsqrt recip log abs
relu cast matmul batch_matmul matmul_acc batch_matmul_acc matmul_bias matmul_mx matmul_mx_acc matmul_mx_bias
gemv gemv_acc gemv_bias row_max row_sum row_min row_prod col_sum col_max col_min col_prod row_argmax
row_argmin col_argmax col_argmin maximum row_expand row_expand_sub row_expand_div row_expand_mul
row_expand_add col_expand col_expand_mul col_expand_div col_expand_sub col_expand_add row_expand_max
row_expand_min row_expand_expdif col_expand_max col_expand_min col_expand_expdif expands minimum cmp cmps max
min slice reshape reinterpret_view transpose transpose_view set_validshape rem rems part_add part_mul part_max
part_min fmod fmods and_ ands or_ ors xor xors shl shls shr shrs maximums minimums prelu not_ addc subc addsc
subsc lrelu sel sels sort32 gather gatherb gather_mask gather_compare scatter scatter_mask mscatter mgather
mrgsort tpush_to_aiv tpush_to_aic tpop_from_aic tpop_from_aiv
""".split(),
    "system": """
sync_set sync_wait set_ffts syncall cacheinvalid fence tpush_to_aiv tpush_to_aic tfree_to_aic tfree_to_aiv
tpop_from_aic tpop_from_aiv reserve_buffer import_peer_buffer task_invalid task_dummy available_cluster_count
available_aiv_count bar_all bar_v bar_m sync_src sync_dst aic_initialize_pipe aiv_initialize_pipe
""".split(),
    "array": "create get_element update_element".split(),
    "prefetch": "async_prefetch make_context session wait".split(),
}

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


def exists(path: str) -> bool:
    """True when `pl.<path>` is a name of the language."""
    space, _, name = path.rpartition(".")
    return name in NAMESPACES.get(space, ()) if space else name in OPERATIONS or name in DIRECTIVES


def only_parsed(name: str) -> KernelError:
    """The error for calling a `pl` name outside a kernel."""
    return KernelError(
        f"pl.{name} has no meaning outside a kernel: the source of a function decorated with @pl.jit is parsed, "
        "not executed. Put the call into a kernel and call the kernel."
    )

"""What each operation of the language is called with: parameter names in order, `?` after those that may be left out.

Source: `inspect.signature` of every operation of `pypto.language` in hw-native-sys/pypto at e2d0f78a; a test compares
the two where that package is installed. An operation can go by three paths (`pl.x`, `pl.tensor.x`, `pl.tile.x`) with
parameters of three names; here one function serves them, so arguments given by name are passed on by position.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence

# After * a parameter is given by name only.
_TABLE = (
    ("", """
        get_block_idx get_block_num get_subblock_idx prefetch.make_context system.available_aiv_count
        system.available_cluster_count system.bar_all system.bar_m system.bar_v system.fence system.task_invalid
        tensor.get_block_idx tensor.get_block_num tensor.get_subblock_idx tile.get_block_idx tile.get_block_num
        tile.get_subblock_idx
    """),
    ("input", """
        abs col_max col_min col_prod cos exp neg not_ sin sqrt tensor.abs tensor.col_argmax tensor.col_argmin
        tensor.col_max tensor.col_min tensor.col_prod tensor.col_sum tensor.cos tensor.exp tensor.neg tensor.not_
        tensor.row_argmax tensor.row_argmin tensor.row_max tensor.row_min tensor.row_prod tensor.row_sum tensor.sin
        tensor.sqrt
    """),
    ("tensor", "dump_tag no_dep tensor.dump_tag tensor.no_dep"),
    ("tile", """
        relu tile.abs tile.col_max tile.col_min tile.col_prod tile.cos tile.exp tile.neg tile.not_ tile.relu tile.sin
        tile.sqrt tile.transpose_view
    """),
    ("workspace", "system.set_ffts"),
    ("x", "aic_gather aiv_shard tile.aic_gather tile.aiv_shard"),
    ("* deps", "system.task_dummy"),
    ("array index", "array.get_element"),
    ("extent dtype", "array.create"),
    ("input high_precision?", "log recip rsqrt tensor.log tensor.recip tensor.rsqrt"),
    ("input shape", "reshape"),
    ("input tmp_tile?", "col_argmax col_argmin col_sum row_argmax row_argmin row_max row_min row_prod row_sum"),
    ("lhs rhs", """
        add and_ ands batch_matmul col_expand col_expand_add col_expand_div col_expand_expdif col_expand_max
        col_expand_min col_expand_mul col_expand_sub fmod fmods max maximum maximums min minimum minimums mul or_ ors
        part_add part_max part_min part_mul row_expand row_expand_div row_expand_expdif row_expand_max row_expand_min
        row_expand_mul row_expand_sub shl shls shr shrs sub tensor.add tensor.adds tensor.and_ tensor.ands tensor.divs
        tensor.fmod tensor.fmods tensor.maximum tensor.minimum tensor.mul tensor.muls tensor.or_ tensor.ors
        tensor.part_add tensor.part_max tensor.part_min tensor.part_mul tensor.shl tensor.shls tensor.shr tensor.shrs
        tensor.sub tensor.subs tensor.xor tensor.xors tile.add tile.adds tile.and_ tile.ands tile.batch_matmul
        tile.divs tile.fmod tile.fmods tile.matmul tile.max tile.maximum tile.maximums tile.min tile.minimum
        tile.minimums tile.mul tile.muls tile.or_ tile.ors tile.shl tile.shls tile.shr tile.shrs tile.sub tile.subs
    """),
    ("memory_space size", "tensor.alloc"),
    ("src ctx", "prefetch.async_prefetch"),
    ("ctx", "prefetch.session"),
    ("event session_handle", "prefetch.wait"),
    ("src idx", "sort32 tensor.sort32 tile.sort32"),
    ("src offset", "read"),
    ("src target", "expand_clone tensor.expand_clone"),
    ("src0 src1", "concat tensor.concat tile.concat tile.part_add tile.part_max tile.part_min tile.part_mul"),
    ("target col_vec", "tile.col_expand"),
    ("target row_vec", "tensor.row_expand tile.row_expand"),
    ("tensor axis", "dim tensor.dim"),
    ("tensor col_vec", """
        tensor.col_expand tensor.col_expand_add tensor.col_expand_div tensor.col_expand_expdif tensor.col_expand_max
        tensor.col_expand_min tensor.col_expand_mul tensor.col_expand_sub
    """),
    ("tensor indices", "tensor.read"),
    ("tensor pad_value?", "tensor.fillpad"),
    ("tensor row_vec", """
        tensor.row_expand_add tensor.row_expand_div tensor.row_expand_expdif tensor.row_expand_max
        tensor.row_expand_min tensor.row_expand_mul tensor.row_expand_sub
    """),
    ("tensor shape", "tensor.reshape"),
    ("tile col_vec", """
        tile.col_expand_add tile.col_expand_div tile.col_expand_expdif tile.col_expand_max tile.col_expand_min
        tile.col_expand_mul tile.col_expand_sub
    """),
    ("tile high_precision?", "tile.log tile.recip"),
    ("tile indices", "tile.read"),
    ("tile pad_value?", "tile.fillpad tile.fillpad_inplace"),
    ("tile row_vec", """
        tile.row_expand_div tile.row_expand_expdif tile.row_expand_max tile.row_expand_min tile.row_expand_mul
        tile.row_expand_sub
    """),
    ("tile shape", "tile.reshape"),
    ("tile slope", "lrelu tile.lrelu"),
    ("tile tmp?", "tile.rsqrt"),
    ("tile tmp_tile", """
        tile.col_argmax tile.col_argmin tile.row_argmax tile.row_argmin tile.row_max tile.row_min tile.row_prod
        tile.row_sum
    """),
    ("tile tmp_tile?", "tile.col_sum"),
    ("value pad_value?", "fillpad"),
    ("acc lhs rhs", "tile.batch_matmul_acc"),
    ("array index value", "array.update_element"),
    ("dst offset value", "write"),
    ("dst src indexes", "tile.scatter"),
    ("dst src mask_pattern", "tile.scatter_mask"),
    ("input *args **kwargs", "scatter_update tensor.scatter_update tile.scatter_update"),
    ("input axis1 axis2", "transpose"),
    ("input target_type mode?", "cast tensor.cast"),
    ("input valid_rows valid_cols", "set_validshape"),
    ("lhs rhs acc_phase?", "gemv tile.gemv"),
    ("lhs rhs bias", "matmul_bias tile.matmul_bias"),
    ("lhs rhs cmp_type?", "cmp cmps tensor.cmp tile.cmp tile.cmps"),
    ("lhs rhs high_precision?", "div tensor.div tile.div"),
    ("lhs rhs rhs2", "addc addsc subc subsc tile.addc tile.addsc tile.subc tile.subsc"),
    ("lhs rhs tmp", "rem rems tile.rem tile.rems tile.xor tile.xors"),
    ("lhs rhs tmp?", "row_expand_add xor xors"),
    ("shape dtype transpose?", "create_l1 tensor.create_l1"),
    ("shape dtype value", "full tensor.full tile.full"),
    ("* name peer_func", "import_peer_buffer system.import_peer_buffer"),
    ("* name size base?", "reserve_buffer system.reserve_buffer"),
    ("tile * split id?", "tpush_to_aic system.tpush_to_aic tile.tpush_to_aic"),
    ("tile * split lane_stride? id?", "tpush_to_aiv system.tpush_to_aiv tile.tpush_to_aiv"),
    ("tile * split? id?", "tfree_to_aic tfree_to_aiv system.tfree_to_aic system.tfree_to_aiv"),
    ("* shape? dtype? split? id?", "tpop_from_aiv system.tpop_from_aiv tile.tpop_from_aiv"),
    ("* shape? dtype? split? lane_stride? id?", "tpop_from_aic system.tpop_from_aic tile.tpop_from_aic"),
    ("c2v_consumer_buf? v2c_consumer_buf? * dir_mask slot_size slot_num? local_slot_num? id?", """
        aic_initialize_pipe aiv_initialize_pipe system.aic_initialize_pipe system.aiv_initialize_pipe
    """),
    ("src idx output_tensor", "mscatter tile.mscatter"),
    ("src indices tmp", "tile.gather"),
    ("target source offset", "tile.assemble"),
    ("tensor axis1 axis2", "tensor.transpose"),
    ("tensor indices value", "tensor.write"),
    ("tensor shape pad_value?", "tensor.fillpad_expand"),
    ("tensor valid_rows valid_cols", "tensor.set_validshape"),
    ("tensor? shapes? offsets?", "system.cacheinvalid"),
    ("tile indices value", "tile.write"),
    ("tile row_vec tmp?", "tile.row_expand_add"),
    ("tile shape pad_value?", "tile.fillpad_expand"),
    ("tile slope tmp", "prelu tile.prelu"),
    ("tile target_type mode?", "tile.cast"),
    ("tile valid_rows valid_cols", "tile.set_validshape"),
    ("value shape pad_value?", "fillpad_expand"),
    ("* set_pipe wait_pipe event_id", "system.sync_dst system.sync_src"),
    ("acc lhs rhs acc_phase?", "gemv_acc tile.gemv_acc"),
    ("acc lhs rhs init_cond?", "tile.matmul_acc"),
    ("data dtype * shape?", "reinterpret_view tensor.reinterpret_view tile.reinterpret_view"),
    ("event_id * pipe core_type?", "system.sync_wait"),
    ("lhs lhs_scale rhs rhs_scale", "matmul_mx tile.matmul_mx"),
    ("lhs rhs bias acc_phase?", "gemv_bias tile.gemv_bias"),
    ("mask lhs rhs tmp", "sel tile.sel"),
    ("mask src tmp scalar", "sels tile.sels"),
    ("memory_space size * pinned?", "tile.alloc"),
    ("src mask_pattern * output_dtype?", "tile.gather_mask"),
    ("src offset * output_dtype?", "gatherb tile.gatherb"),
    ("start shape dtype? descending?", "arange tensor.arange tensor.ci tile.arange tile.ci"),
    ("tile axis1 axis2 tmp_tile?", "tile.transpose"),
    ("tile target_memory blayout? slayout?", "move tile.move"),
    ("* core_type? mode? gm_workspace? used_cores?", "system.syncall"),
    ("acc lhs lhs_scale rhs rhs_scale", "matmul_mx_acc tile.matmul_mx_acc"),
    ("diagonal shape valid_shape? dtype? upper?", "tile.tri tri"),
    ("event_id * pipe ffts_mode? core_type?", "system.sync_set"),
    ("lhs lhs_scale rhs rhs_scale bias", "matmul_mx_bias tile.matmul_mx_bias"),
    ("shape dtype layout? manual_dep? init_value?", "create_tensor tensor.create tensor.create_tensor"),
    ("target source offset * atomic?", "assemble tensor.assemble"),
    ("tensor shape? valid_shape? * layout?", "tensor.view"),
    ("acc lhs rhs a_trans? b_trans? init_cond?", "matmul_acc tensor.matmul_acc"),
    ("lhs rhs out_dtype? a_trans? b_trans? c_matrix_nz?", "matmul tensor.matmul"),
    ("shape dtype target_memory? transpose? * flat_layout?", "create_tile tile.create tile.create_tile"),
    ("src index_row index_col shape * target_memory", "tile.extract"),
    ("tensor offsets shapes valid_shape? target_memory? clamp?", "load tile.load"),
    ("tile offsets output_tensor shapes? * atomic?", "store tile.store"),
    ("tile shape offset valid_shape? drop_dims? pad_value?", "tile.slice"),
    ("input dim? index? src? * mask_pattern? dst?", "scatter tensor.scatter"),
    ("input shape offset valid_shape? drop_dims? pad_value? clamp?", "slice"),
    ("src0 src1? src2? src3? * exhausted? block_len?", "tensor.mrgsort"),
    ("tensor shape offset valid_shape? drop_dims? pad_value? clamp?", "tensor.slice"),
    ("acc src dst_offset src_offset shapes transpose? * valid_shape?", "tensor.gather_row"),
    ("dst src dst_offset src_offset shapes transpose? * valid_shape?", "gather_row tile.gather_row"),
    ("mem idx coalesce? * gather_oob? target_memory? scratch? valid_shape?", "mgather tile.mgather"),
    ("src kvalue tmp * cmp_mode? offset? out_cols count_dtype?", "tile.gather_compare"),
    ("src0 src1? src2? src3? tmp? * exhausted? block_len?", "mrgsort"),
    ("src0 src1? src2? src3? tmp? exhausted? * block_len?", "tile.mrgsort"),
    ("key0 key1 counter0 counter1 counter2 counter3 shape dtype? rounds?", "random tensor.random"),
    ("key0 key1 counter0 counter1 counter2 counter3 shape valid_shape? dtype? rounds?", "tile.random"),
    ("input dim? index? * mask_pattern? output_dtype? kvalue? cmp_mode? out_cols? offset? count_dtype?", """
        gather tensor.gather
    """),
    ("src indices block_table block_size size max_indices * space? col_off? is_trans? is_b_matrix?", """
        paged_gather tensor.paged_gather
    """),
)  # fmt: skip

# Scratch that a tile form needs and a tensor form, whose scratch the compiler makes, does not take.
TILE_SCRATCH = {
    "row_max": "tmp_tile", "row_min": "tmp_tile", "row_sum": "tmp_tile", "row_prod": "tmp_tile",
    "row_argmax": "tmp_tile", "row_argmin": "tmp_tile", "col_argmax": "tmp_tile", "col_argmin": "tmp_tile",
    "xor": "tmp", "xors": "tmp",
}  # fmt: skip


def _parsed(text: str) -> inspect.Signature:
    out, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for word in text.split():
        if word == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        elif word.startswith("**"):
            out.append(inspect.Parameter(word[2:], inspect.Parameter.VAR_KEYWORD))
        elif word.startswith("*"):
            out.append(inspect.Parameter(word[1:], inspect.Parameter.VAR_POSITIONAL))
        else:
            default = None if word.endswith("?") else inspect.Parameter.empty
            out.append(inspect.Parameter(word.rstrip("?"), kind, default=default))
    return inspect.Signature(out)


SIGNATURES: dict[str, inspect.Signature] = {
    path: signature for text, paths in _TABLE for signature in [_parsed(text)] for path in paths.split()
}


def own_names(path: str, fn: Callable) -> dict[str, str]:
    """Parameter names of `pl.<path>` to those of the function that interprets it: the same, or else at its position."""
    mine = list(inspect.signature(fn).parameters)[2:]
    return {
        n: n if n in mine else mine[i] for i, n in enumerate(SIGNATURES[path].parameters) if n in mine or i < len(mine)
    }


def check(path: str, positional: int, named: Sequence[str]) -> str | None:
    """What is wrong with a call of `pl.<path>` with that many positional arguments and these named ones, or None."""
    signature = SIGNATURES[path]
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(named))
    except TypeError as e:
        return f"{e}: it takes ({', '.join(str(p).replace('=None', '=...') for p in signature.parameters.values())})"
    return None


def arranged(
    path: str, fn: Callable, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]
) -> tuple[list[ast.expr], dict[str, ast.expr]]:
    """The arguments of a call of `pl.<path>` as `fn` takes them: by position, as long as its order is the same."""
    own = list(inspect.signature(fn).parameters.values())[2:]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own):
        return list(args), {k.arg: k.value for k in keywords}
    names, mine, theirs = own_names(path, fn), [p.name for p in own], list(SIGNATURES[path].parameters)
    same = next((i for i, n in enumerate(theirs[: len(args)]) if names.get(n, mine[i]) != mine[i]), len(args))
    by_name = {names[n]: a for n, a in zip(theirs[same:], args[same:])}
    return list(args[:same]), by_name | {names.get(k.arg, k.arg): k.value for k in keywords}

/* ---- the table of this instruction set ------------------------------------------------------- */

static const itp_kernels ITP_K(kernels) = {ITP_ISA_NAME,
                                           V_WIDTH,
                                           V_MR,
                                           2 * V_WIDTH,
                                           V_AHEAD,
                                           V_SPARSE ? V_PAIRS : 0,
#define ITP_KERNEL(type, name, arguments) ITP_K(name),
                                           ITP_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
};

static const itp_grad_kernels ITP_K(grad_kernels) = {
#define ITP_KERNEL(type, name, arguments) ITP_K(name),
    ITP_GRAD_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
};

#ifndef INTERP_NO_EMBED
static const itp_embed_kernels ITP_K(embed_kernels) = {
#define ITP_KERNEL(type, name, arguments) ITP_K(name),
    ITP_EMBED_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
};
#endif

ITP_TARGET_END

#undef ITP_K
#undef ITP_ISA_NAME
#undef ITP_TARGET_GCC
#undef V_WIDTH
#undef V_MR
#undef V_STEPS
#undef V_AHEAD
#undef V_PAIRS
#undef V_PAIRS_ON
#undef V_ROWS_ON
#undef V_LANES
#undef vf
#undef vm
#undef v_set
#undef v_zero
#undef v_load
#undef v_store
#undef v_loadn
#undef v_storen
#undef v_loads
#undef v_gather
#undef v_bits
#undef v_add
#undef v_sub
#undef v_mul
#undef v_div
#undef v_fma
#undef v_mac
#undef v_mac_lane
#undef v_fnma
#undef v_max
#undef v_min
#undef v_abs
#undef v_neg
#undef v_sqrt
#undef v_lt
#undef v_le
#undef v_gt
#undef v_eq
#undef v_both
#undef v_select
#undef v_round
#undef v_pow2
#undef v_exponent
#undef v_mantissa
#undef v_sum
#undef v_hmax
#undef v_transpose
#undef vl
#undef v_lanes
#undef v_between
#undef v_even
#undef v_odd
#undef v_push
#undef v_pull
#undef v_zip
#undef v_zip2
#undef V_LOOP
#undef V_EACH
#undef V_SPARSE
#undef V_PAIRWISE
#undef v_get
#undef v_put
#undef ITP_SELU_SCALE
#undef ITP_SELU_ALPHA
#undef ITP_SQRT_HALF
#undef ITP_SQRT_2_BY_PI
#undef ITP_GELU_CUBE
#undef ITP_SUM_BLOCK

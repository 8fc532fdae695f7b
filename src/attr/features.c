/* ---- attr/features.c: what is perturbed at once: masks, tiles, windows, boxes --------------------- */

enum {
    ITP_MASK_IDS = 65536,
    ITP_MASK_WORDS = ITP_MASK_IDS / 32,
    ITP_OWEN_ROUND = 16,
    ITP_ANCHOR_KEPT = 4096
};

/* A box of positions [planes, rows, columns], from lo up to but without hi. */
typedef struct itp_box {
    int lo[3], hi[3];
} itp_box;

/* A coalition of the hierarchy: two bits of `path` for each level, which half, and whether the other
   half is present. f0, f1: the output without and with the box. */
typedef struct itp_owen_node {
    uint64_t path;
    double f0, f1;
    int depth;
} itp_owen_node;

/* A random copy with an anchor: what it was drawn for, how many features the anchor had, what came out. */
typedef struct itp_anchor_copy {
    int arm, size;
    float f;
    bool keeps;
} itp_anchor_copy;

/* What the perturbation methods keep in an itp_attr. */
typedef struct itp_perturb {
    int count;              /* features */
    int32_t *id;            /* [input]: feature of each number; NULL: each is its own */
    int tile_rows;          /* > 0: features are tiles of this size */
    int tile_columns, grid; /* grid: tiles in a row */
    int tiles;              /* of each view */
    int window[INTERP_MAX_RANK], stride[INTERP_MAX_RANK], steps[INTERP_MAX_RANK];
    bool all;     /* kernel_shap: all coalitions, each once */
    uint8_t *on;  /* [count]: which features are as in x */
    int *order;   /* [count] */
    int order_of; /* number of the permutation in `order`; -1: none */
    int *inside;  /* [count]: of the anchor so far, numbered from 1 on as they came; else 0 */
    itp_anchor_copy *copies; /* [ITP_ANCHOR_KEPT]: the latest */
    int spent;               /* passes of the sample at hand */
    double *matrix;          /* of the regressions */
    double *row, before, weights, weighted;
    itp_box root;
    itp_owen_node *queue; /* a heap, the largest share first */
    int queued;
    itp_owen_node open[ITP_OWEN_ROUND];
    double value[2 * ITP_OWEN_ROUND];
} itp_perturb;

/* The most segments that so many become, at least one for each view. */
ITP_FN int itp_segments_most(const interp_shape *in, int segments)
{
    const int views = itp_views(in);
    return itp_min(itp_max(1, segments / views), in->dim[in->rank - 2] * in->dim[in->rank - 1]) *
           views;
}

/* ---- masks */

/* Marks the ids in use; false when one is out of range. */
ITP_FN bool itp_mask_seen(const int32_t *mask, size_t n, uint32_t seen[ITP_MASK_WORDS])
{
    memset(seen, 0, ITP_MASK_WORDS * sizeof *seen);
    for (size_t i = 0; i < n; i++) {
        if (mask[i] < 0 || mask[i] >= ITP_MASK_IDS) return false;
        seen[mask[i] / 32] |= (uint32_t)1 << mask[i] % 32;
    }
    return true;
}

ITP_FN int itp_bits(uint32_t v)
{
    int n = 0;
    for (; v; v &= v - 1) n++;
    return n;
}

/* How many features a mask tells apart; -1 when an id is out of range. */
ITP_FN int itp_mask_count(const int32_t *mask, size_t n)
{
    uint32_t seen[ITP_MASK_WORDS];
    int count = 0;
    if (!itp_mask_seen(mask, n, seen)) return -1;
    for (int i = 0; i < ITP_MASK_WORDS; i++) count += itp_bits(seen[i]);
    return count;
}

/* Whether a mask's shape fits the input's: dimensions aligned at the end, 1 fits any, and those that
   the input does not have are 1. */
ITP_FN bool itp_mask_fits(const interp_shape *mask, const interp_shape *in)
{
    const int more = mask->rank - in->rank;
    if (mask->rank < 0 || mask->rank > INTERP_MAX_RANK) return false;
    for (int i = 0; i < mask->rank; i++)
        if (mask->dim[i] != 1 && (i < more || mask->dim[i] != in->dim[i - more])) return false;
    return true;
}

/* The place in a mask of number k of the input. */
ITP_FN size_t itp_mask_place(const interp_shape *mask, const interp_shape *in, size_t k)
{
    size_t place = 0, step = 1;
    for (int i = 1; i <= in->rank; i++) {
        const size_t n = (size_t)in->dim[in->rank - i], at = k % n;
        const size_t m = i <= mask->rank ? (size_t)mask->dim[mask->rank - i] : 1;
        k /= n;
        if (m > 1) place += at * step;
        step *= m;
    }
    return place;
}

/* Ids to features 0.., in order of the ids. */
ITP_FN void itp_mask_fill(const int32_t *mask, const interp_shape *shape, const interp_shape *in,
                          int32_t *id)
{
    uint32_t seen[ITP_MASK_WORDS];
    int32_t before[ITP_MASK_WORDS];
    const size_t size = interp_shape_size(in);
    int32_t n = 0;
    if (!itp_mask_seen(mask, interp_shape_size(shape), seen)) return;
    for (int i = 0; i < ITP_MASK_WORDS; i++) before[i] = n, n += itp_bits(seen[i]);
    for (size_t k = 0; k < size; k++) {
        const int32_t m = mask[itp_mask_place(shape, in, k)];
        id[k] = before[m / 32] + itp_bits(seen[m / 32] & (((uint32_t)1 << m % 32) - 1));
    }
}

/* ---- boxes */

ITP_FN int itp_box_size(const itp_box *b, int axis)
{
    return b->hi[axis] - b->lo[axis];
}

/* The halves of a box along its longer side, planes last; false when it is one position. */
ITP_FN bool itp_box_split(const itp_box *b, itp_box half[2])
{
    int axis = itp_box_size(b, 1) >= itp_box_size(b, 2) ? 1 : 2;
    if (itp_box_size(b, axis) == 1) axis = 0;
    if (itp_box_size(b, axis) == 1) return false;
    half[0] = half[1] = *b;
    half[0].hi[axis] = half[1].lo[axis] = b->lo[axis] + itp_box_size(b, axis) / 2;
    return true;
}

/* How often a box and all below it can be split, each half twice; at most `most`. */
ITP_FN int itp_box_splits(const itp_box *b, int most)
{
    itp_box half[2];
    if (most <= 0 || !itp_box_split(b, half)) return 0;
    int64_t n = 1;
    for (int i = 0; i < 2 && n < most; i++)
        n += 2 * (int64_t)itp_box_splits(&half[i], itp_div_up(most - (int)n, 2));
    return n < most ? (int)n : most;
}

/* ---- math/stack.c: windows of many small images, a lane for each ---------------------------------

   Short rows of pixels fill lanes badly, and windows that hang over the edges of small images are mostly
   products of nothing. Here the columns of a tile are images: their pixels are turned to lie side by side,
   each pixel of y takes just the taps that reach the image, and what comes of it is turned back. Every sum
   runs in the order of windows.c, so that a sample gives the same in any batch. */

#ifdef __OPTIMIZE_SIZE__ /* the compiler is asked for small code: images are worked on one by one */
#define ITP_STACK_ON false
#else
#define ITP_STACK_ON true
#endif
#define ITP_STACK_FLOATS (2 * ITP_SLAB) /* of x, turned at a time */

/* Cycles, measured. */
#define ITP_STACK_TURN   0.4   /* of turning a float */
#define ITP_STACK_TILE   50.0  /* of a tile's beginning and end */
#define ITP_STACK_SLOWER 1.15  /* its steps: what is turned comes from farther away */
#define ITP_COPY_ROW     20.0  /* where images are worked on one by one: of copying a row */
#define ITP_COPY_FLOAT   0.15  /* of copying pixels side by side */
#define ITP_SHORT_TILE   80.0  /* of the end of a row that is not a whole vector, */
#define ITP_SHORT_TURNED 160.0 /* and is turned */

/* Bands of rows of y, all columns of them, of as many images as a tile has columns. */
typedef struct itp_stack {
    int bands;
    size_t x, y, start, tables; /* floats: [plane][pixel][image] twice; of sums; offsets of taps */
} itp_stack;

typedef struct itp_stack_job {
    const itp_kernels *kernels;
    const itp_windows *w;
    itp_stack cut;
    itp_scratch scratch;
} itp_stack_job;

/* Rows of x that rows r0..r1 of y read: the first, and their number. */
ITP_FN int itp_stack_rows(const itp_windows *w, int r0, int r1, int *first)
{
    const itp_cut taps = itp_cut_taps(w, 1);
    const int from = r0 * w->mul_y + taps.min_y;
    const int end = (r1 - 1) * w->mul_y + taps.min_y + taps.span_y;
    *first = itp_max(0, itp_min(from, w->height));
    return itp_max(0, itp_min(end, w->height) - *first);
}

/* For `slots` threads; bands is 0 where not even a row fits. */
ITP_FN itp_stack itp_stack_of(const interp_ctx *ctx, const itp_windows *w, int slots)
{
    itp_stack l = {0, 0, 0, 0, 0};
    const int nr = ctx->k->nr, span = itp_cut_taps(w, 1).span_y;
    const int fit = (int)(ITP_STACK_FLOATS / ((double)w->inputs * w->width * nr)); /* rows of x */
    const int most = (int)(2 * ITP_STACK_FLOATS / ((double)w->all_outputs * w->columns * nr));
    int rows = fit >= w->height ? w->rows : fit < span ? 0 : (fit - span) / w->mul_y + 1;
    rows = itp_min(rows, most);
    if (!rows) return l;
    const int groups = itp_div_up(w->batch, nr);
    l.bands = itp_div_up(w->rows, rows); /* as few as give each thread the same */
    while (groups * l.bands % slots && groups * l.bands < 4 * slots && l.bands < w->rows) l.bands++;
    rows = itp_div_up(w->rows, l.bands);
    const int rows_in = itp_min(w->height, (rows - 1) * w->mul_y + span);
    l.x = (size_t)w->inputs * (size_t)(rows_in * w->width * nr);
    l.y = (size_t)w->all_outputs * (size_t)(rows * w->columns * nr);
    l.start = (size_t)w->all_outputs * (size_t)nr;
    l.tables = itp_round_up(2 * (size_t)w->taps * sizeof(ptrdiff_t) / sizeof(float), 16);
    return l;
}

ITP_FN size_t itp_stack_floats(const itp_stack *l)
{
    return l->x + l->y + l->start + l->tables;
}

/* Images first..first+n, rows lo..lo+rows of x: out[plane][pixel][nr]. */
ITP_FN void itp_stack_turn(const itp_stack_job *j, int first, int n, int lo, int rows, float *out)
{
    const itp_windows *w = j->w;
    const int nr = j->kernels->nr, pixels = rows * w->width;
    const float *x = w->x + first * w->x_image + (ptrdiff_t)lo * w->width;
    if (n % j->kernels->width)
        memset(out, 0, (size_t)w->inputs * (size_t)(pixels * nr) * sizeof *out);
    for (int c = 0; c < w->inputs; c++, x += w->height * w->width, out += pixels * nr)
        j->kernels->interleave(n, pixels, x, w->x_image, NULL, out, nr);
}

/* All outputs of one pixel, whose taps t has; start: what sums begin with, or NULL; to: its place in plane 0
   of y. */
ITP_FN void itp_stack_pixel(const itp_stack_job *j, itp_tile *t, const float *start, float *to)
{
    const itp_windows *w = j->w;
    const int nr = j->kernels->nr, mr = j->kernels->mr;
    const int side = itp_pack_side(j->kernels, w->pixels);
    for (int p = 0, k0, k1 = 0; k1 < w->outputs; p++) {
        k0 = itp_pack_first(j->kernels, w->pixels, w->outputs, p, &k1);
        const float *packed = itp_windows_packed(w, p, side, 0);
        const int parts = itp_div_up(k1 - k0, mr);
        for (int q = 0; q < parts; q++) {
            const int i = (k1 - k0) * q / parts;
            t->rows = (k1 - k0) * (q + 1) / parts - i;
            t->a = packed + i;
            t->from = start ? start + (k0 + i) * nr : NULL;
            t->to = to + (k0 + i) * t->to_rs;
            j->kernels->tile(t);
        }
    }
}

/* Offsets of cy x cx taps from fy and fx on, in panels of weights and in x, whose row 0 is row lo. */
ITP_FN void itp_stack_taps(const itp_windows *w, int side, int nr, int lo, int fy, int cy, int fx,
                           int cx, ptrdiff_t *a_at, ptrdiff_t *b_at)
{
    for (int ty = fy; ty < fy + cy; ty++)
        for (int tx = fx; tx < fx + cx; tx++) {
            const int y = w->tap_y.offset + ty * w->tap_y.step - lo;
            const int x = w->tap_x.offset + tx * w->tap_x.step;
            *a_at++ = (ptrdiff_t)(ty * w->tap_x.count + tx) * side;
            *b_at++ = ((ptrdiff_t)y * w->width + x) * nr;
        }
}

ITP_FN void itp_stack_task(void *arg, int task, int slot)
{
    const itp_stack_job *j = (const itp_stack_job *)arg;
    const itp_windows *w = j->w;
    const itp_kernels *k = j->kernels;
    const int nr = k->nr, band = task % j->cut.bands, image = task / j->cut.bands * nr;
    const int n = itp_min(nr, w->batch - image);
    const int r0 = (int)((int64_t)w->rows * band / j->cut.bands);
    const int r1 = (int)((int64_t)w->rows * (band + 1) / j->cut.bands);
    int lo;
    const int rows_in = itp_stack_rows(w, r0, r1, &lo), row = w->width * nr;
    float *x = itp_scratch_slot(&j->scratch, slot), *y = x + j->cut.x, *start = y + j->cut.y;
    ptrdiff_t *a_at = (ptrdiff_t *)(void *)(start + j->cut.start), *b_at = a_at + w->taps;
    const size_t plane = (size_t)((r1 - r0) * w->columns * nr); /* of y */
    const int side = itp_pack_side(k, w->pixels);
    itp_stack_turn(j, image, n, lo, rows_in, x);
    for (int o = 0; w->bias && o < w->outputs; o++)
        for (int i = 0; i < nr; i++) start[o * nr + i] = w->bias[o];
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.columns = n <= k->width ? k->width : nr;
    t.outer = w->inputs;
    t.a_outer = (ptrdiff_t)w->taps * side, t.b_outer = (ptrdiff_t)rows_in * row;
    t.a_rs = 1, t.a_at = a_at, t.b_at = b_at;
    t.from_rs = nr, t.to_rs = (ptrdiff_t)plane;
    float *to = y;
    for (int r = r0; r < r1; r++) {
        int fy, was = -1;
        const int cy = itp_taps_reach(&w->tap_y, r * w->mul_y, w->height, &fy);
        for (int c = 0; c < w->columns; c++, to += nr) {
            int fx;
            const int cx = itp_taps_reach(&w->tap_x, c * w->mul_x, w->width, &fx);
            t.inner = cy * cx;
            if (was != fx * w->taps + cx) /* other taps than those of the pixel before */
                itp_stack_taps(w, side, nr, lo, fy, cy, fx, cx, a_at, b_at);
            was = fx * w->taps + cx;
            t.b = x + (ptrdiff_t)r * w->mul_y * row + c * w->mul_x * nr;
            itp_stack_pixel(j, &t, w->bias ? start : NULL, to);
        }
    }
    if (w->after) itp_after_run(k, w->after, w->channel, w->outputs, plane, y, (ptrdiff_t)plane);
    const ptrdiff_t first = image * w->y_image + r0 * w->y_row;
    for (int o = 0; o < w->outputs; o++)
        k->spread(n, (int)plane / nr, y + (size_t)o * plane, w->y + first + o * w->y_plane,
                  w->y_image, 0);
}

ITP_FN void itp_stack_run(interp_ctx *ctx, const itp_windows *w, itp_scratch scratch)
{
    itp_stack_job j;
    j.kernels = ctx->k, j.w = w, j.scratch = scratch;
    j.cut = itp_stack_of(ctx, w, ctx->slots);
    ITP_ASSERT(itp_stack_floats(&j.cut) <= scratch.slot_floats);
    itp_parallel(ctx, itp_div_up(w->batch, ctx->k->nr) * j.cut.bands, itp_windows_work(w),
                 itp_stack_task, &j);
}

/* Taps of all pixels along an axis that reach x. */
ITP_FN double itp_taps_sum(const itp_tap_axis *a, int pixels, int step, int size)
{
    double sum = 0;
    for (int t = 0; t < a->count; t++) {
        int lo, hi;
        itp_tap_range(pixels, size, step, a->offset + t * a->step, &lo, &hi);
        sum += hi - lo;
    }
    return sum;
}

/* Cycles of windows.c beside those of its tiles' steps: rows that are copied, with their pads; pixels that
   are copied side by side; ends of rows that are not a whole vector. */
ITP_FN double itp_windows_beside(const interp_ctx *ctx, const itp_windows *w)
{
    const itp_cut c = itp_cut_taps(w, w->pixels ? 1 : ctx->k->width);
    const int rows = (w->rows - 1) * w->mul_y + c.span_y;
    double cycles = c.in_place ? 0 : (double)w->inputs * rows * c.phases * ITP_COPY_ROW;
    if (w->pixels && itp_windows_gathered(ctx, w))
        cycles += (double)w->inputs * w->taps * w->rows * w->columns * ITP_COPY_FLOAT;
    const int side = itp_pack_side(ctx->k, w->pixels);
    if (w->columns % ctx->k->width)
        cycles += (double)itp_div_up(w->all_outputs, side) * w->rows *
                  (w->pixels ? ITP_SHORT_TURNED : ITP_SHORT_TILE);
    return cycles;
}

/* Whether a lane for each image takes less time than one for each pixel or output, by the cycles of an
   image on one thread. */
ITP_FN bool itp_windows_by_stack(const interp_ctx *ctx, const itp_windows *w)
{
    const int nr = ctx->k->nr, mr = ctx->k->mr;
    if (w->taps < 2 || 2 * w->batch < ctx->k->width || w->raw || w->merged > 1 || w->y_step > 1 ||
        w->y_row != w->columns || w->beta != 0)
        return false;
    const itp_stack l = itp_stack_of(ctx, w, 1);
    if (!l.bands) return false;
    const int n = itp_min(w->batch, nr), tiles = itp_div_up(w->all_outputs, mr);
    const double pixels = (double)w->rows * w->columns, rows = (double)w->all_outputs / tiles;
    const double steps = w->inputs * itp_taps_sum(&w->tap_y, w->rows, w->mul_y, w->height) *
                         itp_taps_sum(&w->tap_x, w->columns, w->mul_x, w->width);
    const double step = itp_step_cycles(rows, n <= ctx->k->width ? 1 : nr / ctx->k->width);
    const double turned = ((double)l.x * l.bands + w->all_outputs * pixels * nr) * ITP_STACK_TURN;
    const double all = tiles * (steps * step * ITP_STACK_SLOWER + pixels * ITP_STACK_TILE) + turned;
    return all / n < itp_windows_cycles(ctx, w, w->pixels) + itp_windows_beside(ctx, w);
}

/* As many images as fill lanes, then the others; offsets: itp_windows_offsets_most. */
ITP_FN void itp_windows_images(interp_ctx *ctx, const itp_windows *w, itp_scratch scratch,
                               ptrdiff_t *offsets)
{
    itp_windows some = *w;
    const int whole = w->batch - w->batch % ctx->k->nr;
    int first = 0;
    for (; ITP_STACK_ON && first < w->batch; first += some.batch) {
        some.batch = first < whole ? whole : w->batch - first;
        some.x = w->x + first * w->x_image, some.y = w->y + first * w->y_image;
        if (!itp_windows_by_stack(ctx, &some)) break;
        itp_stack_run(ctx, &some, scratch);
    }
    some.batch = w->batch - first;
    if (some.batch) itp_windows_run(ctx, &some, scratch, offsets);
}

/* Scratch of a slot, for as many images as there are or fewer. */
ITP_FN size_t itp_stack_most(const interp_ctx *ctx, const itp_windows *w)
{
    const itp_stack l = itp_stack_of(ctx, w, 1); /* threads take no more each */
    itp_windows some = *w;
    for (int n = ctx->k->width; ITP_STACK_ON && n <= ctx->k->nr;
         n += ctx->k->width) { /* no lane is left empty */
        some.batch = itp_min(w->batch, n);
        if (itp_windows_by_stack(ctx, &some)) return itp_stack_floats(&l);
    }
    return 0;
}

/* ---- attr/slic.c: superpixels ------------------------------------------------------------------

   k-means over colour and place, each centre looking no farther than twice its spacing (Achanta et al.
   2012). Of every cluster the largest connected part stays, and what is left over goes to the parts
   that it grows out of. */

typedef struct itp_slic {
    const float *x;
    int planes, height, width, rows, columns; /* rows x columns of centres */
    size_t area;
    double scale, weight; /* of colours; of squared distances in pixels */
    float *nearest;       /* [area] */
    int *label, *part;    /* [area] */
    int *queue;           /* [area] */
    int *size;            /* [area]: pixels of each part */
    int *kept;            /* [centres]: its largest part */
    double *centre, *sum; /* [centres, planes + 2], [centres, planes + 3] */
} itp_slic;

ITP_FN size_t itp_slic_layout(itp_slic *s, char *block)
{
    itp_arena m = {block, 0};
    const size_t n = (size_t)s->rows * (size_t)s->columns, wide = (size_t)s->planes + 3;
    s->nearest = itp_arena_floats(&m, s->area);
    s->label = (int *)itp_arena_alloc(&m, itp_mul_size(s->area, sizeof(int)));
    s->part = (int *)itp_arena_alloc(&m, itp_mul_size(s->area, sizeof(int)));
    s->queue = (int *)itp_arena_alloc(&m, itp_mul_size(s->area, sizeof(int)));
    s->size = (int *)itp_arena_alloc(&m, itp_mul_size(s->area, sizeof(int)));
    s->kept = (int *)itp_arena_alloc(&m, itp_mul_size(n, sizeof(int)));
    s->centre = (double *)itp_arena_alloc(&m, itp_mul_size(n * wide, sizeof(double)));
    s->sum = (double *)itp_arena_alloc(&m, itp_mul_size(n * wide, sizeof(double)));
    return m.used;
}

ITP_FN double itp_slic_colour(const itp_slic *s, int plane, int pixel)
{
    return s->scale * (double)s->x[(size_t)plane * s->area + (size_t)pixel];
}

ITP_FN double *itp_slic_at(const itp_slic *s, double *of, int c)
{
    return of + (size_t)c * ((size_t)s->planes + 3);
}

/* How much colours change around a pixel. */
ITP_FN double itp_slic_edge(const itp_slic *s, int y, int x)
{
    const int l = itp_max(0, x - 1), r = itp_min(s->width - 1, x + 1);
    const int u = itp_max(0, y - 1), d = itp_min(s->height - 1, y + 1);
    double sum = 0;
    for (int p = 0; p < s->planes; p++) {
        const double h =
            itp_slic_colour(s, p, y * s->width + r) - itp_slic_colour(s, p, y * s->width + l);
        const double v =
            itp_slic_colour(s, p, d * s->width + x) - itp_slic_colour(s, p, u * s->width + x);
        sum += h * h + v * v;
    }
    return sum;
}

/* Centres on a grid, each at the calmest of nine pixels. */
ITP_FN void itp_slic_start(itp_slic *s)
{
    for (int c = 0; c < s->rows * s->columns; c++) {
        const int y = (2 * (c / s->columns) + 1) * s->height / (2 * s->rows);
        const int x = (2 * (c % s->columns) + 1) * s->width / (2 * s->columns);
        double *centre = itp_slic_at(s, s->centre, c), least = itp_slic_edge(s, y, x);
        int best_y = y, best_x = x;
        for (int k = 0; k < 9; k++) {
            const int py = itp_min(itp_max(y + k / 3 - 1, 0), s->height - 1);
            const int px = itp_min(itp_max(x + k % 3 - 1, 0), s->width - 1);
            const double edge = itp_slic_edge(s, py, px);
            if (edge < least) least = edge, best_y = py, best_x = px;
        }
        for (int p = 0; p < s->planes; p++)
            centre[p] = itp_slic_colour(s, p, best_y * s->width + best_x);
        centre[s->planes] = best_y, centre[s->planes + 1] = best_x;
    }
}

/* Gives pixels to the nearest centre within reach; none is out of reach of its grid's cell. */
ITP_FN void itp_slic_assign(itp_slic *s)
{
    const int reach_y = 2 * itp_div_up(s->height, s->rows);
    const int reach_x = 2 * itp_div_up(s->width, s->columns);
    for (size_t i = 0; i < s->area; i++) s->nearest[i] = INFINITY;
    for (int c = 0; c < s->rows * s->columns; c++) {
        const double *centre = itp_slic_at(s, s->centre, c);
        const int cy = (int)centre[s->planes], cx = (int)centre[s->planes + 1];
        for (int y = itp_max(0, cy - reach_y); y < itp_min(s->height, cy + reach_y + 1); y++)
            for (int x = itp_max(0, cx - reach_x); x < itp_min(s->width, cx + reach_x + 1); x++) {
                const int i = y * s->width + x;
                const double dy = y - centre[s->planes], dx = x - centre[s->planes + 1];
                double far = s->weight * (dy * dy + dx * dx);
                for (int p = 0; p < s->planes; p++) {
                    const double d = itp_slic_colour(s, p, i) - centre[p];
                    far += d * d;
                }
                if ((float)far < s->nearest[i]) s->nearest[i] = (float)far, s->label[i] = c;
            }
    }
}

ITP_FN void itp_slic_update(itp_slic *s)
{
    const int n = s->rows * s->columns;
    memset(s->sum, 0, (size_t)n * ((size_t)s->planes + 3) * sizeof *s->sum);
    for (int i = 0; i < (int)s->area; i++) {
        double *sum = itp_slic_at(s, s->sum, s->label[i]);
        for (int p = 0; p < s->planes; p++) sum[p] += itp_slic_colour(s, p, i);
        sum[s->planes] += i / s->width, sum[s->planes + 1] += i % s->width;
        sum[s->planes + 2]++;
    }
    for (int c = 0; c < n; c++) {
        const double *sum = itp_slic_at(s, s->sum, c), count = sum[s->planes + 2];
        double *centre = itp_slic_at(s, s->centre, c);
        for (int k = 0; k < s->planes + 2 && count > 0; k++) centre[k] = sum[k] / count;
    }
}

/* The four neighbours of a pixel; how many. */
ITP_FN int itp_slic_near(const itp_slic *s, int i, int near[4])
{
    int n = 0;
    if (i >= s->width) near[n++] = i - s->width;
    if (i % s->width) near[n++] = i - 1;
    if (i % s->width < s->width - 1) near[n++] = i + 1;
    if (i + s->width < (int)s->area) near[n++] = i + s->width;
    return n;
}

/* Numbers the connected parts of equal labels; how many. */
ITP_FN int itp_slic_parts(itp_slic *s)
{
    int parts = 0, near[4];
    for (size_t i = 0; i < s->area; i++) s->part[i] = -1;
    for (int i = 0; i < (int)s->area; i++) {
        int head = 0, tail = 0;
        if (s->part[i] >= 0) continue;
        s->part[i] = parts, s->queue[tail++] = i;
        while (head < tail) {
            const int at = s->queue[head++], n = itp_slic_near(s, at, near);
            for (int k = 0; k < n; k++)
                if (s->part[near[k]] < 0 && s->label[near[k]] == s->label[i])
                    s->part[near[k]] = parts, s->queue[tail++] = near[k];
        }
        s->size[parts++] = tail;
    }
    return parts;
}

/* Keeps the largest part of each cluster, lets these grow over the others, and numbers them in the order
   of their first pixels; how many. */
ITP_FN int itp_slic_connect(itp_slic *s, int32_t *ids)
{
    const int n = s->rows * s->columns;
    int head = 0, tail = 0, count = 0, near[4];
    itp_slic_parts(s);
    for (int c = 0; c < n; c++) s->kept[c] = -1;
    for (int i = 0; i < (int)s->area; i++) {
        int *kept = &s->kept[s->label[i]];
        if (*kept < 0 || s->size[s->part[i]] > s->size[*kept]) *kept = s->part[i];
    }
    for (int i = 0; i < (int)s->area; i++) {
        if (s->part[i] == s->kept[s->label[i]]) s->queue[tail++] = i;
        else s->label[i] = -1;
    }
    while (head < tail) {
        const int at = s->queue[head++], some = itp_slic_near(s, at, near);
        for (int k = 0; k < some; k++)
            if (s->label[near[k]] < 0) s->label[near[k]] = s->label[at], s->queue[tail++] = near[k];
    }
    for (int c = 0; c < n; c++) s->kept[c] = -1;
    for (int i = 0; i < (int)s->area; i++) {
        int *number = &s->kept[s->label[i]];
        if (*number < 0) *number = count++;
        ids[i] = *number;
    }
    return count;
}

/* Checks the settings, and finds the grid and the scales. */
ITP_FN interp_status itp_slic_settle(interp_ctx *ctx, const float *x, const interp_shape *shape,
                                     const interp_slic_desc *desc, itp_slic *s, int *iterations)
{
    interp_slic_desc d;
    memset(&d, 0, sizeof d);
    memset(s, 0, sizeof *s);
    if (desc) d = *desc;
    if (!d.segments) d.segments = 64;
    if (d.compactness == 0) d.compactness = 10;
    *iterations = d.iterations ? d.iterations : 10;
    const size_t size = interp_shape_size(shape);
    if (shape->rank < 2 || size < 1 || size > INT_MAX || d.segments < 1 || *iterations < 1 ||
        !(d.compactness > 0))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "slic: needs an image [..,H,W], at least one segment and a positive "
                        "compactness");
    s->x = x;
    s->height = shape->dim[shape->rank - 2], s->width = shape->dim[shape->rank - 1];
    s->area = (size_t)s->height * (size_t)s->width;
    s->planes = (int)(size / s->area);
    const double side = sqrt((double)d.segments * s->height / s->width);
    s->rows = itp_max(1, itp_min(itp_min(s->height, d.segments), (int)side));
    s->columns = itp_max(1, itp_min(s->width, d.segments / s->rows));
    const double spacing = sqrt((double)s->area / (s->rows * s->columns));
    s->weight = (double)d.compactness * (double)d.compactness / (spacing * spacing);
    return INTERP_OK;
}

INTERP_API interp_status interp_slic(interp_ctx *ctx, const float *image, const interp_shape *shape,
                                     const interp_slic_desc *desc, int32_t *ids, int *count)
{
    itp_slic s;
    int iterations;
    double range = 0;
    ITP_TRY(itp_slic_settle(ctx, image, shape, desc, &s, &iterations));
    if (!itp_is_finite(image, interp_shape_size(shape)))
        return itp_fail(ctx, INTERP_NOT_FINITE, "slic: the image holds NaN or infinite numbers");
    for (int p = 0; p < s.planes; p++) {
        const float *x = image + (size_t)p * s.area;
        double low = (double)x[0], high = low;
        for (size_t i = 0; i < s.area; i++)
            low = fmin(low, (double)x[i]), high = fmax(high, (double)x[i]);
        range = fmax(range, high - low);
    }
    s.scale = range > 0 ? 100 / range : 0;
    char *block = (char *)interp_alloc(ctx, itp_slic_layout(&s, NULL));
    if (!block) return INTERP_NO_MEMORY;
    itp_slic_layout(&s, block);
    itp_slic_start(&s);
    for (size_t i = 0; i < s.area; i++) /* the grid's cell, for a pixel that no centre reaches */
        s.label[i] = (int)(i / (size_t)s.width) * s.rows / s.height * s.columns +
                     (int)(i % (size_t)s.width) * s.columns / s.width;
    interp_status status = INTERP_OK;
    for (int k = 0; k < iterations && !status; k++) {
        itp_slic_assign(&s);
        itp_slic_update(&s);
        status = itp_progress(ctx, "slic", k + 1, iterations, (double)NAN);
    }
    if (!status) {
        const int n = itp_slic_connect(&s, ids);
        if (count) *count = n;
    }
    interp_free(ctx, block);
    return status;
}

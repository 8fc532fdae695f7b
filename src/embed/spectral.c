/* ---- embed/spectral.c: where UMAP starts -------------------------------------------------------- */

/* Eigenvectors of the normalised adjacency D^-1/2 W D^-1/2 with the largest eigenvalues below the
   trivial one, separately in each piece of the graph: subspace iteration, each round a Chebyshev
   polynomial that is small up to the lowest value wanted (Zhou et al. 2006). Vertices are renumbered
   piece by piece. */
typedef struct itp_spectral {
    const interp_ctx *ctx;
    int n, dims, columns; /* vectors carried */
    int pieces;
    int32_t *place;   /* [n]: new number of a vertex */
    int32_t *order;   /* [n]: the other way */
    int *first;       /* [n + 1]: of each piece */
    size_t *start;    /* [n + 1] */
    int32_t *index;   /* [edges] */
    float *weight;    /* [edges]: normalised */
    float *root;      /* [n]: sqrt of degrees */
    float *x, *t, *u; /* [n, columns] */
    double *gram;     /* a small matrix, its values, its off-diagonal */
} itp_spectral;

enum {
    ITP_SPECTRAL_DENSE = 64,
    ITP_FILTER_ROUNDS = 5,
    ITP_FILTER_DEGREE = 24,
    ITP_SPECTRAL_COLUMNS = 32
};

ITP_FN void itp_spectral_layout(itp_arena *arena, itp_spectral *s, int n, size_t edges, int dims)
{
    const size_t m = (size_t)n;
    memset(s, 0, sizeof *s);
    s->n = n;
    s->dims = dims;
    s->columns = dims <= 8 ? 16 : ITP_SPECTRAL_COLUMNS;
    const size_t block = itp_mul_size(m, (size_t)s->columns);
    s->place = (int32_t *)itp_arena_alloc(arena, m * sizeof(int32_t));
    s->order = (int32_t *)itp_arena_alloc(arena, m * sizeof(int32_t));
    s->first = (int *)itp_arena_alloc(arena, (m + 1) * sizeof(int));
    s->start = (size_t *)itp_arena_alloc(arena, (m + 1) * sizeof(size_t));
    s->index = (int32_t *)itp_arena_alloc(arena, itp_mul_size(edges, sizeof(int32_t)));
    s->weight = itp_arena_floats(arena, edges);
    s->root = itp_arena_floats(arena, m);
    s->x = itp_arena_floats(arena, block);
    s->t = itp_arena_floats(arena, block);
    s->u = itp_arena_floats(arena, block);
    s->gram = (double *)itp_arena_alloc(
        arena, (ITP_SPECTRAL_DENSE * ITP_SPECTRAL_DENSE + 2 * ITP_SPECTRAL_DENSE) * sizeof(double));
}

/* Finds the pieces, numbered by their lowest vertex, and the matrix. */
ITP_FN void itp_spectral_matrix(itp_spectral *s, const itp_graph *g)
{
    int at = 0;
    s->pieces = 0;
    for (int i = 0; i < g->n; i++) s->place[i] = -1;
    for (int i = 0; i < g->n; i++) {
        if (s->place[i] >= 0) continue;
        s->first[s->pieces++] = at;
        s->place[i] = at;
        s->order[at] = i;
        for (int done = at++; done < at; done++) {
            const int v = s->order[done];
            for (size_t e = g->start[v]; e < g->start[v + 1]; e++) {
                const int32_t w = g->index[e];
                if (s->place[w] >= 0) continue;
                s->place[w] = at;
                s->order[at++] = w;
            }
        }
    }
    s->first[s->pieces] = at;
    s->start[0] = 0;
    for (int i = 0; i < g->n; i++) {
        const int v = s->order[i];
        double degree = 0;
        for (size_t e = g->start[v]; e < g->start[v + 1]; e++) degree += (double)g->weight[e];
        s->root[i] = (float)sqrt(degree);
        s->start[i + 1] = s->start[i] + (g->start[v + 1] - g->start[v]);
    }
    for (int i = 0; i < g->n; i++) {
        const size_t from = g->start[s->order[i]];
        for (size_t e = s->start[i]; e < s->start[i + 1]; e++) {
            const int32_t j = s->place[g->index[from + e - s->start[i]]];
            s->index[e] = j;
            s->weight[e] = g->weight[from + e - s->start[i]] / (s->root[i] * s->root[j]);
        }
    }
}

typedef struct itp_spread_job {
    const itp_spectral *s;
    const float *from, *old;
    float *to;
    float a, b;
} itp_spread_job;

ITP_FN void itp_spread_task(void *arg, int task, int slot)
{
    const itp_spread_job *job = (const itp_spread_job *)arg;
    const itp_spectral *s = job->s;
    (void)slot;
    itp_embeds(s->ctx->k)->spread_rows(task * ITP_POINTS, itp_min(s->n, (task + 1) * ITP_POINTS),
                                       s->start, s->index, s->weight, job->from, s->columns, job->a,
                                       job->old, job->b, job->to);
}

/* to = a W from + b from + c old */
ITP_FN void itp_spectral_spread(interp_ctx *ctx, const itp_spectral *s, const float *from, float a,
                                float b, const float *old, float c, float *to)
{
    itp_spread_job job;
    job.s = s;
    job.from = from;
    job.old = old;
    job.to = to;
    job.a = a;
    job.b = c;
    itp_parallel(ctx, itp_point_blocks(s->n), (double)s->start[s->n] * s->columns, itp_spread_task,
                 &job);
    if (b != 0) ctx->k->scale_add((size_t)s->n * (size_t)s->columns, b, from, 1, to);
}

/* x becomes T_degree of the adjacency, its interval [-1, cut] mapped to [-1, 1], times x. */
ITP_FN void itp_spectral_filter(interp_ctx *ctx, itp_spectral *s, double cut)
{
    const double half = (cut + 1) / 2, middle = (cut - 1) / 2;
    float *last = s->x, *now = s->t, *next = s->u;
    itp_spectral_spread(ctx, s, last, (float)(1 / half), (float)(-middle / half), last, 0, now);
    for (int k = 1; k < ITP_FILTER_DEGREE; k++) {
        itp_spectral_spread(ctx, s, now, (float)(2 / half), (float)(-2 * middle / half), last, -1,
                            next);
        float *swap = last;
        last = now, now = next, next = swap;
    }
    s->x = now, s->t = last, s->u = next;
}

/* Eigenvectors of the symmetric gram[m,m] by falling value; order: [m]. */
ITP_FN bool itp_spectral_eigen(itp_spectral *s, int m, int *order)
{
    double *values = s->gram + ITP_SPECTRAL_DENSE * ITP_SPECTRAL_DENSE,
           *off = values + ITP_SPECTRAL_DENSE;
    itp_tridiagonal(m, s->gram, values, off);
    if (!itp_tridiagonal_ql(m, s->gram, values, off)) return false;
    for (int i = 0; i < m; i++) {
        int j = i;
        for (; j > 0 && values[order[j - 1]] < values[i]; j--) order[j] = order[j - 1];
        order[j] = i;
    }
    return true;
}

/* Rotates orthonormal x[n, columns], of which `image` is W x, to Ritz vectors, the largest value first;
   *lowest: the least of their values. */
ITP_FN interp_status itp_spectral_ritz(interp_ctx *ctx, itp_spectral *s, int n, float *x,
                                       const float *image, double *lowest)
{
    const int q = s->columns;
    float turn[ITP_SPECTRAL_COLUMNS * ITP_SPECTRAL_COLUMNS], row[ITP_SPECTRAL_COLUMNS];
    int order[ITP_SPECTRAL_COLUMNS];
    ITP_TRY(interp_sgemm(ctx, true, false, q, q, n, 1, x, q, image, q, 0, turn, q));
    for (int i = 0; i < q; i++)
        for (int j = 0; j < q; j++)
            s->gram[i * q + j] = 0.5 * ((double)turn[i * q + j] + (double)turn[j * q + i]);
    if (!itp_spectral_eigen(s, q, order)) return INTERP_OK; /* as good as they are */
    for (int i = 0; i < q; i++)
        for (int j = 0; j < q; j++) turn[i * q + j] = (float)s->gram[i * q + order[j]];
    for (int i = 0; i < n; i++) {
        float *of = x + (size_t)i * (size_t)q;
        memset(row, 0, sizeof row);
        for (int k = 0; k < q; k++)
            for (int j = 0; j < q; j++) row[j] += of[k] * turn[k * q + j];
        memcpy(of, row, (size_t)q * sizeof *row);
    }
    *lowest =
        itp_min_double(*lowest, s->gram[ITP_SPECTRAL_DENSE * ITP_SPECTRAL_DENSE + order[q - 1]]);
    return INTERP_OK;
}

/* A small piece at once: all eigenvectors of its matrix, of which the first is trivial. */
ITP_FN void itp_spectral_dense(itp_spectral *s, int first, int n)
{
    const int q = s->columns;
    int order[ITP_SPECTRAL_DENSE];
    memset(s->gram, 0, (size_t)n * (size_t)n * sizeof *s->gram);
    for (int i = 0; i < n; i++)
        for (size_t e = s->start[first + i]; e < s->start[first + i + 1]; e++)
            s->gram[i * n + s->index[e] - first] = (double)s->weight[e];
    if (!itp_spectral_eigen(s, n, order)) return;
    for (int i = 0; i < n; i++)
        for (int c = 0; c < q; c++)
            s->x[(size_t)(first + i) * (size_t)q + (size_t)c] =
                c + 1 < n ? (float)s->gram[i * n + order[c + 1]] : 0;
}

/* x: Ritz vectors of every piece. */
ITP_FN interp_status itp_spectral_solve(interp_ctx *ctx, itp_spectral *s, uint64_t seed)
{
    const size_t q = (size_t)s->columns;
    double cut = 0.8; /* neighbours' graphs have many values near 1 */
    s->ctx = ctx;
    for (size_t i = 0; i < (size_t)s->n; i++)
        for (size_t c = 0; c < q; c++)
            s->x[i * q + c] = interp_random_uniform(seed, 0x5EC, i * q + c) - 0.5f;
    for (int round = 0; round < ITP_FILTER_ROUNDS; round++) {
        double lowest = 1;
        ITP_TRY(itp_progress(ctx, "spectral layout", round, ITP_FILTER_ROUNDS, (double)NAN));
        itp_spectral_filter(ctx, s, cut);
        for (int p = 0; p < s->pieces; p++) {
            const int n = s->first[p + 1] - s->first[p];
            if (n > ITP_SPECTRAL_DENSE)
                itp_orthonormal(s->x + (size_t)s->first[p] * q, n, s->columns,
                                s->root + s->first[p], s->gram);
        }
        itp_spectral_spread(ctx, s, s->x, 1, 0, s->x, 0, s->u);
        for (int p = 0; p < s->pieces; p++) {
            const int n = s->first[p + 1] - s->first[p];
            const size_t at = (size_t)s->first[p] * q;
            if (n > ITP_SPECTRAL_DENSE)
                ITP_TRY(itp_spectral_ritz(ctx, s, n, s->x + at, s->u + at, &lowest));
        }
        cut = lowest < 0 ? 0 : lowest > 0.9999 ? 0.9999 : lowest;
    }
    for (int p = 0; p < s->pieces; p++) {
        const int n = s->first[p + 1] - s->first[p];
        if (n <= ITP_SPECTRAL_DENSE) itp_spectral_dense(s, s->first[p], n);
    }
    return INTERP_OK;
}

/* Where the pieces lie: a spiral whose turns leave each the area of its points. radius: what a piece
   takes of it. */
ITP_FN void itp_spectral_centre(const itp_spectral *s, int piece, double *centre, double *radius)
{
    const double share = (double)(s->first[piece + 1] - s->first[piece]) / s->n;
    const double before = (double)s->first[piece] / s->n + share / 2;
    const double angle = 2.399963229728653 * piece; /* the golden angle */
    for (int k = 0; k < s->dims; k++) centre[k] = 0;
    *radius = s->pieces > 1 ? 0.4 * sqrt(share) : 1;
    if (s->pieces < 2) return;
    centre[0] = 1.5 * sqrt(before) * cos(angle);
    if (s->dims > 1) centre[1] = 1.5 * sqrt(before) * sin(angle);
}

/* y[n, dims]: each piece's leading vectors, scaled into its place. */
ITP_FN void itp_spectral_place(const itp_spectral *s, float *y)
{
    const size_t q = (size_t)s->columns, dims = (size_t)s->dims;
    for (int p = 0; p < s->pieces; p++) {
        double centre[ITP_UMAP_DIMS], radius, most = 0;
        itp_spectral_centre(s, p, centre, &radius);
        for (int i = s->first[p]; i < s->first[p + 1]; i++)
            for (size_t k = 0; k < dims; k++)
                most = fmax(most, fabs((double)s->x[(size_t)i * q + k]));
        for (int i = s->first[p]; i < s->first[p + 1]; i++)
            for (size_t k = 0; k < dims; k++)
                y[(size_t)s->order[i] * dims + k] =
                    (float)(centre[k] +
                            (most > 0 ? radius / most * (double)s->x[(size_t)i * q + k] : 0));
    }
}

/* ---- 3x3 convolution by Winograd's F(4x4, 3x3) and F(2x2, 3x3) -----------------------------------

   Products of polynomials at side + 2 points. A 4x4 piece of a plane takes 36 products for each input
   instead of 144, at the points 0, +-3/4, +-3/2 and infinity: all their constants are exact, and sums
   lose about twice what those of the plain order lose, a quarter of what the usual points 0, +-1, +-2
   lose. A 2x2 piece takes 16 instead of 36, at 0, +-1 and infinity. Lanes are channels.
   A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015; points: B. Barabasz et
   al., Error Analysis and Improving the Accuracy of Winograd Convolution, 2018. */

#define ITP_WINOGRAD_P  0.75f
#define ITP_WINOGRAD_Q  1.5f
#define ITP_WINOGRAD_P2 (ITP_WINOGRAD_P * ITP_WINOGRAD_P)
#define ITP_WINOGRAD_Q2 (ITP_WINOGRAD_Q * ITP_WINOGRAD_Q)

/* side + 2 numbers of x, `step` apart, to as many points, in `to`. */
static void ITP_K(winograd_points)(int side, const float *x, ptrdiff_t step, vf to[6])
{
    const vf d0 = v_load(x), d1 = v_load(x + step), d2 = v_load(x + 2 * step);
    const vf d3 = v_load(x + 3 * step);
    if (side == 2) {
        to[0] = v_sub(d0, d2);
        to[1] = v_add(d1, d2);
        to[2] = v_sub(d2, d1);
        to[3] = v_sub(d3, d1);
        return;
    }
    const vf p = v_set(ITP_WINOGRAD_P), p2 = v_set(ITP_WINOGRAD_P2);
    const vf q = v_set(ITP_WINOGRAD_Q), q2 = v_set(ITP_WINOGRAD_Q2);
    const vf both = v_set(ITP_WINOGRAD_P2 * ITP_WINOGRAD_Q2);
    const vf sum = v_set(ITP_WINOGRAD_P2 + ITP_WINOGRAD_Q2);
    const vf d4 = v_load(x + 4 * step);
    const vf even_p = v_fnma(q2, d2, d4), odd_p = v_fnma(q2, d1, d3);
    const vf even_q = v_fnma(p2, d2, d4), odd_q = v_fnma(p2, d1, d3);
    to[0] = v_fma(both, d0, v_fnma(sum, d2, d4));
    to[1] = v_fma(p, odd_p, even_p);
    to[2] = v_fnma(p, odd_p, even_p);
    to[3] = v_fma(q, odd_q, even_q);
    to[4] = v_fnma(q, odd_q, even_q);
    to[5] = v_fma(both, d1, v_fnma(sum, d3, v_load(x + 5 * step)));
}

/* Four points of their even and odd powers. */
ITP_INLINE void ITP_K(winograd_pairs)(vf even_p, vf odd_p, vf even_q, vf odd_q, vf to[6])
{
    to[1] = v_add(even_p, odd_p);
    to[2] = v_sub(even_p, odd_p);
    to[3] = v_add(even_q, odd_q);
    to[4] = v_sub(even_q, odd_q);
}

/* The other way round than sums at points become a plane of 4x4: a row or column of its gradient, `step`
   apart, to the points. */
static void ITP_K(winograd_apart)(const float *x, ptrdiff_t step, vf to[6])
{
    const vf p = v_set(ITP_WINOGRAD_P), p2 = v_set(ITP_WINOGRAD_P2);
    const vf q = v_set(ITP_WINOGRAD_Q), q2 = v_set(ITP_WINOGRAD_Q2);
    const vf y0 = v_load(x), y1 = v_load(x + step);
    const vf y2 = v_load(x + 2 * step), y3 = v_load(x + 3 * step);
    to[0] = y0;
    ITP_K(winograd_pairs)
    (v_fma(p2, y2, y0), v_mul(p, v_fma(p2, y3, y1)), v_fma(q2, y2, y0), v_mul(q, v_fma(q2, y3, y1)),
     to);
    to[5] = y3;
}

/* Sums at the points to `side` of the plane. */
ITP_INLINE void ITP_K(winograd_plane)(int side, const vf m[6], vf to[4])
{
    const vf even_p = v_add(m[1], m[2]), odd_p = v_sub(m[1], m[2]);
    if (side == 2) {
        to[0] = v_add(m[0], even_p);
        to[1] = v_add(odd_p, m[3]);
        return;
    }
    const vf p = v_set(ITP_WINOGRAD_P), q = v_set(ITP_WINOGRAD_Q);
    const vf p2 = v_set(ITP_WINOGRAD_P2), q2 = v_set(ITP_WINOGRAD_Q2);
    const vf p3 = v_set(ITP_WINOGRAD_P2 * ITP_WINOGRAD_P);
    const vf q3 = v_set(ITP_WINOGRAD_Q2 * ITP_WINOGRAD_Q);
    const vf even_q = v_add(m[3], m[4]), odd_q = v_sub(m[3], m[4]);
    to[0] = v_add(m[0], v_add(even_p, even_q));
    to[1] = v_fma(p, odd_p, v_mul(q, odd_q));
    to[2] = v_fma(p2, even_p, v_mul(q2, even_q));
    to[3] = v_fma(p3, odd_p, v_fma(q3, odd_q, m[5]));
}

/* Three taps to their side + 2 points. */
static void ITP_K(winograd_taps)(int side, vf g0, vf g1, vf g2, vf to[6])
{
    if (side == 2) {
        const vf half = v_set(0.5f), even = v_mul(half, v_add(g0, g2)), odd = v_mul(half, g1);
        to[0] = g0;
        to[1] = v_add(even, odd);
        to[2] = v_sub(even, odd);
        to[3] = g2;
        return;
    }
    const vf p = v_set(ITP_WINOGRAD_P), p2 = v_set(ITP_WINOGRAD_P2);
    const vf q = v_set(ITP_WINOGRAD_Q), q2 = v_set(ITP_WINOGRAD_Q2);
    const vf at_p = v_set(0.5f / (ITP_WINOGRAD_P2 * (ITP_WINOGRAD_P2 - ITP_WINOGRAD_Q2)));
    const vf at_q = v_set(0.5f / (ITP_WINOGRAD_Q2 * (ITP_WINOGRAD_Q2 - ITP_WINOGRAD_P2)));
    to[0] = v_mul(v_set(1 / (ITP_WINOGRAD_P2 * ITP_WINOGRAD_Q2)), g0);
    ITP_K(winograd_pairs)
    (v_mul(at_p, v_fma(p2, g2, g0)), v_mul(at_p, v_mul(p, g1)), v_mul(at_q, v_fma(q2, g2, g0)),
     v_mul(at_q, v_mul(q, g1)), to);
    to[5] = g2;
}

/* `count` rows of up to V_WIDTH planes from row `top` on, `pitch` vectors each, with zeros for padding. */
static void ITP_K(winograd_rows)(const itp_plane *g, int top, int count, int pitch, int channels,
                                 const float *x, ptrdiff_t plane, float *rows)
{
    const int left = g->pad_x;
    const int there = g->width < pitch - left ? g->width : pitch - left;
    const size_t vector = V_WIDTH * sizeof *rows;
    for (int r = 0; r < count; r++, rows += (ptrdiff_t)pitch * V_WIDTH) {
        const int y = top - g->pad_y + r;
        const bool none = y < 0 || y >= g->height;
        memset(rows, 0, (size_t)(none ? pitch : left) * vector);
        if (none) continue;
        ITP_K(interleave)
        (channels, there, x + (ptrdiff_t)y * g->width, plane, NULL, rows + left * V_WIDTH, V_WIDTH);
        memset(rows + (left + there) * V_WIDTH, 0, (size_t)(pitch - left - there) * vector);
    }
}

/* A row of pieces of up to V_WIDTH planes, which are `plane` apart, to their points: piece t of channel c
   at v[point * point_step + t * piece_step + c]; apart: of the gradient of what comes out, side x side a
   piece. rows: (side + 2) (side pieces + 2) vectors of scratch. */
ITP_INLINE void ITP_K(winograd_bring)(int side, bool apart, const itp_plane *g, int top, int pieces,
                                      int channels, const float *x, ptrdiff_t plane, float *rows,
                                      float *v, ptrdiff_t point_step, ptrdiff_t piece_step)
{
    const int n = side + 2, from = apart ? side : n, pitch = side * pieces + from - side;
    const ptrdiff_t step = (ptrdiff_t)pitch * V_WIDTH;
    vf d[6];
    ITP_K(winograd_rows)(g, top, from, pitch, channels, x, plane, rows);
    for (int k = 0; k < pitch; k++) {
        float *column = rows + k * V_WIDTH;
        if (apart) ITP_K(winograd_apart)(column, step, d);
        else ITP_K(winograd_points)(side, column, step, d);
        for (int r = 0; r < n; r++) v_store(column + r * step, d[r]);
    }
    for (int r = 0; r < n; r++)
        for (int t = 0; t < pieces; t++) {
            const float *row = rows + r * step + side * t * V_WIDTH;
            float *to = v + n * r * point_step + t * piece_step;
            if (apart) ITP_K(winograd_apart)(row, V_WIDTH, d);
            else ITP_K(winograd_points)(side, row, V_WIDTH, d);
            for (int k = 0; k < n; k++) v_put(to + k * point_step, d[k], channels);
        }
}

static void ITP_K(winograd_data)(int side, const itp_plane *g, int top, int pieces, int channels,
                                 const float *x, ptrdiff_t plane, float *rows, float *v,
                                 ptrdiff_t point_step, ptrdiff_t piece_step)
{
    ITP_K(winograd_bring)
    (side, false, g, top, pieces, channels, x, plane, rows, v, point_step, piece_step);
}

/* Of pieces of 4x4. */
static void ITP_K(winograd_pieces)(const itp_plane *g, int top, int pieces, int channels,
                                   const float *x, ptrdiff_t plane, float *rows, float *v,
                                   ptrdiff_t point_step, ptrdiff_t piece_step)
{
    ITP_K(winograd_bring)
    (4, true, g, top, pieces, channels, x, plane, rows, v, point_step, piece_step);
}

/* Sums at the points of a row of pieces, of two vectors of channels, to rows[side][side pieces][channel]. */
static void ITP_K(winograd_sums)(int side, int pieces, const float *m, ptrdiff_t point_step,
                                 ptrdiff_t piece_step, float *rows)
{
    const int n = side + 2;
    for (int t = 0; t < pieces; t++, m += piece_step)
        for (int h = 0; h < 2; h++) {
            vf z[6][4];
            for (int k = 0; k < n; k++) {
                vf d[6];
                for (int r = 0; r < n; r++)
                    d[r] = v_load(m + (n * r + k) * point_step + h * V_WIDTH);
                ITP_K(winograd_plane)(side, d, z[k]);
            }
            for (int r = 0; r < side; r++) {
                vf d[6], y[4];
                for (int k = 0; k < n; k++) d[k] = z[k][r];
                ITP_K(winograd_plane)(side, d, y);
                for (int k = 0; k < side; k++)
                    v_store(rows + (((ptrdiff_t)r * pieces + t) * side + k) * 2 * V_WIDTH +
                                h * V_WIDTH,
                            y[k]);
            }
        }
}

/* The other way round than three taps become six points. */
ITP_INLINE void ITP_K(winograd_back)(vf u[6], vf to[4])
{
    const vf at_p = v_set(0.5f / (ITP_WINOGRAD_P2 * (ITP_WINOGRAD_P2 - ITP_WINOGRAD_Q2)));
    const vf at_q = v_set(0.5f / (ITP_WINOGRAD_Q2 * (ITP_WINOGRAD_Q2 - ITP_WINOGRAD_P2)));
    const vf last = u[5];
    u[0] = v_mul(v_set(1 / (ITP_WINOGRAD_P2 * ITP_WINOGRAD_Q2)), u[0]);
    u[1] = v_mul(at_p, u[1]), u[2] = v_mul(at_p, u[2]);
    u[3] = v_mul(at_q, u[3]), u[4] = v_mul(at_q, u[4]), u[5] = v_zero();
    ITP_K(winograd_plane)(4, u, to);
    to[2] = v_add(to[2], last);
}

/* Sums at the 36 points of n inputs, u[point * point_step + i * 2 V_WIDTH + channel], to the gradients of
   taps w[n][9][channel], two vectors of channels. */
static void ITP_K(winograd_gradient)(int n, const float *u, ptrdiff_t point_step, float *w)
{
    for (int i = 0; i < n; i++, u += 2 * V_WIDTH, w += 9 * 2 * V_WIDTH)
        for (int h = 0; h < 2; h++) {
            vf z[6][4], d[6], y[4];
            for (int k = 0; k < 6; k++) {
                for (int r = 0; r < 6; r++)
                    d[r] = v_load(u + (6 * r + k) * point_step + h * V_WIDTH);
                ITP_K(winograd_back)(d, z[k]);
            }
            for (int r = 0; r < 3; r++) {
                for (int k = 0; k < 6; k++) d[k] = z[k][r];
                ITP_K(winograd_back)(d, y);
                for (int k = 0; k < 3; k++)
                    v_store(w + (3 * r + k) * 2 * V_WIDTH + h * V_WIDTH, y[k]);
            }
        }
}

/* Taps w[n][9][channel], two vectors of channels, to u[point * point_step + i * 2 V_WIDTH + channel];
   turned: the last tap first. */
static void ITP_K(winograd_weights)(int side, int n, const float *w, bool turned, float *u,
                                    ptrdiff_t point_step)
{
    const ptrdiff_t tap = turned ? -2 * V_WIDTH : 2 * V_WIDTH;
    if (turned) w += 8 * 2 * V_WIDTH;
    for (int i = 0; i < n; i++, w += 9 * 2 * V_WIDTH, u += 2 * V_WIDTH)
        for (int h = 0; h < 2; h++) {
            vf z[3][6], d[6];
            for (int k = 0; k < 3; k++) {
                const float *g = w + h * V_WIDTH + k * tap;
                ITP_K(winograd_taps)
                (side, v_load(g), v_load(g + 3 * tap), v_load(g + 6 * tap), z[k]);
            }
            for (int r = 0; r < side + 2; r++) {
                ITP_K(winograd_taps)(side, z[0][r], z[1][r], z[2][r], d);
                for (int k = 0; k < side + 2; k++)
                    v_store(u + ((side + 2) * r + k) * point_step + h * V_WIDTH, d[k]);
            }
        }
}

#undef ITP_WINOGRAD_P
#undef ITP_WINOGRAD_Q
#undef ITP_WINOGRAD_P2
#undef ITP_WINOGRAD_Q2

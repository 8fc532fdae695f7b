/* ---- elementwise kernels --------------------------------------------------------------------- */

#define ITP_SELU_SCALE   1.05070098735548f /* Klambauer et al. 2017 */
#define ITP_SELU_ALPHA   1.67326324235438f
#define ITP_SQRT_HALF    0.70710678118655f
#define ITP_SQRT_2_BY_PI 0.79788456080287f
#define ITP_GELU_CUBE    0.044715f /* Hendrycks and Gimpel 2016 */

static inline vf ITP_K(silu_grad)(vf x)
{
    const vf s = ITP_K(sigmoid)(x);
    return v_mul(s, v_fma(x, v_sub(v_set(1), s), v_set(1)));
}

static inline vf ITP_K(gelu)(vf x)
{
    const vf half = v_mul(v_set(0.5f), x);
    return v_fma(half, ITP_K(erf)(v_mul(x, v_set(ITP_SQRT_HALF))), half);
}

static inline vf ITP_K(gelu_grad)(vf x)
{
    const vf cdf = v_fma(v_set(0.5f), ITP_K(erf)(v_mul(x, v_set(ITP_SQRT_HALF))), v_set(0.5f));
    const vf pdf = v_mul(v_set(0.39894228040143f), /* 1/sqrt(2 pi) */
                         ITP_K(exp_low)(v_mul(v_set(-0.5f), v_mul(x, x))));
    return v_fma(x, pdf, cdf);
}

static inline vf ITP_K(gelu_tanh_inner)(vf x)
{
    const vf cube = v_mul(v_mul(x, x), x);
    return v_mul(v_set(ITP_SQRT_2_BY_PI), v_fma(v_set(ITP_GELU_CUBE), cube, x));
}

static inline vf ITP_K(gelu_tanh)(vf x)
{
    const vf half = v_mul(v_set(0.5f), x);
    return v_fma(half, ITP_K(tanh)(ITP_K(gelu_tanh_inner)(x)), half);
}

static inline vf ITP_K(gelu_tanh_grad)(vf x)
{
    const vf t = ITP_K(tanh)(ITP_K(gelu_tanh_inner)(x));
    const vf slope =
        v_mul(v_set(ITP_SQRT_2_BY_PI), v_fma(v_set(3 * ITP_GELU_CUBE), v_mul(x, x), v_set(1)));
    const vf left = v_fma(v_set(0.5f), t, v_set(0.5f));
    const vf right = v_mul(v_mul(v_mul(v_set(0.5f), x), v_fnma(t, t, v_set(1))), slope);
    return v_add(left, right);
}

static inline vf ITP_K(hard_swish_gate)(vf x)
{
    const vf g = v_fma(x, v_set(1.0f / 6), v_set(0.5f));
    return v_min(v_set(1), v_max(v_zero(), g));
}

/* ELU and SELU: slope above 0, and what exp(x) - 1 is multiplied by below. */
#define ITP_ABOVE(op)    ((op) == ITP_SELU ? ITP_SELU_SCALE : 1)
#define ITP_BELOW(op, a) ((op) == ITP_SELU ? ITP_SELU_SCALE * ITP_SELU_ALPHA : (a))

/* Whole vectors only, to keep the many loops short; a rest goes through a padded copy. */
#define ITP_MAP(name, expr)                                                                        \
    case ITP_##name:                                                                               \
        for (size_t i = 0; i < whole; i += V_WIDTH) {                                              \
            const vf v = v_load(x + i);                                                            \
            v_store(y + i, expr);                                                                  \
        }                                                                                          \
        break;

/* y[i] = f(x[i]); x and y may be the same array. */
static void ITP_K(unary)(itp_unary op, size_t n, const float *x, float *y, float a, float b)
{
    const vf va = v_set(a), vb = v_set(b);
    const vf above = v_set(ITP_ABOVE(op)), below = v_set(ITP_BELOW(op, a));
    const size_t whole = n - n % V_WIDTH;
    switch (op) {
        ITP_MAP(RELU, v_max(v_zero(), v))
        ITP_MAP(LEAKY_RELU, v_select(v_lt(v, v_zero()), v_mul(va, v), v))
    case ITP_SELU:
        ITP_MAP(ELU, v_select(v_lt(v, v_zero()),
                              v_mul(below, v_sub(ITP_K(exp_low)(v_min(v, v_zero())), v_set(1))),
                              v_mul(above, v)))
        ITP_MAP(SOFTPLUS, ITP_K(softplus)(v))
        ITP_MAP(SIGMOID, ITP_K(sigmoid)(v))
        ITP_MAP(TANH, ITP_K(tanh)(v))
        ITP_MAP(SILU, v_div(v, ITP_K(sigmoid_under)(v)))
        ITP_MAP(GELU, ITP_K(gelu)(v))
        ITP_MAP(GELU_TANH, ITP_K(gelu_tanh)(v))
        ITP_MAP(HARD_SWISH, v_mul(v, ITP_K(hard_swish_gate)(v)))
        ITP_MAP(HARD_SIGMOID, v_min(v_set(1), v_max(v_zero(), v_fma(va, v, vb))))
        ITP_MAP(EXP, ITP_K(exp)(v))
        ITP_MAP(LOG, ITP_K(log)(v))
        ITP_MAP(SQRT, v_sqrt(v))
        ITP_MAP(ERF, ITP_K(erf)(v))
        ITP_MAP(NEG, v_neg(v))
        ITP_MAP(ABS, v_abs(v))
        ITP_MAP(RECIPROCAL, v_div(v_set(1), v))
        ITP_MAP(CLIP, v_min(vb, v_max(va, v)))
        ITP_MAP(SQUARE, v_mul(v, v))
    case ITP_UNARY_COUNT: break;
    }
    if (whole < n) {
        float rest[V_WIDTH] = {0};
        memcpy(rest, x + whole, (n - whole) * sizeof *x);
        ITP_K(unary)(op, V_WIDTH, rest, rest, a, b);
        memcpy(y + whole, rest, (n - whole) * sizeof *x);
    }
}

#define ITP_MAP_GRAD(name, expr)                                                                   \
    case ITP_##name:                                                                               \
        for (size_t i = 0; i < whole; i += V_WIDTH) {                                              \
            const vf v = v_load(x + i), r = v_load(y + i), d = v_load(dy + i);                     \
            const vf g = expr, old = add ? v_load(dx + i) : v_zero();                              \
            (void)v, (void)r;                                                                      \
            v_store(dx + i, v_add(old, g));                                                        \
        }                                                                                          \
        break;

/* dx[i] (+)= dy[i] f'(x[i]), with y = f(x) at hand. Where f' has a jump, the value at the left of
   it counts, as in PyTorch. An op that needs only one of x and y may be given it twice. */
static void ITP_K(unary_grad)(itp_unary op, size_t n, const float *x, const float *y,
                              const float *dy, float *dx, float a, float b, bool add)
{
    const vf va = v_set(a), vb = v_set(b), one = v_set(1), zero = v_zero();
    const vf above = v_set(ITP_ABOVE(op)), below = v_set(ITP_BELOW(op, a));
    const size_t whole = n - n % V_WIDTH;
    switch (op) {
        ITP_MAP_GRAD(RELU, v_select(v_gt(r, zero), d, zero))
        ITP_MAP_GRAD(LEAKY_RELU, v_select(v_gt(v, zero), d, v_mul(va, d)))
    case ITP_SELU:
        ITP_MAP_GRAD(ELU, v_select(v_gt(r, zero), v_mul(above, d), v_mul(d, v_add(r, below))))
        ITP_MAP_GRAD(SOFTPLUS, v_mul(d, ITP_K(sigmoid)(v)))
        ITP_MAP_GRAD(SIGMOID, v_mul(d, v_fnma(r, r, r)))
        ITP_MAP_GRAD(TANH, v_mul(d, v_fnma(r, r, one)))
        ITP_MAP_GRAD(SILU, v_mul(d, ITP_K(silu_grad)(v)))
        ITP_MAP_GRAD(GELU, v_mul(d, ITP_K(gelu_grad)(v)))
        ITP_MAP_GRAD(GELU_TANH, v_mul(d, ITP_K(gelu_tanh_grad)(v)))
        ITP_MAP_GRAD(HARD_SWISH,
                     v_mul(d, v_select(v_lt(v, v_set(-3)), zero,
                                       v_select(v_lt(v, v_set(3)),
                                                v_fma(v, v_set(1.0f / 3), v_set(0.5f)), one))))
        ITP_MAP_GRAD(HARD_SIGMOID,
                     v_select(v_both(v_gt(r, zero), v_lt(r, one)), v_mul(va, d), zero))
        ITP_MAP_GRAD(EXP, v_mul(d, r))
        ITP_MAP_GRAD(LOG, v_div(d, v))
        ITP_MAP_GRAD(SQRT, v_div(v_mul(v_set(0.5f), d), r))
        ITP_MAP_GRAD(ERF, v_mul(d, v_mul(v_set(1.12837916709551f), /* 2/sqrt(pi) */
                                         ITP_K(exp_low)(v_neg(v_mul(v, v))))))
        ITP_MAP_GRAD(NEG, v_neg(d))
        ITP_MAP_GRAD(ABS, v_select(v_gt(v, zero), d, v_select(v_lt(v, zero), v_neg(d), zero)))
        ITP_MAP_GRAD(RECIPROCAL, v_neg(v_mul(d, v_mul(r, r))))
        ITP_MAP_GRAD(CLIP, v_select(v_both(v_le(va, v), v_le(v, vb)), d, zero))
        ITP_MAP_GRAD(SQUARE, v_mul(d, v_add(v, v)))
    case ITP_UNARY_COUNT: break;
    }
    if (whole < n) {
        float rest[4][V_WIDTH] = {{0}};
        const size_t bytes = (n - whole) * sizeof *x;
        memcpy(rest[0], x + whole, bytes);
        memcpy(rest[1], y + whole, bytes);
        memcpy(rest[2], dy + whole, bytes);
        if (add) memcpy(rest[3], dx + whole, bytes);
        ITP_K(unary_grad)(op, V_WIDTH, rest[0], rest[1], rest[2], rest[3], a, b, add);
        memcpy(dx + whole, rest[3], bytes);
    }
}

#undef ITP_MAP
#undef ITP_MAP_GRAD
#undef ITP_ABOVE
#undef ITP_BELOW

/* dx (+)= dy where it is positive and x between 0 and `most` */
static void ITP_K(relu_guided)(size_t n, const float *x, float most, const float *dy, bool add,
                               float *dx)
{
    const vf zero = v_zero(), end = v_set(most);
    V_LOOP(n, {
        const vf v = v_get(x + i, w), d = v_get(dy + i, w);
        const vm on = v_both(v_gt(d, zero), v_both(v_gt(v, zero), v_lt(v, end)));
        const vf old = add ? v_get(dx + i, w) : zero;
        v_put(dx + i, v_add(old, v_select(on, d, zero)), w);
    });
}

/* dx (+)= dy times the slope of a ReLU from x0 to x. */
static void ITP_K(relu_delta)(size_t n, const float *x, const float *x0, const float *dy, bool add,
                              float *dx)
{
    const vf zero = v_zero(), one = v_set(1);
    V_LOOP(n, {
        const vf a = v_get(x + i, w), b = v_get(x0 + i, w);
        const vm up = v_gt(a, zero), up0 = v_gt(b, zero);
        const vf q = v_div(v_sub(v_max(a, zero), v_max(b, zero)), v_sub(a, b));
        const vf slope = v_select(up, v_select(up0, one, q), v_select(up0, q, zero));
        const vf old = add ? v_get(dx + i, w) : zero;
        v_put(dx + i, v_add(old, v_mul(v_get(dy + i, w), slope)), w);
    });
}

#define ITP_PAIR(name, word)                                                                       \
    case ITP_##name:                                                                               \
        V_LOOP(n, {                                                                                \
            const vf c = a_step ? v_get(a + i, w) : va, d = b_step ? v_get(b + i, w) : vb;         \
            v_put(y + i, word(c, d), w);                                                           \
        });                                                                                        \
        break;

/* y[i] = a[i] op b[i]; a step of 0 repeats the single number of that operand. */
static void ITP_K(binary)(itp_binary op, size_t n, const float *a, int a_step, const float *b,
                          int b_step, float *y)
{
    if (!n) return;
    const vf va = v_set(*a), vb = v_set(*b);
    switch (op) {
        ITP_PAIR(ADD, v_add)
        ITP_PAIR(SUB, v_sub)
        ITP_PAIR(MUL, v_mul)
        ITP_PAIR(DIV, v_div)
    case ITP_BINARY_COUNT: break;
    }
}

#undef ITP_PAIR

/* y = alpha x + beta y; y is not read when beta is 0. */
static void ITP_K(scale_add)(size_t n, float alpha, const float *x, float beta, float *y)
{
    const vf va = v_set(alpha), vb = v_set(beta);
    if (beta == 0) V_LOOP(n, { v_put(y + i, v_mul(va, v_get(x + i, w)), w); });
    else V_LOOP(n, { v_put(y + i, v_fma(va, v_get(x + i, w), v_mul(vb, v_get(y + i, w))), w); });
}

/* y (+)= a x + c, with the same numbers a and c for all. */
static void ITP_K(affine)(size_t n, float a, const float *x, float c, float *y)
{
    const vf va = v_set(a), vc = v_set(c);
    V_LOOP(n, { v_put(y + i, v_fma(va, v_get(x + i, w), vc), w); });
}

/* z (+)= a x + b y + c */
static void ITP_K(affine2)(size_t n, float a, const float *x, float b, const float *y, float c,
                           float *z, bool add)
{
    const vf va = v_set(a), vb = v_set(b), vc = v_set(c);
    V_LOOP(n, {
        const vf old = add ? v_get(z + i, w) : v_zero();
        const vf t = v_fma(va, v_get(x + i, w), v_fma(vb, v_get(y + i, w), vc));
        v_put(z + i, v_add(old, t), w);
    });
}

/* z (+)= x y, elementwise */
static void ITP_K(mul_add)(size_t n, const float *x, const float *y, float *z, bool add)
{
    V_LOOP(n, {
        const vf old = add ? v_get(z + i, w) : v_zero();
        v_put(z + i, v_fma(v_get(x + i, w), v_get(y + i, w), old), w);
    });
}

/* y[i] += a x[i sx] */
static void ITP_K(axpy)(size_t n, float a, const float *x, int sx, float *y)
{
    const vf va = v_set(a);
    if (sx == 1) {
        V_LOOP(n, { v_put(y + i, v_fma(va, v_get(x + i, w), v_get(y + i, w)), w); });
        return;
    }
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        v_store(y + i, v_fma(va, v_loads(x + i * (size_t)sx, sx), v_load(y + i)));
    for (; i < n; i++)
        v_storen(y + i, v_fma(va, v_loadn(x + i * (size_t)sx, 1), v_loadn(y + i, 1)), 1);
}

/* The larger; NaN when either is. */
static inline vf ITP_K(larger)(vf a, vf b)
{
    return v_select(v_eq(b, b), v_select(v_gt(b, a), b, a), b);
}

/* ---- optimiser updates; all arrays of n floats, g is not changed */

static void ITP_K(sgd)(size_t n, float *p, const float *g, float *velocity, const itp_update *u)
{
    const vf lr = v_set(u->lr), decay = v_set(u->weight_decay), momentum = v_set(u->momentum);
    V_EACH(n, {
        const vf x = v_get(p + i, w);
        const vf d = v_fma(decay, x, v_mul(v_set(u->grad_scale), v_get(g + i, w)));
        vf step = d;
        if (velocity) {
            const vf s = v_fma(momentum, v_get(velocity + i, w), d);
            v_put(velocity + i, s, w);
            step = u->nesterov ? v_fma(momentum, s, d) : s;
        }
        v_put(p + i, v_fnma(lr, step, x), w);
    });
}

static void ITP_K(rmsprop)(size_t n, float *p, const float *g, float *square, float *velocity,
                           const itp_update *u)
{
    const vf lr = v_set(u->lr), decay = v_set(u->weight_decay), momentum = v_set(u->momentum);
    const vf rho = v_set(u->beta2), rest = v_set(1 - u->beta2), eps = v_set(u->epsilon);
    V_EACH(n, {
        const vf x = v_get(p + i, w);
        const vf d = v_fma(decay, x, v_mul(v_set(u->grad_scale), v_get(g + i, w)));
        const vf s = v_fma(rho, v_get(square + i, w), v_mul(rest, v_mul(d, d)));
        v_put(square + i, s, w);
        vf step = v_div(d, v_add(v_sqrt(s), eps));
        if (velocity) {
            step = v_fma(momentum, v_get(velocity + i, w), step);
            v_put(velocity + i, step, w);
        }
        v_put(p + i, v_fnma(lr, step, x), w);
    });
}

/* Kingma and Ba 2015; with `decoupled` the decay of Loshchilov and Hutter 2019. */
static void ITP_K(adam)(size_t n, float *p, const float *g, float *mean, float *square,
                        const itp_update *u)
{
    const vf b1 = v_set(u->beta1), r1 = v_set(1 - u->beta1);
    const vf b2 = v_set(u->beta2), r2 = v_set(1 - u->beta2), eps = v_set(u->epsilon);
    const vf lr = v_set(u->lr / u->correction1), c2 = v_set(1 / u->correction2);
    const vf coupled = v_set(u->decoupled ? 0 : u->weight_decay);
    const vf shrink = v_set(u->decoupled ? 1 - u->lr * u->weight_decay : 1);
    V_EACH(n, {
        const vf x = v_get(p + i, w);
        const vf d = v_fma(coupled, x, v_mul(v_set(u->grad_scale), v_get(g + i, w)));
        const vf m = v_fma(b1, v_get(mean + i, w), v_mul(r1, d));
        const vf s = v_fma(b2, v_get(square + i, w), v_mul(r2, v_mul(d, d)));
        v_put(mean + i, m, w);
        v_put(square + i, s, w);
        const vf step = v_div(m, v_add(v_sqrt(v_mul(s, c2)), eps));
        v_put(p + i, v_fnma(lr, step, v_mul(shrink, x)), w);
    });
}

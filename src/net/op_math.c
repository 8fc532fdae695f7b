/* ---- net/op_math.c: functions of one and of two arguments that have no kernels, in double --------- */

/* Name, function of x with the node's alpha and beta as a and b, derivative: here steps and tests,
   without a gradient. */
#define ITP_STEPS(X)                                                                               \
    X(CEIL, ceil(x), 0)                                                                            \
    X(FLOOR, floor(x), 0)                                                                          \
    X(ROUND, itp_round_even(x), 0)                                                                 \
    X(TRUNC, x < 0 ? ceil(x) : floor(x), 0)                                                        \
    X(SIGN, x > 0 ? 1 : x < 0 ? -1 : x, 0)                                                         \
    X(NOT, x == 0, 0)                                                                              \
    X(TO_BOOL, x != 0, 0)                                                                          \
    X(ROUND_TO, itp_round_to(x, (int)a, (int)b), 0)                                                \
    X(IS_NAN, x != x, 0)                                                                           \
    X(IS_INF, (a != 0 && x < -DBL_MAX) || (b != 0 && x > DBL_MAX), 0)

/* Functions of one argument with a derivative. Where that has a jump, the value at the left of it
   counts, as in the kernels. */
#define ITP_CURVES(X)                                                                              \
    X(SIN, sin(x), cos(x))                                                                         \
    X(COS, cos(x), -sin(x))                                                                        \
    X(TAN, tan(x), 1 / (cos(x) * cos(x)))                                                          \
    X(ASIN, asin(x), 1 / sqrt(1 - x * x))                                                          \
    X(ACOS, acos(x), -1 / sqrt(1 - x * x))                                                         \
    X(ATAN, atan(x), 1 / (1 + x * x))                                                              \
    X(SINH, sinh(x), cosh(x))                                                                      \
    X(COSH, cosh(x), sinh(x))                                                                      \
    X(ASINH, asinh(x), 1 / sqrt(x * x + 1))                                                        \
    X(ACOSH, acosh(x), 1 / sqrt(x * x - 1))                                                        \
    X(ATANH, atanh(x), 1 / (1 - x * x))                                                            \
    X(CELU, x > 0 ? x : a * (exp(x / a) - 1), x > 0 ? 1 : exp(x / a))                              \
    X(SOFTSIGN, x / (1 + fabs(x)), 1 / ((1 + fabs(x)) * (1 + fabs(x))))                            \
    X(THRESHOLDED_RELU, x <= a ? 0 : x, x > a)                                                     \
    X(MISH, itp_mish(x), itp_mish_slope(x))                                                        \
    X(SHRINK, itp_shrink(x, a, b), x<-a || x> a)

/* Name, function of x and z, its derivatives in both. The first of equal extremes is the
   one that counts; NaN is an extreme. */
#define ITP_PAIRS(X)                                                                               \
    X(POW, pow(x, z), z == 0 ? 0 : z * pow(x, z - 1), x == 0 && z >= 0 ? 0 : pow(x, z) * log(x))   \
    X(MAX, x >= z || x != x ? x : z, x >= z || x != x, !(x >= z || x != x))                        \
    X(MIN, x <= z || x != x ? x : z, x <= z || x != x, !(x <= z || x != x))                        \
    X(PRELU, itp_prelu_slope(x, z) * x, itp_prelu_slope(x, z), x > 0 ? 0 : x)

/* Those without a gradient. */
#define ITP_TESTS(X)                                                                               \
    X(MOD, itp_floor_mod(x, z), 0, 0)                                                              \
    X(FMOD, fmod(x, z), 0, 0)                                                                      \
    X(INT_DIV, z == 0 ? 0 : x / z < 0 ? ceil(x / z) : floor(x / z), 0, 0)                          \
    X(EQUAL, x == z, 0, 0)                                                                         \
    X(LESS, x < z, 0, 0)                                                                           \
    X(GREATER, x > z, 0, 0)                                                                        \
    X(LESS_EQUAL, x <= z, 0, 0)                                                                    \
    X(GREATER_EQUAL, x >= z, 0, 0)                                                                 \
    X(AND, x != 0 && z != 0, 0, 0)                                                                 \
    X(OR, x != 0 || z != 0, 0, 0)                                                                  \
    X(XOR, (x != 0) != (z != 0), 0, 0)

typedef enum itp_math {
#define ITP_MATH_ID(id, ...) ITP_F_##id,
    ITP_STEPS(ITP_MATH_ID) ITP_CURVES(ITP_MATH_ID) ITP_PAIRS(ITP_MATH_ID) ITP_TESTS(ITP_MATH_ID)
#undef ITP_MATH_ID
        ITP_F_PICK, /* of a condition and the first of two: y = x ? z : y */
    ITP_F_OTHER     /* of a condition and the second of two: y = z */
} itp_math;

/* 1 or z, looked up: a jump would be guessed wrong half of the time. */
ITP_FN double itp_prelu_slope(double x, double z)
{
    const double slopes[2] = {z, 1};
    return slopes[x > 0];
}

/* The nearest whole number, the even one of two. */
ITP_FN double itp_round_even(double x)
{
    const double below = floor(x), rest = x - below;
    return rest > 0.5 || (rest == 0.5 && fmod(below, 2) != 0) ? below + 1 : below;
}

/* Floats of less than 16 bits, by ONNX's number for them. */
typedef struct itp_small_float {
    int id, bits, mantissa, bias;
    double most;
    bool infinite; /* beyond `most` lies infinity; else what is not a number */
    bool no_minus; /* and what would be -0 is that, as the only one */
} itp_small_float;

enum { ITP_POWERS_OF_2 = 24 }; /* FLOAT8E8M0: all exponent */

ITP_FN const itp_small_float *itp_small_float_of(int id)
{
    static const itp_small_float rows[] = {
        {17, 8, 3, 7, 448, false, false},   /* FLOAT8E4M3FN */
        {18, 8, 3, 8, 240, false, true},    /* FLOAT8E4M3FNUZ */
        {19, 8, 2, 15, 57344, true, false}, /* FLOAT8E5M2 */
        {20, 8, 2, 16, 57344, false, true}, /* FLOAT8E5M2FNUZ */
        {23, 4, 1, 1, 6, false, false},     /* FLOAT4E2M1, which has numbers only */
        {ITP_POWERS_OF_2, 8, 0, 127, 1.7014118346046923e38, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].id == id) return &rows[i];
    return NULL;
}

/* What its bits stand for. */
ITP_FN double itp_small_float_value(const itp_small_float *f, unsigned bits)
{
    const unsigned sign = bits >> (f->bits - 1) & 1;
    if (f->id == ITP_POWERS_OF_2) return bits == 255 ? (double)NAN : ldexp(1, (int)bits - f->bias);
    const unsigned rest = bits & ((1u << (f->bits - 1)) - 1), last = (1u << (f->bits - 1)) - 1;
    const int exponent = (int)(rest >> f->mantissa);
    const int part = (int)(rest & ((1u << f->mantissa) - 1));
    if (f->no_minus && bits == 1u << (f->bits - 1)) return (double)NAN;
    if (f->infinite && exponent == (int)(last >> f->mantissa)) {
        if (part) return (double)NAN;
        return sign ? -(double)INFINITY : (double)INFINITY;
    }
    if (f->bits == 8 && !f->infinite && !f->no_minus && rest == last) return (double)NAN;
    const double size = exponent
                            ? ldexp((1 << f->mantissa) + part, exponent - f->bias - f->mantissa)
                            : ldexp(part, 1 - f->bias - f->mantissa);
    return sign ? -size : size;
}

enum {
    ITP_SATURATE = 1,
    ITP_ROUND_UP = 2,
    ITP_ROUND_DOWN = 4
}; /* else to the nearest, even of two */

/* The number of a small type that x becomes. Beyond the largest it stays that with ITP_SATURATE. */
ITP_FN double itp_round_to(double x, int id, int how)
{
    const itp_small_float *f = itp_small_float_of(id);
    int e = 0;
    if (!f || (x != x && f->bits == 8)) return x;
    const bool power = id == ITP_POWERS_OF_2;
    double size = x != x ? 0 : fabs(x); /* four bits have numbers only */
    if (size <= DBL_MAX) {
        (void)frexp(size, &e);
        const int step = itp_max(e - 1, 1 - f->bias) - f->mantissa; /* the last bit's exponent */
        const double whole = ldexp(size, -step), low = floor(whole);
        const double near = itp_round_even(whole);
        size = ldexp(how & ITP_ROUND_UP ? ceil(whole) : how & ITP_ROUND_DOWN ? low : near, step);
        if (power && size < ldexp(1, -f->bias)) size = ldexp(1, -f->bias);
    }
    if (size > f->most)
        size = how & ITP_SATURATE ? f->most : f->infinite ? (double)INFINITY : (double)NAN;
    return x < 0 && !power ? -size : size;
}

/* The rest that has the sign of z. */
ITP_FN double itp_floor_mod(double x, double z)
{
    const double rest = fmod(x, z);
    return rest != 0 && (rest < 0) != (z < 0) ? rest + z : rest;
}

/* Towards 0 by `bias`, and 0 near it. */
ITP_FN double itp_shrink(double x, double near, double bias)
{
    if (x < -near) return x + bias;
    return x > near ? x - bias : x != x ? x : 0;
}

/* tanh(log(1 + e^x)) = n / (n + 2) with n = e^x (e^x + 2), which is 1 long before it overflows. */
ITP_FN double itp_mish(double x)
{
    const double e = exp(fmin(x, 40)), n = e * (e + 2);
    return x * n / (n + 2);
}

ITP_FN double itp_mish_slope(double x)
{
    const double e = exp(fmin(x, 40)), n = e * (e + 2);
    return n / (n + 2) + x * 4 * e * (e + 1) / ((n + 2) * (n + 2));
}

/* y[i] = kind(x[i]) with constants a and b; x and y may be the same array. */
ITP_FN void itp_math_unary(int kind, size_t n, const float *from, float *to, double a, double b)
{
#define ITP_EACH(id, f, df)                                                                        \
    case ITP_F_##id:                                                                               \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double x = (double)from[i];                                                      \
            to[i] = (float)(f);                                                                    \
        }                                                                                          \
        break;
    switch (kind) {
        ITP_STEPS(ITP_EACH)
        ITP_CURVES(ITP_EACH)
    default: break;
    }
#undef ITP_EACH
}

/* dx[i] (+)= g[i] times kind's derivative in x[i]. */
ITP_FN void itp_math_unary_grad(int kind, size_t n, const float *from, const float *g, double a,
                                double b, bool add, float *dx)
{
    (void)b;
#define ITP_EACH(id, f, df)                                                                        \
    case ITP_F_##id:                                                                               \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double x = (double)from[i];                                                      \
            dx[i] = (float)((double)g[i] * (df)) + (add ? dx[i] : 0);                              \
        }                                                                                          \
        break;
    switch (kind) {
        ITP_CURVES(ITP_EACH)
    default: break;
    }
#undef ITP_EACH
}

/* y[i] = kind(a[i], b[i]), an itp_pair_fn. */
ITP_FN void itp_math_pair(int kind, size_t n, const float *a, size_t a_step, const float *b,
                          size_t b_step, float *y)
{
#define ITP_EACH(id, f, da, db)                                                                    \
    case ITP_F_##id:                                                                               \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double x = (double)a[i * a_step], z = (double)b[i * b_step];                     \
            y[i] = (float)(f);                                                                     \
        }                                                                                          \
        break;
    switch (kind) {
        ITP_PAIRS(ITP_EACH)
        ITP_TESTS(ITP_EACH)
    case ITP_F_PICK:
        for (size_t i = 0; i < n; i++)
            if (a[i * a_step] != 0) y[i] = b[i * b_step];
        break;
    case ITP_F_OTHER:
        for (size_t i = 0; i < n; i++) y[i] = b[i * b_step];
        break;
    default: break;
    }
#undef ITP_EACH
}

/* t[i] = g[i] times kind's derivative in one operand, an itp_pair_grad_fn. */
ITP_FN void itp_math_pair_grad(int kind, bool second, size_t n, const float *g, const float *a,
                               size_t a_step, const float *b, size_t b_step, float *t)
{
#define ITP_EACH(id, f, da, db)                                                                    \
    case ITP_F_##id:                                                                               \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double x = (double)a[i * a_step], z = (double)b[i * b_step];                     \
            (void)x, (void)z;                                                                      \
            t[i] = (float)((double)g[i] * (second ? (double)(db) : (double)(da)));                 \
        }                                                                                          \
        break;
    switch (kind) {
        ITP_PAIRS(ITP_EACH)
    case ITP_F_PICK:
    case ITP_F_OTHER:
        for (size_t i = 0; i < n; i++)
            t[i] = (a[i * a_step] != 0) == (kind == ITP_F_PICK) ? g[i] : 0;
        break;
    default: break;
    }
#undef ITP_EACH
}

/* ---- the ops */

typedef struct itp_math_job {
    int kind;
    const float *x, *dy;
    float *to;
    size_t n;
    double a, b;
    bool add;
} itp_math_job;

ITP_FN void itp_math_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_math_job *j = (const itp_math_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, n = itp_min_size(ITP_CHUNK, j->n - at);
    itp_math_unary(j->kind, n, j->x + at, j->to + at, j->a, j->b);
}

ITP_FN void itp_math_grad_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_math_job *j = (const itp_math_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, n = itp_min_size(ITP_CHUNK, j->n - at);
    itp_math_unary_grad(j->kind, n, j->x + at, j->dy + at, j->a, j->b, j->add, j->to + at);
}

ITP_FN itp_math_job itp_math_at(const interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    itp_math_job j;
    memset(&j, 0, sizeof j);
    j.kind = itp_op_row(o->op)->kind;
    j.n = itp_count(itp_shape_out(w, node));
    j.x = itp_x(w, node, 0);
    j.a = (double)o->attrs.alpha, j.b = (double)o->attrs.beta;
    return j;
}

ITP_FN void itp_forward_math(interp_workspace *w, int node)
{
    itp_math_job j = itp_math_at(w, node);
    j.to = itp_y(w, node);
    itp_parallel(w->ctx, (int)((j.n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j.n * 16, itp_math_task,
                 &j);
}

ITP_FN void itp_backward_math(interp_workspace *w, int node)
{
    itp_math_job j = itp_math_at(w, node);
    j.dy = itp_dy(w, node), j.to = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_parallel(w->ctx, (int)((j.n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j.n * 16,
                 itp_math_grad_task, &j);
}

ITP_FN void itp_forward_math_pair(interp_workspace *w, int node)
{
    int kind = itp_op_row(itp_at(w, node)->op)->kind;
    if (kind == ITP_F_MOD && itp_at(w, node)->attrs.mode) kind = ITP_F_FMOD;
    itp_pair_run(w, node, itp_math_pair, kind, 0, 1);
}

ITP_FN void itp_backward_math_pair(interp_workspace *w, int node)
{
    const int kind = itp_op_row(itp_at(w, node)->op)->kind;
    for (int i = 0; i < 2; i++) itp_pair_grad(w, node, itp_math_pair_grad, kind, i, 1 - i);
}

ITP_FN void itp_forward_where(interp_workspace *w, int node)
{
    itp_pair_run(w, node, itp_math_pair, ITP_F_OTHER, 0, 2);
    itp_pair_run(w, node, itp_math_pair, ITP_F_PICK, 0, 1);
}

ITP_FN void itp_backward_where(interp_workspace *w, int node)
{
    itp_pair_grad(w, node, itp_math_pair_grad, ITP_F_PICK, 1, 0);
    itp_pair_grad(w, node, itp_math_pair_grad, ITP_F_OTHER, 2, 0);
}

#undef ITP_STEPS
#undef ITP_CURVES
#undef ITP_PAIRS
#undef ITP_TESTS

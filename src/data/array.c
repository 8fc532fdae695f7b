/* ---- data/array.c: element types, byte order, conversion ------------------------------------- */

/* IEEE single even where double-precision tests redefine `float`. */
#if defined(INTERP_TEST_DOUBLE)
typedef __typeof__(1.0f) itp_f32;
#else
typedef float itp_f32;
#endif
ITP_STATIC_ASSERT(sizeof(itp_f32) == 4, "float32 is stored in files as four bytes");

#define ITP_FLOAT_DTYPE (sizeof(float) == 4 ? INTERP_FLOAT32 : INTERP_FLOAT64)

typedef struct itp_dtype_row {
    const char *name;        /* numpy's */
    unsigned size;           /* bytes */
    const char *npy;         /* type code in an NPY header, NULL when it has none */
    const char *safetensors; /* type name there */
} itp_dtype_row;

ITP_FN const itp_dtype_row *itp_dtype(interp_dtype dtype)
{
    static const itp_dtype_row rows[INTERP_DTYPE_COUNT] = {
        {"float32", 4, "f4", "F32"},   {"float64", 8, "f8", "F64"}, {"float16", 2, "f2", "F16"},
        {"bfloat16", 2, NULL, "BF16"}, {"int8", 1, "i1", "I8"},     {"int16", 2, "i2", "I16"},
        {"int32", 4, "i4", "I32"},     {"int64", 8, "i8", "I64"},   {"uint8", 1, "u1", "U8"},
        {"uint16", 2, "u2", "U16"},    {"uint32", 4, "u4", "U32"},  {"uint64", 8, "u8", "U64"},
        {"bool", 1, "b1", "BOOL"},
    };
    return &rows[dtype];
}

INTERP_API size_t interp_dtype_size(interp_dtype dtype)
{
    return (unsigned)dtype < INTERP_DTYPE_COUNT ? itp_dtype(dtype)->size : 0;
}

INTERP_API const char *interp_dtype_name(interp_dtype dtype)
{
    return (unsigned)dtype < INTERP_DTYPE_COUNT ? itp_dtype(dtype)->name : "?";
}

/* ---- bytes in either order */

ITP_FN unsigned itp_get_le16(const unsigned char *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

ITP_FN uint32_t itp_get_le32(const unsigned char *p)
{
    return (uint32_t)itp_get_le16(p) | (uint32_t)itp_get_le16(p + 2) << 16;
}

ITP_FN uint64_t itp_get_le64(const unsigned char *p)
{
    return (uint64_t)itp_get_le32(p) | (uint64_t)itp_get_le32(p + 4) << 32;
}

ITP_FN uint32_t itp_get_be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

ITP_FN bool itp_host_is_little(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Reverses the bytes of each of n elements. */
ITP_FN void itp_swap_bytes(void *data, size_t n, size_t size)
{
    unsigned char *p = (unsigned char *)data;
    for (size_t i = 0; i < n; i++, p += size)
        for (size_t j = 0; j < size / 2; j++) {
            const unsigned char t = p[j];
            p[j] = p[size - 1 - j];
            p[size - 1 - j] = t;
        }
}

/* ---- sorting: in place, no allocation (qsort may call malloc), O(n log n) on any input */

typedef int (*itp_compare_fn)(const void *a, const void *b);

ITP_FN void itp_sort_swap(unsigned char *a, unsigned char *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
}

/* Heap sort; not stable. */
ITP_FN void itp_sort(void *items, size_t n, size_t size, itp_compare_fn compare)
{
    unsigned char *p = (unsigned char *)items;
    if (n < 2) return;
    size_t start = n / 2, end = n;
    for (;;) {
        if (start > 0) start--;
        else if (--end > 0) itp_sort_swap(p, p + end * size, size);
        else return;
        for (size_t root = start, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && compare(p + child * size, p + (child + 1) * size) < 0) child++;
            if (compare(p + root * size, p + child * size) >= 0) break;
            itp_sort_swap(p + root * size, p + child * size, size);
        }
    }
}

/* Orders things that begin with a pointer to their name. */
ITP_FN int itp_compare_names(const void *a, const void *b)
{
    const char *x, *y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return strcmp(x, y);
}

/* ---- shapes and arrays */

ITP_FN interp_shape itp_shape_none(void)
{
    interp_shape s;
    s.rank = 0;
    for (int i = 0; i < INTERP_MAX_RANK; i++) s.dim[i] = 1;
    return s;
}

ITP_FN interp_shape itp_shape_3(int a, int b, int c)
{
    interp_shape s = itp_shape_none();
    s.rank = 3;
    s.dim[0] = a, s.dim[1] = b, s.dim[2] = c;
    return s;
}

/* The shape a file states, its `rank` within INTERP_MAX_RANK; FORMAT when so many elements of
   `size` bytes cannot be held. */
ITP_FN interp_status itp_shape_from_file(interp_ctx *ctx, const char *name, int rank,
                                         const uint64_t *dims, size_t size, interp_shape *shape,
                                         size_t *bytes)
{
    interp_shape s = itp_shape_none();
    s.rank = rank;
    for (int i = 0; i < rank; i++) {
        if (dims[i] > INT_MAX)
            return itp_fail(ctx, INTERP_FORMAT, "%s: dimension %d is %llu; at most %d is possible",
                            name, i, (unsigned long long)dims[i], INT_MAX);
        s.dim[i] = (int)dims[i];
    }
    *bytes = itp_mul_size(interp_shape_size(&s), size);
    if (*bytes > SIZE_MAX / 4)
        return itp_fail(ctx, INTERP_FORMAT, "%s: its shape has more elements than memory can hold",
                        name);
    *shape = s;
    return INTERP_OK;
}

ITP_FN interp_array itp_array_none(void)
{
    interp_array a;
    memset(&a, 0, sizeof a);
    return a;
}

ITP_FN interp_status itp_array_new(interp_ctx *ctx, interp_dtype dtype, const interp_shape *shape,
                                   interp_array *out)
{
    out->dtype = dtype;
    out->shape = *shape;
    out->data = interp_alloc(ctx, itp_mul_size(interp_shape_size(shape), itp_dtype(dtype)->size));
    return out->data ? INTERP_OK : INTERP_NO_MEMORY;
}

/* A new array of the elements at `bytes`, which are in the byte order told. */
ITP_FN interp_status itp_array_from_bytes(interp_ctx *ctx, interp_dtype dtype,
                                          const interp_shape *shape, const void *bytes, bool little,
                                          interp_array *out)
{
    ITP_TRY(itp_array_new(ctx, dtype, shape, out));
    const size_t n = interp_shape_size(shape), size = itp_dtype(dtype)->size;
    if (n) memcpy(out->data, bytes, n * size);
    if (little != itp_host_is_little()) itp_swap_bytes(out->data, n, size);
    if (dtype == INTERP_BOOL) {
        unsigned char *p = (unsigned char *)out->data;
        for (size_t i = 0; i < n; i++) p[i] = p[i] != 0; /* other values are no C bool */
    }
    return INTERP_OK;
}

INTERP_API void interp_array_free(interp_ctx *ctx, interp_array *array)
{
    interp_free(ctx, array->data);
    memset(array, 0, sizeof *array);
}

ITP_FN itp_f32 itp_f32_of_bits(uint32_t bits)
{
    itp_f32 x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ITP_FN uint32_t itp_bits_of_f32(itp_f32 x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

ITP_FN itp_f32 itp_f32_of_half(unsigned h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, fraction = h & 0x3FFu;
    const uint32_t exponent = h >> 10 & 31;
    if (exponent == 31) return itp_f32_of_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent) return itp_f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const itp_f32 tiny = (itp_f32)fraction * (1.0f / 16777216.0f); /* subnormal: fraction 2^-24 */
    return sign ? -tiny : tiny;
}

#define ITP_CONVERT_LOOP(type, value)                                                              \
    do {                                                                                           \
        const type *p = (const type *)array->data;                                                 \
        for (size_t i = 0; i < n; i++) out[i] = (float)(value);                                    \
    } while (0)

INTERP_API void interp_array_floats(const interp_array *array, float *out)
{
    const size_t n = interp_shape_size(&array->shape);
    switch (array->dtype) {
    case INTERP_FLOAT32: ITP_CONVERT_LOOP(itp_f32, p[i]); break;
    case INTERP_FLOAT64: ITP_CONVERT_LOOP(double, p[i]); break;
    case INTERP_FLOAT16: ITP_CONVERT_LOOP(uint16_t, itp_f32_of_half(p[i])); break;
    case INTERP_BFLOAT16: ITP_CONVERT_LOOP(uint16_t, itp_f32_of_bits((uint32_t)p[i] << 16)); break;
    case INTERP_INT8: ITP_CONVERT_LOOP(int8_t, p[i]); break;
    case INTERP_INT16: ITP_CONVERT_LOOP(int16_t, p[i]); break;
    case INTERP_INT32: ITP_CONVERT_LOOP(int32_t, p[i]); break;
    case INTERP_INT64: ITP_CONVERT_LOOP(int64_t, p[i]); break;
    case INTERP_UINT8: ITP_CONVERT_LOOP(uint8_t, p[i]); break;
    case INTERP_UINT16: ITP_CONVERT_LOOP(uint16_t, p[i]); break;
    case INTERP_UINT32: ITP_CONVERT_LOOP(uint32_t, p[i]); break;
    case INTERP_UINT64: ITP_CONVERT_LOOP(uint64_t, p[i]); break;
    case INTERP_BOOL: ITP_CONVERT_LOOP(uint8_t, p[i] != 0); break;
    case INTERP_DTYPE_COUNT: break;
    }
}

#undef ITP_CONVERT_LOOP

INTERP_API interp_status interp_array_to_f32(interp_ctx *ctx, interp_array *array)
{
    const interp_dtype dtype = ITP_FLOAT_DTYPE;
    if (array->dtype == dtype) return INTERP_OK;
    interp_array out = itp_array_none();
    ITP_TRY(itp_array_new(ctx, dtype, &array->shape, &out));
    interp_array_floats(array, (float *)out.data);
    interp_array_free(ctx, array);
    *array = out;
    return INTERP_OK;
}

/* Element i as a double. Whole numbers above 2^53 are rounded. */
ITP_FN double itp_array_at(const interp_array *array, size_t i)
{
    const void *p = array->data;
    switch (array->dtype) {
    case INTERP_FLOAT32: return (double)((const itp_f32 *)p)[i];
    case INTERP_FLOAT64: return ((const double *)p)[i];
    case INTERP_FLOAT16: return (double)itp_f32_of_half(((const uint16_t *)p)[i]);
    case INTERP_BFLOAT16: return (double)itp_f32_of_bits((uint32_t)((const uint16_t *)p)[i] << 16);
    case INTERP_INT8: return ((const int8_t *)p)[i];
    case INTERP_INT16: return ((const int16_t *)p)[i];
    case INTERP_INT32: return ((const int32_t *)p)[i];
    case INTERP_INT64: return (double)((const int64_t *)p)[i];
    case INTERP_UINT8: return ((const uint8_t *)p)[i];
    case INTERP_UINT16: return ((const uint16_t *)p)[i];
    case INTERP_UINT32: return ((const uint32_t *)p)[i];
    case INTERP_UINT64: return (double)((const uint64_t *)p)[i];
    case INTERP_BOOL: return ((const uint8_t *)p)[i] != 0;
    case INTERP_DTYPE_COUNT: break;
    }
    return 0;
}

/* The half of a float: nearest, ties to even. */
ITP_FN uint16_t itp_half_of(itp_f32 x)
{
    const uint32_t bits = itp_bits_of_f32(x);
    const uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (size >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* rounds beyond the largest */
    if (size < 0x38800000u) { /* subnormal: the sum leaves whole 2^-24 */
        return (uint16_t)(sign | (itp_bits_of_f32(itp_f32_of_bits(size) + 0.5f) - 0x3F000000u));
    }
    const uint32_t rounded = size + 0xFFFu + (size >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

/* The bfloat16 of a float, likewise. */
ITP_FN uint16_t itp_bfloat_of(itp_f32 x)
{
    const uint32_t bits = itp_bits_of_f32(x);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1)) >> 16);
}

#define ITP_CAST_LOOP(type, value)                                                                 \
    do {                                                                                           \
        type *p = (type *)out.data;                                                                \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double x = itp_array_at(array, i);                                               \
            p[i] = (type)(value);                                                                  \
        }                                                                                          \
    } while (0)
/* The nearest whole number that the type has. */
#define ITP_HELD(low, high) (x >= (high) ? (high) : x > (low) ? floor(x + 0.5) : (low))

INTERP_API interp_status interp_array_cast(interp_ctx *ctx, interp_array *array, interp_dtype dtype)
{
    interp_array out = itp_array_none();
    const size_t n = interp_shape_size(&array->shape);
    if (array->dtype == dtype) return INTERP_OK;
    ITP_TRY(itp_array_new(ctx, dtype, &array->shape, &out));
    switch (dtype) {
    case INTERP_FLOAT32: ITP_CAST_LOOP(itp_f32, x); break;
    case INTERP_FLOAT64: ITP_CAST_LOOP(double, x); break;
    case INTERP_FLOAT16: ITP_CAST_LOOP(uint16_t, itp_half_of((itp_f32)x)); break;
    case INTERP_BFLOAT16: ITP_CAST_LOOP(uint16_t, itp_bfloat_of((itp_f32)x)); break;
    case INTERP_INT8: ITP_CAST_LOOP(int8_t, ITP_HELD(-128.0, 127.0)); break;
    case INTERP_INT16: ITP_CAST_LOOP(int16_t, ITP_HELD(-32768.0, 32767.0)); break;
    case INTERP_INT32: ITP_CAST_LOOP(int32_t, ITP_HELD(-2147483648.0, 2147483647.0)); break;
    case INTERP_INT64: ITP_CAST_LOOP(int64_t, ITP_HELD(-9.2e18, 9.2e18)); break;
    case INTERP_UINT8: ITP_CAST_LOOP(uint8_t, ITP_HELD(0.0, 255.0)); break;
    case INTERP_UINT16: ITP_CAST_LOOP(uint16_t, ITP_HELD(0.0, 65535.0)); break;
    case INTERP_UINT32: ITP_CAST_LOOP(uint32_t, ITP_HELD(0.0, 4294967295.0)); break;
    case INTERP_UINT64: ITP_CAST_LOOP(uint64_t, ITP_HELD(0.0, 1.8e19)); break;
    case INTERP_BOOL: ITP_CAST_LOOP(uint8_t, x != 0); break;
    case INTERP_DTYPE_COUNT: break;
    }
    interp_array_free(ctx, array);
    *array = out;
    return INTERP_OK;
}

#undef ITP_CAST_LOOP
#undef ITP_HELD

INTERP_API interp_status interp_array_ints(interp_ctx *ctx, const interp_array *array, int32_t *out)
{
    const size_t n = interp_shape_size(&array->shape);
    for (size_t i = 0; i < n; i++) {
        const double v = itp_array_at(array, i);
        if (!(v >= -2147483648.0 && v <= 2147483647.0) || v != floor(v))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "element %zu is %g: a whole number of 32 bits is wanted", i, v);
        out[i] = (int32_t)v;
    }
    return INTERP_OK;
}

/* ---- text being read */

typedef struct itp_scan {
    const char *at, *end;
} itp_scan;

ITP_FN void itp_scan_space(itp_scan *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r'))
        t->at++;
}

/* Takes the character c when it is next, white space skipped. */
ITP_FN bool itp_scan_take(itp_scan *t, char c)
{
    itp_scan_space(t);
    if (t->at == t->end || *t->at != c) return false;
    t->at++;
    return true;
}

ITP_FN bool itp_scan_word(itp_scan *t, const char *word)
{
    const size_t n = strlen(word);
    itp_scan_space(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n)) return false;
    t->at += n;
    return true;
}

/* A whole number without sign; false when there is none or it leaves 64 bits. */
ITP_FN bool itp_scan_u64(itp_scan *t, uint64_t *out)
{
    itp_scan_space(t);
    const char *start = t->at;
    uint64_t v = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
        const unsigned digit = (unsigned)(*t->at - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *out = v;
    return t->at > start && (*start != '0' || t->at == start + 1);
}

ITP_FN char itp_ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

ITP_FN bool itp_same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (itp_ascii_lower(*a) != itp_ascii_lower(*b)) return false;
    return *a == *b;
}

ITP_FN bool itp_ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && itp_same_word(s + n - m, end);
}

/* Copies n strings into one block: the pointers, then the text. */
ITP_FN interp_status itp_names_copy(interp_ctx *ctx, const char *const *names, int n, char ***out)
{
    size_t bytes = itp_mul_size((size_t)n, sizeof(char *));
    for (int i = 0; i < n; i++) bytes = itp_add_size(bytes, strlen(names[i]) + 1);
    char **p = (char **)interp_alloc(ctx, bytes);
    if (!p) return INTERP_NO_MEMORY;
    char *text = (char *)(p + n);
    for (int i = 0; i < n; i++) {
        const size_t length = strlen(names[i]) + 1;
        memcpy(text, names[i], length);
        p[i] = text;
        text += length;
    }
    *out = p;
    return INTERP_OK;
}

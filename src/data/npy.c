/* ---- data/npy.c: NPY files ------------------------------------------------------------------- */

typedef struct itp_npy_header {
    interp_dtype dtype;
    bool little, fortran;
    int rank;
    uint64_t dim[INTERP_MAX_RANK];
} itp_npy_header;

/* A Python string literal without escapes. */
ITP_FN bool itp_npy_string(itp_scan *t, const char **s, size_t *n)
{
    itp_scan_space(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
    const char quote = *t->at++;
    *s = t->at;
    while (t->at < t->end && *t->at != quote)
        if (*t->at++ == '\\') return false;
    *n = (size_t)(t->at - *s);
    if (t->at == t->end) return false;
    t->at++;
    return true;
}

ITP_FN interp_status itp_npy_descr(interp_ctx *ctx, const char *name, itp_scan *t,
                                   itp_npy_header *h)
{
    const char *s;
    size_t n = 0;
    if (itp_scan_take(t, '['))
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "%s: it holds records of several fields; save each field by itself", name);
    if (!itp_npy_string(t, &s, &n))
        return itp_fail(ctx, INTERP_FORMAT, "%s: the header's descr is not readable", name);
    h->little = itp_host_is_little();
    if (n > 0 && strchr("<>|=", *s)) {
        if (*s == '<' || *s == '>') h->little = *s == '<';
        s++, n--;
    }
    for (int d = 0; d < INTERP_DTYPE_COUNT; d++) {
        const char *code = itp_dtype((interp_dtype)d)->npy;
        if (code && n == 2 && memcmp(code, s, 2) == 0) {
            h->dtype = (interp_dtype)d;
            return INTERP_OK;
        }
    }
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: elements of type '%.*s' cannot be read; floats of 2, 4 or 8 bytes, "
                    "integers and bool can",
                    name, (int)itp_min_size(n, 20), s);
}

ITP_FN interp_status itp_npy_shape(interp_ctx *ctx, const char *name, itp_scan *t,
                                   itp_npy_header *h)
{
    bool ok = itp_scan_take(t, '(');
    h->rank = 0;
    while (ok && !itp_scan_take(t, ')')) {
        if (h->rank == INTERP_MAX_RANK)
            return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: it has more than %d dimensions", name,
                            INTERP_MAX_RANK);
        ok = itp_scan_u64(t, &h->dim[h->rank++]);
        if (ok) itp_scan_take(t, 'L'); /* Python 2 wrote long integers so */
        if (ok && !itp_scan_take(t, ',')) {
            ok = itp_scan_take(t, ')') && h->rank > 1; /* (3) is a number, (3,) a tuple */
            break;
        }
    }
    if (ok) return INTERP_OK;
    return itp_fail(ctx, INTERP_FORMAT, "%s: the header's shape is not readable", name);
}

/* The header is a Python dict literal of exactly three keys in any order. */
ITP_FN interp_status itp_npy_dict(interp_ctx *ctx, const char *name, itp_scan t, itp_npy_header *h)
{
    unsigned seen = 0;
    bool ok = itp_scan_take(&t, '{');
    while (ok && !itp_scan_take(&t, '}')) {
        const char *key;
        size_t n = 0;
        unsigned bit = 0;
        ok = itp_npy_string(&t, &key, &n) && itp_scan_take(&t, ':');
        if (!ok) break;
        if (n == 5 && memcmp(key, "descr", 5) == 0) {
            bit = 1;
            ITP_TRY(itp_npy_descr(ctx, name, &t, h));
        } else if (n == 13 && memcmp(key, "fortran_order", 13) == 0) {
            bit = 2;
            h->fortran = itp_scan_word(&t, "True");
            ok = h->fortran || itp_scan_word(&t, "False");
        } else if (n == 5 && memcmp(key, "shape", 5) == 0) {
            bit = 4;
            ITP_TRY(itp_npy_shape(ctx, name, &t, h));
        }
        ok = ok && bit && !(seen & bit);
        seen |= bit;
        if (ok && !itp_scan_take(&t, ',')) {
            ok = itp_scan_take(&t, '}');
            break;
        }
    }
    itp_scan_space(&t);
    if (ok && seen == 7 && t.at == t.end) return INTERP_OK;
    return itp_fail(ctx, INTERP_FORMAT, "%s: its NPY header is damaged", name);
}

/* out[i,j,..] in row-major order from column-major `in`. */
ITP_FN void itp_npy_transpose(const interp_shape *s, size_t size, const char *in, char *out)
{
    size_t stride[INTERP_MAX_RANK], at = 0;
    int index[INTERP_MAX_RANK] = {0};
    const size_t n = interp_shape_size(s);
    for (int i = 0; i < s->rank; i++) stride[i] = i ? stride[i - 1] * (size_t)s->dim[i - 1] : size;
    for (size_t k = 0; k < n; k++, out += size) {
        memcpy(out, in + at, size);
        for (int i = s->rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < s->dim[i]) break;
            at -= stride[i] * (size_t)s->dim[i];
            index[i] = 0;
        }
    }
}

ITP_FN interp_status itp_npy_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   interp_array *array)
{
    const unsigned char *p = (const unsigned char *)bytes;
    if (n < 10 || memcmp(p, "\x93NUMPY", 6))
        return itp_fail(ctx, INTERP_FORMAT, "%s: this is not an NPY file", name);
    const int version = p[6];
    if (version < 1 || version > 3)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: NPY version %d is not known (1 to 3 are)",
                        name, version);
    const size_t at = version == 1 ? 10 : 12;
    const size_t length = version == 1 ? itp_get_le16(p + 8) : n < 12 ? n : itp_get_le32(p + 8);
    if (n < at || length > n - at)
        return itp_fail(ctx, INTERP_FORMAT, "%s: the file ends within its header", name);
    itp_npy_header h;
    memset(&h, 0, sizeof h);
    itp_scan t;
    t.at = (const char *)p + at;
    t.end = t.at + length;
    ITP_TRY(itp_npy_dict(ctx, name, t, &h));
    const size_t size = itp_dtype(h.dtype)->size, have = n - at - length;
    interp_shape shape = itp_shape_none();
    size_t need = 0;
    ITP_TRY(itp_shape_from_file(ctx, name, h.rank, h.dim, size, &shape, &need));
    if (need != have)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: its header promises %zu bytes of data but %zu follow", name, need,
                        have);
    interp_array a = itp_array_none();
    ITP_TRY(itp_array_from_bytes(ctx, h.dtype, &shape, t.end, h.little, &a));
    if (h.fortran && shape.rank > 1) {
        interp_array c = itp_array_none();
        if (itp_array_new(ctx, h.dtype, &shape, &c)) {
            interp_array_free(ctx, &a);
            return INTERP_NO_MEMORY;
        }
        itp_npy_transpose(&shape, size, (const char *)a.data, (char *)c.data);
        interp_array_free(ctx, &a);
        a = c;
    }
    *array = a;
    return INTERP_OK;
}

INTERP_API interp_status interp_npy_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array)
{
    return itp_npy_parse(ctx, "npy", bytes, n, array);
}

/* The element type an array is written with: NPY has no bfloat16, float32 holds it exactly. */
ITP_FN interp_dtype itp_npy_dtype(const interp_array *array)
{
    return array->dtype == INTERP_BFLOAT16 ? INTERP_FLOAT32 : array->dtype;
}

/* Appends the array as little-endian bytes of the type told, which is its own unless that is
   bfloat16 and float32 is told. */
ITP_FN void itp_array_put(itp_buf *b, const interp_array *array, interp_dtype dtype)
{
    const size_t n = interp_shape_size(&array->shape), size = itp_dtype(dtype)->size;
    const size_t start = b->n;
    if (!itp_buf_reserve(b, itp_mul_size(n, size))) return;
    if (dtype == array->dtype) {
        itp_buf_add(b, array->data, n * size);
    } else {
        const uint16_t *p = (const uint16_t *)array->data;
        for (size_t i = 0; i < n; i++) {
            const uint32_t bits = (uint32_t)p[i] << 16;
            itp_buf_add(b, &bits, sizeof bits);
        }
    }
    if (!itp_host_is_little()) itp_swap_bytes(b->data + start, n, size);
}

ITP_FN void itp_npy_put(itp_buf *b, const interp_array *array)
{
    const interp_dtype dtype = itp_npy_dtype(array);
    char head[256];
    int n = snprintf(head, sizeof head, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                     itp_dtype(dtype)->size == 1 ? '|' : '<', itp_dtype(dtype)->npy);
    for (int i = 0; i < array->shape.rank; i++)
        n += snprintf(head + n, sizeof head - (size_t)n, i ? ", %d" : "%d", array->shape.dim[i]);
    n += snprintf(head + n, sizeof head - (size_t)n, array->shape.rank == 1 ? ",), }" : "), }");
    const int total = (10 + n + 1 + 63) / 64 * 64, length = total - 10;
    itp_buf_add(b, "\x93NUMPY\x01\x00", 8);
    itp_buf_byte(b, length & 255);
    itp_buf_byte(b, length >> 8);
    itp_buf_add(b, head, (size_t)n);
    for (int i = 10 + n + 1; i < total; i++) itp_buf_byte(b, ' ');
    itp_buf_byte(b, '\n');
    itp_array_put(b, array, dtype);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_npy_read(interp_ctx *ctx, const char *path, interp_array *array)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_npy_parse(ctx, path, bytes, n, array);
    interp_free(ctx, bytes);
    return status;
}

INTERP_API interp_status interp_npy_write(interp_ctx *ctx, const char *path,
                                          const interp_array *array)
{
    itp_buf b = itp_buf_new(ctx);
    const size_t size = itp_dtype(itp_npy_dtype(array))->size;
    itp_buf_reserve(&b, itp_add_size(itp_mul_size(interp_shape_size(&array->shape), size), 512));
    itp_npy_put(&b, array);
    return itp_buf_write(&b, path);
}

INTERP_API interp_status interp_npy_write_f32(interp_ctx *ctx, const char *path, const float *x,
                                              const interp_shape *shape)
{
    interp_array a = itp_array_none();
    a.dtype = ITP_FLOAT_DTYPE;
    a.shape = *shape;
    memcpy(&a.data, &x, sizeof x); /* only read; `data` has no const */
    return interp_npy_write(ctx, path, &a);
}

#endif

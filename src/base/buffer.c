/* ---- base/buffer.c: growing byte buffers, whole files in and out ----------------------------- */

/* Bytes being put together; the first failure is kept and makes later calls do nothing. */
typedef struct itp_buf {
    interp_ctx *ctx;
    char *data; /* always followed by a 0 byte once anything was added */
    size_t n, capacity;
    interp_status status;
} itp_buf;

ITP_FN itp_buf itp_buf_new(interp_ctx *ctx)
{
    itp_buf b;
    memset(&b, 0, sizeof b);
    b.ctx = ctx;
    return b;
}

ITP_FN void itp_buf_free(itp_buf *b)
{
    interp_free(b->ctx, b->data);
    b->data = NULL;
    b->n = b->capacity = 0;
}

ITP_FN bool itp_buf_reserve(itp_buf *b, size_t more)
{
    if (b->status) return false;
    const size_t need = itp_add_size(itp_add_size(b->n, more), 1);
    if (need <= b->capacity) return true;
    const size_t want = itp_max_size(need, itp_max_size(256, itp_mul_size(b->capacity, 2)));
    char *p = (char *)interp_alloc(b->ctx, want);
    if (!p) {
        b->status = INTERP_NO_MEMORY;
        return false;
    }
    if (b->n) memcpy(p, b->data, b->n);
    interp_free(b->ctx, b->data);
    b->data = p;
    b->capacity = want;
    return true;
}

ITP_FN void itp_buf_add(itp_buf *b, const void *data, size_t n)
{
    if (!itp_buf_reserve(b, n)) return;
    if (n) memcpy(b->data + b->n, data, n);
    b->n += n;
    b->data[b->n] = 0;
}

ITP_FN void itp_buf_str(itp_buf *b, const char *s)
{
    itp_buf_add(b, s, strlen(s));
}

ITP_FN void itp_buf_byte(itp_buf *b, int c)
{
    const char byte = (char)c;
    itp_buf_add(b, &byte, 1);
}

ITP_FN void itp_buf_printf(itp_buf *b, const char *format, ...) INTERP_PRINTF(2, 3);
ITP_FN void itp_buf_printf(itp_buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !itp_buf_reserve(b, (size_t)n)) return;
    va_start(args, format);
    vsnprintf(b->data + b->n, (size_t)n + 1, format, args);
    va_end(args);
    b->n += (size_t)n;
}

/* The shortest of %.6g .. %.9g that reads back as the same float, with a point in any locale;
   NaN and infinity as "nan", "inf", "-inf". */
ITP_FN const char *itp_float_text(double x, char out[32])
{
    if (x != x) return "nan";
    if (x > (double)FLT_MAX) return "inf";
    if (x < -(double)FLT_MAX) return "-inf";
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(out, 32, "%.*g", digits, x);
        if ((float)strtod(out, NULL) == (float)x) break;
    }
    for (char *c = out; *c; c++)
        if (*c == ',') *c = '.';
    return out;
}

ITP_FN void itp_buf_float(itp_buf *b, double x)
{
    char text[32];
    itp_buf_str(b, itp_float_text(x, text));
}

#if !defined(INTERP_NO_STDIO)

/* Reads a file whole; the caller frees *data. One byte of 0 follows the end. */
ITP_FN interp_status itp_file_read(interp_ctx *ctx, const char *path, char **data, size_t *n)
{
    *data = NULL;
    *n = 0;
#if defined(ITP_HAS_POSIX)
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return itp_fail(ctx, INTERP_IO, "%s: this is not a regular file", path);
#endif
    FILE *f = fopen(path, "rb");
    if (!f) return itp_fail(ctx, INTERP_IO, "%s: %s", path, strerror(errno));
    long size = -1;
    if (fseek(f, 0, SEEK_END) == 0) size = ftell(f);
    if (size < 0 || fseek(f, 0, SEEK_SET)) {
        fclose(f);
        return itp_fail(ctx, INTERP_IO, "%s: %s", path, strerror(errno));
    }
    char *p = (char *)interp_alloc(ctx, (size_t)size + 1);
    if (!p) {
        fclose(f);
        return INTERP_NO_MEMORY;
    }
    const size_t got = fread(p, 1, (size_t)size, f);
    const bool bad = got != (size_t)size || ferror(f);
    fclose(f);
    if (bad) {
        interp_free(ctx, p);
        return itp_fail(ctx, INTERP_IO, "%s: only %zu of %ld bytes could be read", path, got, size);
    }
    p[size] = 0;
    *data = p;
    *n = (size_t)size;
    return INTERP_OK;
}

/* Writes a file whole: beside its place first, then renamed, so that no half file is ever seen. */
ITP_FN interp_status itp_file_write(interp_ctx *ctx, const char *path, const void *data, size_t n)
{
    const size_t length = strlen(path);
    char *part = (char *)interp_alloc(ctx, length + 8);
    if (!part) return INTERP_NO_MEMORY;
    memcpy(part, path, length);
    memcpy(part + length, ".part~", 7);
    FILE *f = fopen(part, "wb");
    bool ok = f && (n == 0 || fwrite(data, 1, n, f) == n);
    if (f && fclose(f)) ok = false;
    if (ok && rename(part, path)) ok = false;
    interp_status status = INTERP_OK;
    if (!ok) {
        status = itp_fail(ctx, INTERP_IO, "%s: could not be written: %s", path, strerror(errno));
        if (f) remove(part);
    }
    interp_free(ctx, part);
    return status;
}

/* Writes the buffer to a file and frees it. */
ITP_FN interp_status itp_buf_write(itp_buf *b, const char *path)
{
    interp_status status = b->status;
    if (!status) status = itp_file_write(b->ctx, path, b->data ? b->data : "", b->n);
    itp_buf_free(b);
    return status;
}

#endif

/* ---- data/zip.c: gzip, zip and NPZ ----------------------------------------------------------- */

/* CRC-32 of zip, gzip and PNG: reflected polynomial 0xEDB88320 (RFC 1952, section 8). */
ITP_FN uint32_t itp_crc32(const void *bytes, size_t n)
{
    uint32_t table[256], crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0);
        table[i] = c;
    }
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < n; i++) crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return ~crc;
}

#define ITP_DEFLATE_RATIO 1032 /* the most a deflate stream can expand, per byte */
#define ITP_DEFLATE_SLACK 8    /* bytes that follow a stream in either format */

/* Inflates a raw deflate stream of n bytes that makes exactly `size` bytes of the CRC given, into
   a new block. stb reads ahead of the last code, so ITP_DEFLATE_SLACK bytes behind it must be
   readable; that the stream ends before them, the checksum tells. What is claimed beyond the best ratio there is must be a lie, so nothing is allocated. */
ITP_FN interp_status itp_inflate(interp_ctx *ctx, const char *name, const unsigned char *in,
                                 size_t n, size_t size, uint32_t crc, char **out)
{
#if defined(STBI_INCLUDE_STB_IMAGE_H)
    if (size / ITP_DEFLATE_RATIO > n)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: the file is cut off or damaged: %zu bytes cannot come out of %zu",
                        name, size, n);
    if (n > INT_MAX - ITP_DEFLATE_SLACK || size > INT_MAX - 1)
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "%s: compressed parts of 2 GiB and more cannot be read; unpack it first",
                        name);
    char *p = (char *)interp_alloc(ctx, size + 1); /* stb wants room for at least one byte */
    if (!p) return INTERP_NO_MEMORY;
    const int got = stbi_zlib_decode_noheader_buffer(p, (int)size + 1, (const char *)in,
                                                     (int)n + ITP_DEFLATE_SLACK);
    if (got < 0 || (size_t)got != size || itp_crc32(p, size) != crc) {
        interp_free(ctx, p);
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: the compressed data is cut off, damaged or in several parts", name);
    }
    *out = p;
    return INTERP_OK;
#else
    (void)in, (void)n, (void)size, (void)crc, (void)out;
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: this is compressed; include stb_image.h before the implementation of "
                    "interp.h, or unpack it first",
                    name);
#endif
}

/* ---- gzip (RFC 1952), one member */

ITP_FN bool itp_is_gzip(const void *bytes, size_t n)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return n >= 2 && b[0] == 0x1f && b[1] == 0x8b;
}

/* Where the deflate stream starts, 0 when the header is damaged. */
ITP_FN size_t itp_gzip_header(const unsigned char *p, size_t n)
{
    if (n < 18 || p[2] != 8 || (p[3] & 0xE0)) return 0;
    size_t at = 10;
    if (p[3] & 4) at += 2 + itp_get_le16(p + at); /* extra field */
    for (int flag = 8; flag <= 16; flag *= 2) {   /* name, comment: both end with a 0 byte */
        if (!(p[3] & flag)) continue;
        while (at < n && p[at]) at++;
        at++;
    }
    if (p[3] & 2) at += 2; /* header CRC */
    return at <= n - 8 ? at : 0;
}

/* Unpacks a gzip file into a new block. */
ITP_FN interp_status itp_gunzip(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                char **out, size_t *out_n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    const size_t at = itp_is_gzip(bytes, n) ? itp_gzip_header(p, n) : 0;
    if (!at) return itp_fail(ctx, INTERP_FORMAT, "%s: the gzip header is damaged", name);
    const uint32_t crc = itp_get_le32(p + n - 8), size = itp_get_le32(p + n - 4);
    for (size_t i = at; i + 11 <= n; i++) /* this trailer and then another member */
        if (memcmp(p + i, p + n - 8, 8) == 0 && memcmp(p + i + 8, "\x1f\x8b\x08", 3) == 0)
            return itp_fail(ctx, INTERP_UNSUPPORTED,
                            "%s: gzip files of several members are not read", name);
    ITP_TRY(itp_inflate(ctx, name, p + at, n - 8 - at, size, crc, out));
    *out_n = size;
    return INTERP_OK;
}

/* ---- zip: the central directory is what counts */

typedef struct itp_zip_entry {
    const char *name; /* not terminated */
    unsigned name_n, method, flags;
    uint32_t crc;
    uint64_t packed, size, header; /* bytes stored, bytes unpacked, place of the local header */
} itp_zip_entry;

typedef struct itp_zip {
    const char *file; /* for error sentences */
    const unsigned char *p;
    size_t n;
    uint64_t directory, directory_n; /* place and bytes of the central directory */
    uint64_t count;
    itp_zip_entry *entries; /* [count], sorted by name */
} itp_zip;

ITP_FN interp_status itp_zip_damaged(interp_ctx *ctx, const itp_zip *z, const char *what)
{
    return itp_fail(ctx, INTERP_FORMAT, "%s: damaged zip archive: %s", z->file, what);
}

/* Finds the end record: it is last, but for a comment of up to 65535 bytes. */
ITP_FN interp_status itp_zip_find(interp_ctx *ctx, itp_zip *z)
{
    const unsigned char *p = z->p;
    const size_t lowest = z->n > 65557 ? z->n - 65557 : 0;
    size_t at = z->n < 22 ? 0 : z->n - 22;
    if (z->n < 22) return itp_zip_damaged(ctx, z, "it is too short");
    while (memcmp(p + at, "PK\5\6", 4) || itp_get_le16(p + at + 20) != z->n - at - 22) {
        if (at == lowest)
            return itp_fail(ctx, INTERP_FORMAT, "%s: this is not a zip archive, or its end is cut",
                            z->file);
        at--;
    }
    uint64_t limit = at;
    bool disks = itp_get_le16(p + at + 4) || itp_get_le16(p + at + 6);
    uint64_t here = itp_get_le16(p + at + 8);
    z->count = itp_get_le16(p + at + 10);
    z->directory_n = itp_get_le32(p + at + 12);
    z->directory = itp_get_le32(p + at + 16);
    if (at >= 20 && memcmp(p + at - 20, "PK\6\7", 4) == 0) {
        const uint64_t end64 = itp_get_le64(p + at - 12);
        if (at < 76 || end64 > at - 76 || memcmp(p + end64, "PK\6\6", 4))
            return itp_zip_damaged(ctx, z, "its zip64 end record is not where it should be");
        const unsigned char *e = p + end64;
        disks = itp_get_le32(e + 16) || itp_get_le32(e + 20);
        here = itp_get_le64(e + 24);
        z->count = itp_get_le64(e + 32);
        z->directory_n = itp_get_le64(e + 40);
        z->directory = itp_get_le64(e + 48);
        limit = end64;
    }
    if (disks || here != z->count)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: zip archives in several parts are not read",
                        z->file);
    if (z->directory > limit || z->directory_n > limit - z->directory ||
        z->count > z->directory_n / 46)
        return itp_zip_damaged(ctx, z, "its directory lies outside the file");
    return INTERP_OK;
}

/* Zip64: the extra field holds, in this order, those of the three that read 0xFFFFFFFF. */
ITP_FN bool itp_zip_wide(const unsigned char *extra, size_t n, itp_zip_entry *e)
{
    uint64_t *wide[3];
    int want = 0;
    if (e->size == 0xFFFFFFFFu) wide[want++] = &e->size;
    if (e->packed == 0xFFFFFFFFu) wide[want++] = &e->packed;
    if (e->header == 0xFFFFFFFFu) wide[want++] = &e->header;
    while (want && n >= 4) {
        const size_t length = itp_get_le16(extra + 2);
        if (length > n - 4) return false;
        if (itp_get_le16(extra) == 1) {
            if (length < (size_t)want * 8) return false;
            for (int i = 0; i < want; i++) *wide[i] = itp_get_le64(extra + 4 + 8 * i);
            return true;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return want == 0;
}

ITP_FN interp_status itp_zip_list(interp_ctx *ctx, itp_zip *z)
{
    const unsigned char *p = z->p + z->directory;
    size_t left = (size_t)z->directory_n;
    for (uint64_t i = 0; i < z->count; i++) {
        itp_zip_entry *e = &z->entries[i];
        if (left < 46 || memcmp(p, "PK\1\2", 4))
            return itp_zip_damaged(ctx, z, "its directory is cut");
        e->flags = itp_get_le16(p + 8);
        e->method = itp_get_le16(p + 10);
        e->crc = itp_get_le32(p + 16);
        e->packed = itp_get_le32(p + 20);
        e->size = itp_get_le32(p + 24);
        e->name_n = itp_get_le16(p + 28);
        e->header = itp_get_le32(p + 42);
        e->name = (const char *)p + 46;
        const size_t extra = itp_get_le16(p + 30);
        const size_t length = 46 + e->name_n + extra + itp_get_le16(p + 32);
        if (length > left || !itp_zip_wide(p + 46 + e->name_n, extra, e))
            return itp_zip_damaged(ctx, z, "its directory is cut");
        p += length;
        left -= length;
    }
    return INTERP_OK;
}

/* Where the data of an entry lies; only the lengths of name and extra field are taken from its
   local header, since sizes there may be missing. */
ITP_FN interp_status itp_zip_locate(interp_ctx *ctx, const itp_zip *z, const itp_zip_entry *e,
                                    size_t *at)
{
    if (e->header > z->directory || z->directory - e->header < 30 ||
        memcmp(z->p + e->header, "PK\3\4", 4))
        return itp_zip_damaged(ctx, z, "a member is not where its directory says");
    const unsigned char *p = z->p + e->header;
    const uint64_t start = e->header + 30 + itp_get_le16(p + 26) + itp_get_le16(p + 28);
    if (start > z->directory || e->packed > z->directory - start)
        return itp_zip_damaged(ctx, z, "a member is longer than the file");
    *at = (size_t)start;
    return INTERP_OK;
}

ITP_FN int itp_zip_by_place(const void *a, const void *b)
{
    const itp_zip_entry *x = (const itp_zip_entry *)a, *y = (const itp_zip_entry *)b;
    return x->header < y->header ? -1 : x->header > y->header;
}

ITP_FN int itp_zip_by_name(const void *a, const void *b)
{
    const itp_zip_entry *x = (const itp_zip_entry *)a, *y = (const itp_zip_entry *)b;
    const int order = memcmp(x->name, y->name, x->name_n < y->name_n ? x->name_n : y->name_n);
    return order ? order : x->name_n < y->name_n ? -1 : x->name_n > y->name_n;
}

/* Members that share bytes or names are how archives are made to mislead. */
ITP_FN interp_status itp_zip_check(interp_ctx *ctx, itp_zip *z)
{
    uint64_t end = 0;
    itp_sort(z->entries, (size_t)z->count, sizeof *z->entries, itp_zip_by_place);
    for (uint64_t i = 0; i < z->count; i++) {
        const itp_zip_entry *e = &z->entries[i];
        size_t at;
        if (e->header < end) return itp_zip_damaged(ctx, z, "two members overlap");
        ITP_TRY(itp_zip_locate(ctx, z, e, &at));
        end = at + e->packed;
    }
    itp_sort(z->entries, (size_t)z->count, sizeof *z->entries, itp_zip_by_name);
    for (uint64_t i = 1; i < z->count; i++)
        if (itp_zip_by_name(&z->entries[i - 1], &z->entries[i]) == 0)
            return itp_zip_damaged(ctx, z, "two members have one name");
    return INTERP_OK;
}

/* Opens an archive in memory; on success the caller frees z->entries. */
ITP_FN interp_status itp_zip_open(interp_ctx *ctx, itp_zip *z, const char *file, const void *bytes,
                                  size_t n)
{
    memset(z, 0, sizeof *z);
    z->file = file;
    z->p = (const unsigned char *)bytes;
    z->n = n;
    ITP_TRY(itp_zip_find(ctx, z));
    z->entries = (itp_zip_entry *)itp_calloc(ctx, (size_t)z->count, sizeof *z->entries);
    if (!z->entries) return INTERP_NO_MEMORY;
    interp_status status = itp_zip_list(ctx, z);
    if (!status) status = itp_zip_check(ctx, z);
    if (status) interp_free(ctx, z->entries);
    return status;
}

/* The bytes of a member: *data points into the archive when it is stored, else to a new block,
   which *block is set to as well. */
ITP_FN interp_status itp_zip_member(interp_ctx *ctx, const itp_zip *z, const itp_zip_entry *e,
                                    const void **data, size_t *n, char **block)
{
    size_t at;
    *block = NULL;
    ITP_TRY(itp_zip_locate(ctx, z, e, &at));
    if (e->flags & (1u | 1u << 6 | 1u << 13))
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: its members are encrypted", z->file);
    if (e->method == 8) {
        if ((size_t)e->size != e->size) return itp_zip_damaged(ctx, z, "a member is too large");
        ITP_TRY(itp_inflate(ctx, z->file, z->p + at, (size_t)e->packed, (size_t)e->size, e->crc,
                            block));
        *data = *block;
    } else if (e->method == 0) {
        if (e->size != e->packed || itp_crc32(z->p + at, (size_t)e->size) != e->crc)
            return itp_zip_damaged(ctx, z, "a member has the wrong size or checksum");
        *data = z->p + at;
    } else {
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "%s: compression method %u is not read (stored and deflated are)", z->file,
                        e->method);
    }
    *n = (size_t)e->size;
    return INTERP_OK;
}

/* ---- NPZ */

ITP_FN bool itp_npz_is(const itp_zip_entry *e, const char *key)
{
    const size_t n = strlen(key);
    if (e->name_n == n) return memcmp(e->name, key, n) == 0;
    return e->name_n == n + 4 && memcmp(e->name, key, n) == 0 &&
           memcmp(e->name + n, ".npy", 4) == 0;
}

ITP_FN interp_status itp_npz_find(interp_ctx *ctx, const itp_zip *z, const char *key,
                                  const itp_zip_entry **found)
{
    char names[200] = "";
    size_t at = 0;
    if (z->count == 0) return itp_fail(ctx, INTERP_FORMAT, "%s: the archive is empty", z->file);
    for (uint64_t i = 0; i < z->count; i++) {
        const itp_zip_entry *e = &z->entries[i];
        if (key && *key ? itp_npz_is(e, key) : z->count == 1) {
            *found = e;
            return INTERP_OK;
        }
        if (at + e->name_n + 3 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", at ? ", " : "",
                                   (int)e->name_n, e->name);
    }
    if (!key || !*key)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: it holds several arrays (%s); name one",
                        z->file, names);
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: there is no array \"%s\"; it holds %s", z->file,
                    key, names);
}

ITP_FN interp_status itp_npz_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   const char *key, interp_array *array)
{
    itp_zip z;
    const itp_zip_entry *e = NULL;
    const void *data = NULL;
    char *block = NULL;
    size_t size = 0;
    ITP_TRY(itp_zip_open(ctx, &z, name, bytes, n));
    interp_status status = itp_npz_find(ctx, &z, key, &e);
    if (!status) status = itp_zip_member(ctx, &z, e, &data, &size, &block);
    if (!status) status = itp_npy_parse(ctx, name, data, size, array);
    interp_free(ctx, block);
    interp_free(ctx, z.entries);
    return status;
}

INTERP_API interp_status interp_npz_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          const char *key, interp_array *array)
{
    return itp_npz_parse(ctx, "npz", bytes, n, key, array);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_npz_read(interp_ctx *ctx, const char *path, const char *key,
                                         interp_array *array)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_npz_parse(ctx, path, bytes, n, key, array);
    interp_free(ctx, bytes);
    return status;
}

ITP_FN void itp_buf_le(itp_buf *b, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) itp_buf_byte(b, (int)(v >> 8 * i & 255));
}

/* The fields that local header and directory have in common, from the version needed on. */
ITP_FN void itp_zip_put_fields(itp_buf *b, uint32_t crc, uint32_t size, size_t name_n)
{
    itp_buf_le(b, 20, 2);     /* version */
    itp_buf_le(b, 0x800, 2);  /* names are UTF-8 */
    itp_buf_le(b, 0, 2);      /* stored */
    itp_buf_le(b, 0, 2);      /* midnight */
    itp_buf_le(b, 0x0021, 2); /* of 1 January 1980: equal contents make equal files */
    itp_buf_le(b, crc, 4);
    itp_buf_le(b, size, 4);
    itp_buf_le(b, size, 4);
    itp_buf_le(b, (uint32_t)name_n + 4, 2);
    itp_buf_le(b, 0, 2); /* extra field */
}

/* Appends a member to `b` and its row of the directory to `directory`. */
ITP_FN interp_status itp_npz_put(itp_buf *b, itp_buf *directory, const char *path, const char *name,
                                 const interp_array *array)
{
    const size_t name_n = strlen(name), header = b->n;
    if (name_n == 0 || name_n > 65000)
        return itp_fail(b->ctx, INTERP_BAD_ARGUMENT, "%s: an array has no name, or too long a one",
                        path);
    itp_buf_str(b, "PK\3\4");
    const size_t fields = b->n;
    itp_zip_put_fields(b, 0, 0, name_n);
    itp_buf_str(b, name);
    itp_buf_str(b, ".npy");
    const size_t start = b->n;
    itp_npy_put(b, array);
    if (b->status) return b->status;
    if (b->n > 0xFFFFFFF0u)
        return itp_fail(b->ctx, INTERP_UNSUPPORTED,
                        "%s: archives of 4 GiB and more are not written; write several .npy files",
                        path);
    const size_t end = b->n;
    const uint32_t crc = itp_crc32(b->data + start, end - start);
    b->n = fields; /* once more over the same bytes, now that size and checksum are known */
    itp_zip_put_fields(b, crc, (uint32_t)(end - start), name_n);
    b->data[b->n] = name[0]; /* the buffer put a 0 byte there */
    b->n = end;
    itp_buf_str(directory, "PK\1\2");
    itp_buf_le(directory, 20, 2);
    itp_zip_put_fields(directory, crc, (uint32_t)(end - start), name_n);
    itp_buf_le(directory, 0, 4); /* comment, disk */
    itp_buf_le(directory, 0, 2); /* attributes: within */
    itp_buf_le(directory, 0, 4); /* and of the file */
    itp_buf_le(directory, (uint32_t)header, 4);
    itp_buf_str(directory, name);
    itp_buf_str(directory, ".npy");
    return directory->status;
}

INTERP_API interp_status interp_npz_write(interp_ctx *ctx, const char *path, int n,
                                          const char *const *names, const interp_array *arrays)
{
    itp_buf b = itp_buf_new(ctx), directory = itp_buf_new(ctx);
    interp_status status = INTERP_OK;
    if (n < 0 || n > 65534)
        status =
            itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: %d arrays; up to 65534 are possible", path, n);
    for (int i = 0; !status && i < n; i++) {
        for (int j = 0; !status && j < i; j++)
            if (strcmp(names[i], names[j]) == 0)
                status = itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: two arrays are called \"%s\"",
                                  path, names[i]);
        if (!status) status = itp_npz_put(&b, &directory, path, names[i], &arrays[i]);
    }
    if (!status) {
        const size_t at = b.n;
        if (directory.n) itp_buf_add(&b, directory.data, directory.n);
        itp_buf_str(&b, "PK\5\6");
        itp_buf_le(&b, 0, 4); /* disks */
        itp_buf_le(&b, (uint32_t)n, 2);
        itp_buf_le(&b, (uint32_t)n, 2);
        itp_buf_le(&b, (uint32_t)directory.n, 4);
        itp_buf_le(&b, (uint32_t)at, 4);
        itp_buf_le(&b, 0, 2); /* comment */
        status = itp_buf_write(&b, path);
    }
    itp_buf_free(&b);
    itp_buf_free(&directory);
    return status;
}

/* Arrays with their names; notes have no place there. */
ITP_FN interp_status itp_npz_write_all(interp_ctx *ctx, const char *path,
                                       const interp_named_arrays *all)
{
    const size_t n = (size_t)all->n;
    const char **names = (const char **)interp_alloc(ctx, itp_mul_size(n, sizeof *names));
    interp_array *arrays = (interp_array *)interp_alloc(ctx, itp_mul_size(n, sizeof *arrays));
    interp_status status = names && arrays ? INTERP_OK : INTERP_NO_MEMORY;
    for (int i = 0; !status && i < all->n; i++) {
        names[i] = all->items[i].name;
        arrays[i] = all->items[i].array;
    }
    if (!status) status = interp_npz_write(ctx, path, all->n, names, arrays);
    interp_free(ctx, names);
    interp_free(ctx, arrays);
    return status;
}

/* Every array of an open archive, in order of name. */
ITP_FN interp_status itp_npz_load_all(interp_ctx *ctx, const itp_zip *z, interp_named_arrays *out)
{
    size_t bytes = 0;
    for (uint64_t i = 0; i < z->count; i++) bytes += z->entries[i].name_n + 1;
    out->items = (interp_named_array *)itp_calloc(ctx, (size_t)z->count, sizeof *out->items);
    out->text = (char *)interp_alloc(ctx, bytes);
    if (!out->items || !out->text) return INTERP_NO_MEMORY;
    char *text = out->text;
    for (; out->n < (int)z->count; out->n++) {
        const itp_zip_entry *e = &z->entries[out->n];
        const void *data = NULL;
        char *block = NULL;
        size_t size = 0;
        out->items[out->n].name = text;
        memcpy(text, e->name, e->name_n);
        text[e->name_n] = 0;
        text += e->name_n + 1;
        char *end = text - 5; /* of ".npy" and the 0 */
        if (e->name_n > 4 && !strcmp(end, ".npy")) *end = 0;
        interp_status status = itp_zip_member(ctx, z, e, &data, &size, &block);
        if (!status) status = itp_npy_parse(ctx, z->file, data, size, &out->items[out->n].array);
        interp_free(ctx, block);
        ITP_TRY(status);
    }
    return INTERP_OK;
}

/* Reads every array of an archive; free with interp_named_arrays_free. */
ITP_FN interp_status itp_npz_read_all(interp_ctx *ctx, const char *path, interp_named_arrays *all)
{
    itp_zip z;
    interp_named_arrays out;
    char *bytes = NULL;
    size_t n = 0;
    memset(&out, 0, sizeof out);
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    interp_status status = itp_zip_open(ctx, &z, path, bytes, n);
    if (!status) {
        status = z.count < 65535
                     ? itp_npz_load_all(ctx, &z, &out)
                     : itp_fail(ctx, INTERP_UNSUPPORTED, "%s: it holds too many arrays", path);
        interp_free(ctx, z.entries);
    }
    if (status) interp_named_arrays_free(ctx, &out);
    else *all = out;
    interp_free(ctx, bytes);
    return status;
}

#endif

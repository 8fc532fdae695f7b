/* ---- data/safetensors.c: safetensors files --------------------------------------------------- */

#define ITP_ST_MAX_HEADER 100000000u /* limit of the format */
#define ITP_JSON_DEPTH    32

/* True when the bytes are UTF-8: no overlong forms, surrogates or points above U+10FFFF. */
ITP_FN bool itp_is_utf8(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    while (p < end) {
        const unsigned c = *p++;
        const int more = c < 0x80   ? 0
                         : c < 0xC2 ? -1
                         : c < 0xE0 ? 1
                         : c < 0xF0 ? 2
                         : c < 0xF5 ? 3
                                    : -1;
        if (more < 0 || end - p < more) return false;
        if ((c == 0xE0 && *p < 0xA0) || (c == 0xED && *p > 0x9F) || (c == 0xF0 && *p < 0x90) ||
            (c == 0xF4 && *p > 0x8F))
            return false;
        for (int i = 0; i < more; i++)
            if ((*p++ & 0xC0) != 0x80) return false;
    }
    return true;
}

/* ---- JSON, as much of it as the header has; strings go to `out`, which holds them all */

typedef struct itp_json {
    itp_scan t; /* known to be UTF-8 */
    char *out;
} itp_json;

ITP_FN bool itp_json_hex4(itp_scan *t, unsigned *out)
{
    if (t->end - t->at < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const char c = itp_ascii_lower(*t->at++);
        if (!itp_ascii_digit(c) && !(c >= 'a' && c <= 'f')) return false;
        *out = *out << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

/* What follows a backslash, written as UTF-8; never longer than the escape itself. */
ITP_FN bool itp_json_escape(itp_json *j)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (j->t.at == j->t.end) return false;
    const char c = *j->t.at++;
    const char *named = c ? strchr(names, c) : NULL;
    if (named) {
        *j->out++ = values[named - names];
        return true;
    }
    unsigned u, low;
    if (c != 'u' || !itp_json_hex4(&j->t, &u) || u == 0) return false; /* no 0 inside names */
    if (u >= 0xD800 && u < 0xE000) {
        if (u >= 0xDC00 || j->t.end - j->t.at < 2 || memcmp(j->t.at, "\\u", 2)) return false;
        j->t.at += 2;
        if (!itp_json_hex4(&j->t, &low) || low < 0xDC00 || low > 0xDFFF) return false;
        u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
    }
    const int more = u < 0x80 ? 0 : u < 0x800 ? 1 : u < 0x10000 ? 2 : 3;
    static const unsigned lead[4] = {0, 0xC0, 0xE0, 0xF0};
    *j->out++ = (char)(lead[more] | u >> 6 * more);
    for (int i = more - 1; i >= 0; i--) *j->out++ = (char)(0x80 | (u >> 6 * i & 63));
    return true;
}

/* *s is set to the string, ended with a 0 byte, within j->out. */
ITP_FN bool itp_json_string(itp_json *j, char **s)
{
    if (!itp_scan_take(&j->t, '"')) return false;
    *s = j->out;
    while (j->t.at < j->t.end && *j->t.at != '"') {
        if ((unsigned char)*j->t.at < 0x20) return false;
        if (*j->t.at == '\\') {
            j->t.at++;
            if (!itp_json_escape(j)) return false;
        } else {
            *j->out++ = *j->t.at++;
        }
    }
    if (j->t.at == j->t.end) return false;
    j->t.at++;
    *j->out++ = 0;
    return true;
}

/* Passes over any value whose numbers are whole. */
ITP_FN bool itp_json_skip(itp_json *j, int depth)
{
    char *s;
    uint64_t v;
    if (depth > ITP_JSON_DEPTH) return false;
    itp_scan_space(&j->t);
    if (j->t.at == j->t.end) return false;
    const char open = *j->t.at;
    if (open == '"') return itp_json_string(j, &s);
    if (open == '{' || open == '[') {
        const char close = open == '{' ? '}' : ']';
        j->t.at++;
        if (itp_scan_take(&j->t, close)) return true;
        do {
            if (open == '{' && !(itp_json_string(j, &s) && itp_scan_take(&j->t, ':'))) return false;
            if (!itp_json_skip(j, depth + 1)) return false;
        } while (itp_scan_take(&j->t, ','));
        return itp_scan_take(&j->t, close);
    }
    if (itp_scan_word(&j->t, "true") || itp_scan_word(&j->t, "false") ||
        itp_scan_word(&j->t, "null"))
        return true;
    if (open == '-') j->t.at++;
    return itp_scan_u64(&j->t, &v);
}

/* ---- the header */

typedef struct itp_st_entry {
    char *name;
    int bits; /* of one element, 0 when the type is not known */
    int rank;
    bool readable; /* `dtype` is its type */
    interp_dtype dtype;
    uint64_t dim[INTERP_MAX_RANK], begin, end;
} itp_st_entry;

typedef struct itp_st_note {
    char *key, *value;
} itp_st_note;

typedef struct itp_st {
    interp_ctx *ctx;
    const char *file;
    itp_json j;
    char *text; /* block that j.out walks through */
    itp_st_entry *entries;
    int n, capacity;
    itp_st_note *notes;
    int n_notes, notes_capacity;
} itp_st;

ITP_FN interp_status itp_st_damaged(const itp_st *s, const char *what)
{
    return itp_fail(s->ctx, INTERP_FORMAT, "%s: damaged safetensors file: %s", s->file, what);
}

ITP_FN void itp_st_type(const char *name, itp_st_entry *e)
{
    static const struct {
        const char *name;
        int bits;
    } others[] = {{"C64", 64},        {"F8_E5M2", 8},     {"F8_E4M3", 8},
                  {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8},
                  {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"F4", 4}};
    for (int d = 0; d < INTERP_DTYPE_COUNT; d++)
        if (strcmp(itp_dtype((interp_dtype)d)->safetensors, name) == 0) {
            e->dtype = (interp_dtype)d;
            e->bits = (int)itp_dtype(e->dtype)->size * 8;
            e->readable = true;
        }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(others[i].name, name) == 0) e->bits = others[i].bits;
}

ITP_FN bool itp_st_shape(itp_json *j, itp_st_entry *e)
{
    if (!itp_scan_take(&j->t, '[')) return false;
    e->rank = 0;
    if (itp_scan_take(&j->t, ']')) return true;
    do {
        uint64_t v;
        if (!itp_scan_u64(&j->t, &v)) return false;
        if (e->rank < INTERP_MAX_RANK) e->dim[e->rank] = v;
        e->rank++;
    } while (e->rank <= 1000 && itp_scan_take(&j->t, ','));
    return itp_scan_take(&j->t, ']');
}

/* {"dtype":..,"shape":[..],"data_offsets":[begin,end]} */
ITP_FN interp_status itp_st_entry_read(itp_st *s, itp_st_entry *e)
{
    itp_json *j = &s->j;
    unsigned seen = 0;
    char *key, *type;
    bool ok = itp_scan_take(&j->t, '{');
    while (ok) {
        unsigned bit = 0;
        char *const mark = j->out; /* keys and types need not stay */
        ok = itp_json_string(j, &key) && itp_scan_take(&j->t, ':');
        if (!ok) break;
        if (strcmp(key, "dtype") == 0) {
            bit = 1;
            ok = itp_json_string(j, &type);
            if (ok) itp_st_type(type, e);
        } else if (strcmp(key, "shape") == 0) {
            bit = 2;
            ok = itp_st_shape(j, e);
        } else if (strcmp(key, "data_offsets") == 0) {
            bit = 4;
            ok = itp_scan_take(&j->t, '[') && itp_scan_u64(&j->t, &e->begin) &&
                 itp_scan_take(&j->t, ',') && itp_scan_u64(&j->t, &e->end) &&
                 itp_scan_take(&j->t, ']');
        } else {
            ok = itp_json_skip(j, 0);
        }
        j->out = mark;
        ok = ok && !(seen & bit);
        seen |= bit;
        if (ok && !itp_scan_take(&j->t, ',')) break;
    }
    if (!ok || !itp_scan_take(&j->t, '}') || seen != 7)
        return itp_fail(s->ctx, INTERP_FORMAT, "%s: damaged safetensors file: entry \"%.100s\"",
                        s->file, e->name);
    return INTERP_OK;
}

ITP_FN interp_status itp_st_notes(itp_st *s)
{
    itp_json *j = &s->j;
    if (!itp_scan_take(&j->t, '{')) return itp_st_damaged(s, "__metadata__ is no object");
    if (itp_scan_take(&j->t, '}')) return INTERP_OK;
    do {
        ITP_TRY(itp_grow(s->ctx, &s->notes, s->n_notes, &s->notes_capacity, sizeof *s->notes));
        itp_st_note *note = &s->notes[s->n_notes++];
        if (!itp_json_string(j, &note->key) || !itp_scan_take(&j->t, ':') ||
            !itp_json_string(j, &note->value))
            return itp_st_damaged(s, "__metadata__ is not text to text");
    } while (itp_scan_take(&j->t, ','));
    return itp_scan_take(&j->t, '}') ? INTERP_OK : itp_st_damaged(s, "__metadata__ is not closed");
}

ITP_FN interp_status itp_st_header(itp_st *s)
{
    itp_json *j = &s->j;
    bool noted = false;
    if (j->t.at == j->t.end || *j->t.at != '{')
        return itp_st_damaged(s, "its header does not start with {");
    j->t.at++;
    if (!itp_scan_take(&j->t, '}')) {
        do {
            ITP_TRY(itp_grow(s->ctx, &s->entries, s->n, &s->capacity, sizeof *s->entries));
            itp_st_entry *e = &s->entries[s->n];
            memset(e, 0, sizeof *e);
            if (!itp_json_string(j, &e->name) || !itp_scan_take(&j->t, ':'))
                return itp_st_damaged(s, "its header is not readable");
            if (strcmp(e->name, "__metadata__")) {
                ITP_TRY(itp_st_entry_read(s, e));
                s->n++;
            } else {
                if (noted) return itp_st_damaged(s, "two entries have one name");
                noted = true;
                ITP_TRY(itp_st_notes(s));
            }
        } while (itp_scan_take(&j->t, ','));
        if (!itp_scan_take(&j->t, '}')) return itp_st_damaged(s, "its header is not closed");
    }
    while (j->t.at < j->t.end && *j->t.at == ' ') j->t.at++;
    return j->t.at == j->t.end ? INTERP_OK : itp_st_damaged(s, "something follows its header");
}

ITP_FN int itp_st_by_name(const void *a, const void *b)
{
    return strcmp(((const itp_st_entry *)a)->name, ((const itp_st_entry *)b)->name);
}

ITP_FN int itp_st_by_place(const void *a, const void *b)
{
    const itp_st_entry *x = (const itp_st_entry *)a, *y = (const itp_st_entry *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The bytes of an entry follow from its shape and must be those between its offsets. */
ITP_FN interp_status itp_st_check_entry(const itp_st *s, const itp_st_entry *e)
{
    if (!e->bits)
        return itp_fail(s->ctx, INTERP_UNSUPPORTED, "%s: \"%.100s\" has an unknown element type",
                        s->file, e->name);
    if (e->rank > INTERP_MAX_RANK)
        return itp_fail(s->ctx, INTERP_UNSUPPORTED,
                        "%s: \"%.100s\" has %d dimensions; up to %d are read", s->file, e->name,
                        e->rank, INTERP_MAX_RANK);
    uint64_t bits = (uint64_t)e->bits;
    bool fits = true, empty = false;
    for (int i = 0; i < e->rank; i++) empty |= e->dim[i] == 0;
    for (int i = 0; i < e->rank && !empty; i++) {
        fits = fits && bits <= UINT64_MAX / e->dim[i];
        if (fits) bits *= e->dim[i];
    }
    if (empty) bits = 0;
    if (!fits || bits % 8 || e->end < e->begin || bits / 8 != e->end - e->begin)
        return itp_fail(s->ctx, INTERP_FORMAT,
                        "%s: damaged safetensors file: shape and offsets of \"%.100s\" disagree",
                        s->file, e->name);
    return INTERP_OK;
}

/* Unique names, and data that covers the rest of the file without holes or overlaps. */
ITP_FN interp_status itp_st_check(itp_st *s, uint64_t data_bytes)
{
    itp_sort(s->entries, (size_t)s->n, sizeof *s->entries, itp_st_by_name);
    for (int i = 1; i < s->n; i++)
        if (itp_st_by_name(&s->entries[i - 1], &s->entries[i]) == 0)
            return itp_st_damaged(s, "two entries have one name");
    itp_sort(s->notes, (size_t)s->n_notes, sizeof *s->notes, itp_compare_names);
    for (int i = 1; i < s->n_notes; i++)
        if (strcmp(s->notes[i - 1].key, s->notes[i].key) == 0)
            return itp_st_damaged(s, "two notes have one name");
    itp_sort(s->entries, (size_t)s->n, sizeof *s->entries, itp_st_by_place);
    uint64_t at = 0;
    for (int i = 0; i < s->n; i++) {
        ITP_TRY(itp_st_check_entry(s, &s->entries[i]));
        if (s->entries[i].begin != at) return itp_st_damaged(s, "its data has holes or overlaps");
        at = s->entries[i].end;
    }
    if (at == data_bytes) return INTERP_OK;
    return itp_st_damaged(s, "its data does not end where the file ends");
}

ITP_FN interp_status itp_st_load(itp_st *s, const itp_st_entry *e, const unsigned char *data,
                                 interp_array *out)
{
    interp_shape shape = itp_shape_none();
    size_t bytes = 0;
    if (!e->readable)
        return itp_fail(s->ctx, INTERP_UNSUPPORTED,
                        "%s: elements of the type of \"%.100s\" are not read", s->file, e->name);
    ITP_TRY(itp_shape_from_file(s->ctx, s->file, e->rank, e->dim, itp_dtype(e->dtype)->size, &shape,
                                &bytes));
    return itp_array_from_bytes(s->ctx, e->dtype, &shape, data + e->begin, true, out);
}

/* Reads and checks the header; itp_st_close is due afterwards, whatever the result. */
ITP_FN interp_status itp_st_open(interp_ctx *ctx, itp_st *s, const char *file, const void *bytes,
                                 size_t n, const unsigned char **data)
{
    const unsigned char *p = (const unsigned char *)bytes;
    memset(s, 0, sizeof *s);
    s->ctx = ctx;
    s->file = file;
    const uint64_t header = n < 8 ? 0 : itp_get_le64(p);
    if (header < 2 || header > ITP_ST_MAX_HEADER || header > n - 8)
        return itp_st_damaged(s, "its header length does not fit the file");
    s->j.t.at = (const char *)p + 8;
    s->j.t.end = s->j.t.at + header;
    if (!itp_is_utf8(s->j.t.at, (size_t)header))
        return itp_st_damaged(s, "its header is not UTF-8");
    s->text = s->j.out = (char *)interp_alloc(ctx, (size_t)header);
    if (!s->text) return INTERP_NO_MEMORY;
    *data = p + 8 + header;
    ITP_TRY(itp_st_header(s));
    return itp_st_check(s, n - 8 - header);
}

ITP_FN void itp_st_close(itp_st *s)
{
    interp_free(s->ctx, s->text);
    interp_free(s->ctx, s->entries);
    interp_free(s->ctx, s->notes);
}

ITP_FN interp_status itp_st_load_all(itp_st *s, const unsigned char *data, interp_named_arrays *out)
{
    interp_ctx *ctx = s->ctx;
    const int notes = s->n_notes;
    out->items = (interp_named_array *)itp_calloc(ctx, (size_t)s->n, sizeof *out->items);
    out->keys = (char **)interp_alloc(ctx, (size_t)notes * sizeof(char *));
    out->values = (char **)interp_alloc(ctx, (size_t)notes * sizeof(char *));
    if (!out->items || !out->keys || !out->values) return INTERP_NO_MEMORY;
    for (int i = 0; i < s->n; i++) {
        out->n = i + 1;
        out->items[i].name = s->entries[i].name;
        ITP_TRY(itp_st_load(s, &s->entries[i], data, &out->items[i].array));
    }
    for (int i = 0; i < notes; i++) {
        out->keys[i] = s->notes[i].key;
        out->values[i] = s->notes[i].value;
    }
    out->n_metadata = notes;
    return INTERP_OK;
}

ITP_FN interp_status itp_safetensors_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                           size_t n, interp_named_arrays *arrays)
{
    itp_st s;
    const unsigned char *data = NULL;
    interp_named_arrays out;
    memset(&out, 0, sizeof out);
    interp_status status = itp_st_open(ctx, &s, name, bytes, n, &data);
    if (!status) status = itp_st_load_all(&s, data, &out);
    if (status) {
        interp_named_arrays_free(ctx, &out);
    } else {
        out.text = s.text;
        s.text = NULL;
        *arrays = out;
    }
    itp_st_close(&s);
    return status;
}

INTERP_API interp_status interp_safetensors_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                  interp_named_arrays *arrays)
{
    return itp_safetensors_parse(ctx, "safetensors", bytes, n, arrays);
}

INTERP_API void interp_named_arrays_free(interp_ctx *ctx, interp_named_arrays *arrays)
{
    for (int i = 0; i < arrays->n; i++) interp_array_free(ctx, &arrays->items[i].array);
    interp_free(ctx, arrays->items);
    interp_free(ctx, arrays->keys);
    interp_free(ctx, arrays->values);
    interp_free(ctx, arrays->text);
    memset(arrays, 0, sizeof *arrays);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_safetensors_read(interp_ctx *ctx, const char *path,
                                                 interp_named_arrays *arrays)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_safetensors_parse(ctx, path, bytes, n, arrays);
    interp_free(ctx, bytes);
    return status;
}

/* One array of a file, the others left alone. */
ITP_FN interp_status itp_safetensors_read_one(interp_ctx *ctx, const char *path, const char *key,
                                              interp_array *array)
{
    itp_st s;
    const unsigned char *data = NULL;
    char *bytes = NULL;
    size_t n = 0;
    interp_array a = itp_array_none();
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    interp_status status = itp_st_open(ctx, &s, path, bytes, n, &data);
    const itp_st_entry *found = NULL;
    for (int i = 0; !status && i < s.n; i++)
        if (*key ? !strcmp(s.entries[i].name, key) : s.n == 1) found = &s.entries[i];
    if (!status && !found)
        status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                          "%s: there is no array \"%.100s\"; it holds %d, the first \"%.100s\"",
                          path, key, s.n, s.n ? s.entries[0].name : "");
    if (!status) status = itp_st_load(&s, found, data, &a);
    if (!status) *array = a;
    itp_st_close(&s);
    interp_free(ctx, bytes);
    return status;
}

ITP_FN void itp_json_put(itp_buf *b, const char *text)
{
    itp_buf_byte(b, '"');
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') itp_buf_byte(b, '\\');
        if (c < 0x20) itp_buf_printf(b, "\\u%04x", (unsigned)c);
        else itp_buf_byte(b, c);
    }
    itp_buf_byte(b, '"');
}

/* Larger elements first, so that all stay aligned; then by name. */
ITP_FN int itp_st_write_order(const void *a, const void *b)
{
    const interp_named_array *x, *y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    const size_t p = interp_dtype_size(x->array.dtype), q = interp_dtype_size(y->array.dtype);
    return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

ITP_FN interp_status itp_st_check_names(interp_ctx *ctx, const char *path,
                                        const interp_named_arrays *arrays)
{
    const char **names =
        (const char **)interp_alloc(ctx, itp_mul_size((size_t)arrays->n, sizeof *names));
    if (!names) return INTERP_NO_MEMORY;
    interp_status status = INTERP_OK;
    for (int i = 0; i < arrays->n; i++) {
        names[i] = arrays->items[i].name;
        if (!itp_is_utf8(names[i], strlen(names[i])) || !strcmp(names[i], "__metadata__"))
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                              "%s: array %d has a name that is reserved or not UTF-8", path, i);
    }
    itp_sort(names, (size_t)arrays->n, sizeof *names, itp_compare_names);
    for (int i = 1; i < arrays->n; i++)
        if (!status && strcmp(names[i - 1], names[i]) == 0)
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: two arrays are called \"%.100s\"",
                              path, names[i]);
    for (int i = 0; i < arrays->n_metadata; i++)
        if (!status && (!itp_is_utf8(arrays->keys[i], strlen(arrays->keys[i])) ||
                        !itp_is_utf8(arrays->values[i], strlen(arrays->values[i]))))
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: note %d is not UTF-8", path, i);
    interp_free(ctx, names);
    return status;
}

ITP_FN void itp_st_put_header(itp_buf *b, const interp_named_arrays *arrays,
                              const interp_named_array *const *order)
{
    uint64_t at = 0;
    itp_buf_byte(b, '{');
    if (arrays->n_metadata) itp_buf_str(b, "\"__metadata__\":{");
    for (int i = 0; i < arrays->n_metadata; i++) {
        if (i) itp_buf_byte(b, ',');
        itp_json_put(b, arrays->keys[i]);
        itp_buf_byte(b, ':');
        itp_json_put(b, arrays->values[i]);
    }
    if (arrays->n_metadata) itp_buf_str(b, arrays->n ? "}," : "}");
    for (int i = 0; i < arrays->n; i++) {
        const interp_array *a = &order[i]->array;
        if (i) itp_buf_byte(b, ',');
        itp_json_put(b, order[i]->name);
        itp_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", itp_dtype(a->dtype)->safetensors);
        for (int k = 0; k < a->shape.rank; k++)
            itp_buf_printf(b, k ? ",%d" : "%d", a->shape.dim[k]);
        const uint64_t end = at + interp_shape_size(&a->shape) * itp_dtype(a->dtype)->size;
        itp_buf_printf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                       (unsigned long long)end);
        at = end;
    }
    itp_buf_byte(b, '}');
    while (!b->status && b->n % 8) itp_buf_byte(b, ' ');
}

INTERP_API interp_status interp_safetensors_write(interp_ctx *ctx, const char *path,
                                                  const interp_named_arrays *arrays)
{
    ITP_TRY(itp_st_check_names(ctx, path, arrays));
    const interp_named_array **order = (const interp_named_array **)interp_alloc(
        ctx, itp_mul_size((size_t)arrays->n, sizeof *order));
    if (!order) return INTERP_NO_MEMORY;
    for (int i = 0; i < arrays->n; i++) order[i] = &arrays->items[i];
    itp_sort(order, (size_t)arrays->n, sizeof *order, itp_st_write_order);
    itp_buf b = itp_buf_new(ctx);
    itp_buf_add(&b, "\0\0\0\0\0\0\0\0", 8);
    itp_st_put_header(&b, arrays, order);
    const uint64_t header = b.n - 8;
    for (int i = 0; !b.status && i < 8; i++) b.data[i] = (char)(header >> 8 * i & 255);
    for (int i = 0; i < arrays->n; i++) itp_array_put(&b, &order[i]->array, order[i]->array.dtype);
    const interp_status status = itp_buf_write(&b, path);
    interp_free(ctx, order);
    return status;
}

#endif

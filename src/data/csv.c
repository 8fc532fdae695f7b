/* ---- data/csv.c: CSV tables ------------------------------------------------------------------ */

ITP_FN bool itp_ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits m and a power of ten as a double. Both operands of the fast path are exact, so its one
   rounding is right; else strtod gets plain digits, which no locale changes. */
ITP_FN double itp_decimal(uint64_t m, bool more, long exponent)
{
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (!more && m <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22)
        return exponent < 0 ? (double)m / power[-exponent] : (double)m * power[exponent];
#endif
    char text[64];
    if (m == 0) return 0;
    snprintf(text, sizeof text, more ? "%llu1e%ld" : "%llue%ld", (unsigned long long)m,
             exponent - more);
    return strtod(text, NULL);
}

/* A number with a point in any locale, or nan, inf, infinity; white space around is allowed.
   Correctly rounded up to 19 digits. */
ITP_FN bool itp_number_parse(const char *s, size_t n, double *out)
{
    const char *end = s + n;
    while (s < end && (*s == ' ' || *s == '\t')) s++;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t')) end--;
    const bool negative = s < end && *s == '-';
    if (s < end && (*s == '-' || *s == '+')) s++;
    if (s < end && !itp_ascii_digit(*s) && *s != '.') {
        char word[9] = "";
        for (int i = 0; i < 8 && s + i < end; i++) word[i] = itp_ascii_lower(s[i]);
        const bool inf = end - s <= 8 && (!strcmp(word, "inf") || !strcmp(word, "infinity"));
        if (!inf && (end - s > 8 || strcmp(word, "nan"))) return false;
        *out = inf ? (negative ? -HUGE_VAL : HUGE_VAL) : (double)NAN;
        return true;
    }
    uint64_t m = 0;
    bool more = false, digits = false;
    long exponent = 0;
    for (bool point = false; s < end; s++) {
        if (*s == '.' && !point) {
            point = true;
            continue;
        }
        if (!itp_ascii_digit(*s)) break;
        digits = true;
        if (m < UINT64_MAX / 10 - 1) {
            m = m * 10 + (unsigned)(*s - '0');
            if (point) exponent--;
        } else { /* beyond 19 digits all that counts is whether there is anything */
            if (*s != '0') more = true;
            if (!point) exponent++;
        }
    }
    if (!digits) return false;
    if (s < end && (*s == 'e' || *s == 'E')) {
        s++;
        const bool minus = s < end && *s == '-';
        if (s < end && (*s == '-' || *s == '+')) s++;
        if (s == end) return false;
        long e = 0;
        for (; s < end && itp_ascii_digit(*s); s++)
            if (e < 100000000) e = e * 10 + (*s - '0');
        exponent += minus ? -e : e;
    }
    if (s != end) return false;
    const double v = itp_decimal(m, more, exponent);
    *out = negative ? -v : v;
    return true;
}

/* ---- cells */

typedef struct itp_csv {
    interp_ctx *ctx;
    const char *name;
    const char *at, *end;
    char delimiter;
    size_t line; /* number of the line being read, from 1 */
} itp_csv;

typedef struct itp_cell {
    const char *text; /* as it stands in the file: quotes inside are doubled when `quoted` */
    size_t n;
    bool quoted, last; /* last: of its row */
} itp_cell;

/* Passes over one line end (LF, CR, CRLF) when there is one. */
ITP_FN bool itp_csv_break(itp_csv *c)
{
    if (c->at == c->end || (*c->at != '\n' && *c->at != '\r')) return false;
    if (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n') c->at++;
    c->at++;
    c->line++;
    return true;
}

ITP_FN bool itp_csv_blank(const itp_csv *c, char x)
{
    return x == ' ' || (x == '\t' && c->delimiter != '\t');
}

/* Moves to the next row that is not blank; false at the end. */
ITP_FN bool itp_csv_row(itp_csv *c)
{
    for (;;) {
        const char *p = c->at;
        while (p < c->end && itp_csv_blank(c, *p)) p++;
        if (p == c->end) return false;
        if (*p != '\n' && *p != '\r') return true;
        c->at = p;
        itp_csv_break(c);
    }
}

ITP_FN interp_status itp_csv_zero(const itp_csv *c)
{
    return itp_fail(c->ctx, INTERP_FORMAT, "%s: line %zu: a 0 byte; this is no text in UTF-8",
                    c->name, c->line);
}

/* Text within quotes; the opening quote is at c->at. */
ITP_FN interp_status itp_csv_quoted(itp_csv *c, itp_cell *cell)
{
    const size_t line = c->line;
    cell->quoted = true;
    cell->text = ++c->at;
    for (;; c->at++) {
        if (c->at == c->end)
            return itp_fail(c->ctx, INTERP_FORMAT, "%s: line %zu: a quote is never closed", c->name,
                            line);
        if (*c->at == '"') {
            if (c->at + 1 == c->end || c->at[1] != '"') break;
            c->at++;
        } else if (*c->at == 0) {
            return itp_csv_zero(c);
        } else if (*c->at == '\n' ||
                   (*c->at == '\r' && !(c->at + 1 < c->end && c->at[1] == '\n'))) {
            c->line++;
        }
    }
    cell->n = (size_t)(c->at++ - cell->text);
    while (c->at < c->end && itp_csv_blank(c, *c->at)) c->at++;
    if (c->at < c->end && *c->at != c->delimiter && *c->at != '\n' && *c->at != '\r')
        return itp_fail(c->ctx, INTERP_FORMAT,
                        "%s: line %zu: text follows a closing quote; double quotes inside text",
                        c->name, c->line);
    return INTERP_OK;
}

ITP_FN interp_status itp_csv_cell(itp_csv *c, itp_cell *cell)
{
    cell->quoted = false;
    while (c->at < c->end && itp_csv_blank(c, *c->at)) c->at++;
    if (c->at < c->end && *c->at == '"') {
        ITP_TRY(itp_csv_quoted(c, cell));
    } else {
        cell->text = c->at;
        while (c->at < c->end && *c->at != c->delimiter && *c->at != '\n' && *c->at != '\r') {
            if (*c->at == 0) return itp_csv_zero(c);
            c->at++;
        }
        const char *end = c->at;
        while (end > cell->text && itp_csv_blank(c, end[-1])) end--;
        cell->n = (size_t)(end - cell->text);
    }
    cell->last = !(c->at < c->end && *c->at == c->delimiter);
    if (cell->last) itp_csv_break(c);
    else c->at++;
    return INTERP_OK;
}

/* Copies the text of a cell, quotes resolved, and ends it with a 0 byte; returns what follows. */
ITP_FN char *itp_cell_copy(const itp_cell *cell, char *out)
{
    for (size_t i = 0; i < cell->n; i++) {
        if (cell->quoted && cell->text[i] == '"') i++;
        *out++ = cell->text[i];
    }
    *out++ = 0;
    return out;
}

/* ---- columns: numbers or text */

typedef struct itp_csv_column {
    size_t numbers, texts; /* cells of each kind, the first row left out */
    size_t bytes;          /* of all its cells, first row left out, with a 0 byte each */
    int first;             /* kind of the cell in the first row: 0 empty, 1 number, 2 text */
    size_t first_bytes;
    bool text;
} itp_csv_column;

typedef struct itp_csv_text {
    const char *text;
    int column, row;
} itp_csv_text;

/* 0 empty, 1 number, 2 text. */
ITP_FN int itp_cell_kind(const itp_cell *cell, double *value)
{
    *value = (double)NAN;
    if (cell->n == 0) return 0;
    return itp_number_parse(cell->text, cell->n, value) ? 1 : 2;
}

/* The most frequent of the three in the first line, outside quotes. */
ITP_FN char itp_csv_delimiter(const itp_csv *c)
{
    static const char candidates[3] = {',', ';', '\t'};
    size_t count[3] = {0, 0, 0};
    bool quoted = false;
    for (const char *p = c->at; p < c->end && (quoted || (*p != '\n' && *p != '\r')); p++) {
        if (*p == '"') quoted = !quoted;
        for (int i = 0; i < 3; i++) count[i] += !quoted && *p == candidates[i];
    }
    int best = 0;
    for (int i = 1; i < 3; i++)
        if (count[i] > count[best]) best = i;
    return candidates[best];
}

/* First pass over the file: the kind of every column and the number of rows. */
ITP_FN interp_status itp_csv_survey(itp_csv c, itp_csv_column *columns, int n_columns,
                                    size_t *n_rows)
{
    size_t rows = 0;
    for (; itp_csv_row(&c); rows++) {
        const size_t line = c.line;
        itp_cell cell;
        cell.last = false;
        for (int j = 0; !cell.last; j++) {
            ITP_TRY(itp_csv_cell(&c, &cell));
            if (j >= n_columns || (cell.last && j + 1 < n_columns))
                return itp_fail(c.ctx, INTERP_FORMAT,
                                "%s: line %zu has %s cells than the %d of the first line", c.name,
                                line, j >= n_columns ? "more" : "fewer", n_columns);
            double value;
            const int kind = itp_cell_kind(&cell, &value);
            itp_csv_column *column = &columns[j];
            if (rows == 0) {
                column->first = kind;
                column->first_bytes = cell.n + 1;
            } else {
                column->numbers += kind == 1;
                column->texts += kind == 2;
                column->bytes += cell.n + 1;
            }
        }
        if (rows >= INT_MAX)
            return itp_fail(c.ctx, INTERP_UNSUPPORTED, "%s: it has more than %d rows", c.name,
                            INT_MAX);
    }
    *n_rows = rows;
    return INTERP_OK;
}

/* A header has no number in it, or a word above a column of numbers. */
ITP_FN bool itp_csv_has_header(const itp_csv_column *columns, int n)
{
    bool any_number = false, any_text = false;
    for (int j = 0; j < n; j++) {
        any_number |= columns[j].first == 1;
        any_text |= columns[j].first == 2;
        if (columns[j].first == 2 && columns[j].numbers && !columns[j].texts) return true;
    }
    return any_text && !any_number;
}

ITP_FN int itp_csv_order(const void *a, const void *b)
{
    const itp_csv_text *x = (const itp_csv_text *)a, *y = (const itp_csv_text *)b;
    if (x->column != y->column) return x->column < y->column ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* Sorts the cells of text columns and gives equal ones an id. */
ITP_FN interp_status itp_csv_categories(interp_ctx *ctx, itp_csv_text *texts, size_t n,
                                        interp_table *t)
{
    size_t distinct = 0, bytes = 0;
    itp_sort(texts, n, sizeof *texts, itp_csv_order);
    for (size_t i = 0; i < n; i++) {
        if (i && itp_csv_order(&texts[i - 1], &texts[i]) == 0) continue;
        distinct++;
        bytes += strlen(texts[i].text) + 1;
    }
    const size_t columns = (size_t)t->n_columns;
    t->categories = (char ***)interp_alloc(
        ctx, itp_add_size(itp_mul_size(columns + distinct, sizeof(char **)), bytes));
    if (!t->categories) return INTERP_NO_MEMORY;
    memset(t->categories, 0, columns * sizeof(char **));
    char **name = (char **)(void *)(t->categories + columns);
    char *text = (char *)(name + distinct);
    for (size_t i = 0; i < n; i++) {
        const int j = texts[i].column;
        if (i == 0 || itp_csv_order(&texts[i - 1], &texts[i])) {
            const size_t length = strlen(texts[i].text) + 1;
            memcpy(text, texts[i].text, length);
            if (t->n_categories[j]++ == 0) t->categories[j] = name;
            *name++ = text;
            text += length;
        }
        t->cells[(size_t)texts[i].row * columns + (size_t)j] = t->n_categories[j] - 1;
    }
    return INTERP_OK;
}

/* Second pass: numbers to cells, text set aside and then turned into ids. `c` is behind the
   header. */
ITP_FN interp_status itp_csv_fill(itp_csv c, const itp_csv_column *columns, interp_table *t)
{
    size_t n = 0, bytes = 0;
    for (int j = 0; j < t->n_columns; j++)
        if (columns[j].text) {
            n += (size_t)t->n_rows;
            bytes += columns[j].bytes + columns[j].first_bytes;
        }
    itp_csv_text *texts =
        (itp_csv_text *)interp_alloc(c.ctx, itp_add_size(itp_mul_size(n, sizeof *texts), bytes));
    if (!texts) return INTERP_NO_MEMORY;
    char *text = (char *)(texts + n);
    interp_status status = INTERP_OK;
    n = 0;
    for (int row = 0; !status && itp_csv_row(&c); row++) {
        itp_cell cell;
        cell.last = false;
        for (int j = 0; !status && !cell.last; j++) {
            double value;
            status = itp_csv_cell(&c, &cell);
            if (status) break;
            const int kind = itp_cell_kind(&cell, &value);
            t->cells[(size_t)row * (size_t)t->n_columns + (size_t)j] = value;
            if (!columns[j].text || kind == 0) continue;
            texts[n].text = text;
            texts[n].column = j;
            texts[n].row = row;
            n++;
            text = itp_cell_copy(&cell, text);
        }
    }
    if (!status) status = itp_csv_categories(c.ctx, texts, n, t);
    interp_free(c.ctx, texts);
    return status;
}

/* Reads the first row as names, into one block, and leaves `c` behind it. */
ITP_FN interp_status itp_csv_names(itp_csv *c, const itp_csv_column *columns, interp_table *t)
{
    size_t bytes = (size_t)t->n_columns * sizeof(char *);
    for (int j = 0; j < t->n_columns; j++) bytes += columns[j].first_bytes;
    t->column_names = (char **)interp_alloc(c->ctx, bytes);
    if (!t->column_names) return INTERP_NO_MEMORY;
    char *text = (char *)(t->column_names + t->n_columns);
    itp_csv_row(c);
    for (int j = 0; j < t->n_columns; j++) {
        itp_cell cell;
        ITP_TRY(itp_csv_cell(c, &cell));
        t->column_names[j] = text;
        text = itp_cell_copy(&cell, text);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_csv_build(itp_csv c, itp_csv_column *columns, int text_column,
                                   interp_table *t)
{
    size_t n_rows = 0;
    ITP_TRY(itp_csv_survey(c, columns, t->n_columns, &n_rows));
    const bool header = itp_csv_has_header(columns, t->n_columns);
    t->n_rows = (int)n_rows - header;
    if (t->n_rows == 0)
        return itp_fail(c.ctx, INTERP_FORMAT, "%s: there is a header but no row of data", c.name);
    for (int j = 0; j < t->n_columns; j++)
        columns[j].text =
            columns[j].texts > 0 || (!header && columns[j].first == 2) || j == text_column;
    const size_t n = itp_mul_size((size_t)t->n_rows, (size_t)t->n_columns);
    t->cells = (double *)interp_alloc(c.ctx, itp_mul_size(n, sizeof *t->cells));
    t->n_categories = (int *)itp_calloc(c.ctx, (size_t)t->n_columns, sizeof *t->n_categories);
    if (!t->cells || !t->n_categories) return INTERP_NO_MEMORY;
    if (header) ITP_TRY(itp_csv_names(&c, columns, t));
    return itp_csv_fill(c, columns, t);
}

/* text_column: one to read as text whatever is in it (ids with leading zeros), -1 for none. */
ITP_FN interp_status itp_csv_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   int text_column, interp_table *table)
{
    itp_csv c;
    c.ctx = ctx;
    c.name = name;
    c.at = (const char *)bytes;
    c.end = c.at + n;
    c.line = 1;
    c.delimiter = ',';
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) c.at += 3;
    if (!itp_csv_row(&c)) return itp_fail(ctx, INTERP_FORMAT, "%s: the table is empty", name);
    c.delimiter = itp_csv_delimiter(&c);
    interp_table t;
    memset(&t, 0, sizeof t);
    itp_csv first = c;
    itp_cell cell;
    do {
        ITP_TRY(itp_csv_cell(&first, &cell));
        t.n_columns++;
    } while (!cell.last && t.n_columns < INT_MAX);
    itp_csv_column *columns =
        (itp_csv_column *)itp_calloc(ctx, (size_t)t.n_columns, sizeof *columns);
    if (!columns) return INTERP_NO_MEMORY;
    const interp_status status = itp_csv_build(c, columns, text_column, &t);
    interp_free(ctx, columns);
    if (status) interp_table_free(ctx, &t);
    else *table = t;
    return status;
}

INTERP_API interp_status interp_csv_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_table *table)
{
    return itp_csv_parse(ctx, "csv", bytes, n, -1, table);
}

INTERP_API void interp_table_free(interp_ctx *ctx, interp_table *table)
{
    interp_free(ctx, table->cells);
    interp_free(ctx, table->column_names);
    interp_free(ctx, table->n_categories);
    interp_free(ctx, table->categories);
    memset(table, 0, sizeof *table);
}

INTERP_API int interp_table_column(const interp_table *table, const char *name)
{
    for (int exact = 1; exact >= 0 && table->column_names; exact--)
        for (int j = 0; j < table->n_columns; j++)
            if (exact ? !strcmp(table->column_names[j], name)
                      : itp_same_word(table->column_names[j], name))
                return j;
    const bool negative = name[0] == '-';
    itp_scan t;
    uint64_t v;
    t.at = name + negative;
    t.end = name + strlen(name);
    if (!itp_scan_u64(&t, &v) || t.at != t.end || v > (uint64_t)table->n_columns) return -1;
    const int j = negative ? table->n_columns - (int)v : (int)v;
    return j < table->n_columns ? j : -1;
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_csv_read(interp_ctx *ctx, const char *path, interp_table *table)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_csv_parse(ctx, path, bytes, n, -1, table);
    interp_free(ctx, bytes);
    return status;
}

#endif

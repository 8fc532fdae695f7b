/* ---- base/pattern.c: regular expressions --------------------------------------------------------- */

/* A pattern becomes a small program whose states are followed all at once (Thompson 1968): the time
   grows with pattern times text, whatever the pattern. Jumps count from where they stand. */
enum { ITP_PATTERN_MOST = 400, ITP_PATTERN_DEPTH = 50 };

typedef enum itp_pattern_kind {
    ITP_PATTERN_ONE, /* x: where the character, class or [set] stands in the pattern */
    ITP_PATTERN_BEGIN,
    ITP_PATTERN_END,
    ITP_PATTERN_FORK, /* to x and to y */
    ITP_PATTERN_DONE
} itp_pattern_kind;

typedef struct itp_pattern_op {
    itp_pattern_kind kind;
    int x, y;
} itp_pattern_op;

typedef struct itp_pattern {
    const char *text, *at;
    int n, depth;
    const char *wrong; /* what is; NULL: nothing */
    itp_pattern_op op[ITP_PATTERN_MOST];
} itp_pattern;

/* States at one place of the text. */
typedef struct itp_pattern_states {
    int n;
    int16_t at[ITP_PATTERN_MOST];
    bool in[ITP_PATTERN_MOST];
} itp_pattern_states;

/* Makes room for an operation in front of those from `at` on, whose jumps all stay among them. */
ITP_FN void itp_pattern_put(itp_pattern *p, int at, itp_pattern_kind kind, int x, int y)
{
    if (p->n == ITP_PATTERN_MOST) {
        p->wrong = "it is too long";
        return;
    }
    memmove(p->op + at + 1, p->op + at, (size_t)(p->n - at) * sizeof *p->op);
    p->op[at].kind = kind, p->op[at].x = x, p->op[at].y = y;
    p->n++;
}

ITP_FN void itp_pattern_choice(itp_pattern *p);

/* The end of the set that begins at s, behind its bracket; NULL when it has none. */
ITP_FN const char *itp_pattern_set_end(const char *s)
{
    s += s[1] == '^' ? 2 : 1;
    for (bool first = true; *s && (first || *s != ']'); s++, first = false)
        if (*s == '\\' && s[1]) s++;
    return *s ? s + 1 : NULL;
}

ITP_FN void itp_pattern_atom(itp_pattern *p)
{
    const char *s = p->at;
    if (*s == '(') {
        p->at++;
        if (++p->depth > ITP_PATTERN_DEPTH) p->wrong = "its brackets are too deep";
        else itp_pattern_choice(p);
        p->depth--;
        if (*p->at == ')') p->at++;
        else if (!p->wrong) p->wrong = "a ) is missing";
        return;
    }
    if (*s == '^' || *s == '$') {
        itp_pattern_put(p, p->n, *s == '^' ? ITP_PATTERN_BEGIN : ITP_PATTERN_END, 0, 0);
        p->at++;
        return;
    }
    if (strchr("*+?", *s)) p->wrong = "there is nothing to repeat";
    if (*s == '\\' && !s[1]) p->wrong = "it ends with a backslash";
    const char *end = *s == '[' ? itp_pattern_set_end(s) : s + (*s == '\\' ? 2 : 1);
    if (!end) p->wrong = "a ] is missing";
    if (p->wrong) return;
    itp_pattern_put(p, p->n, ITP_PATTERN_ONE, (int)(s - p->text), 0);
    p->at = end;
}

/* Atoms, each as often as is said behind it, up to | or ). */
ITP_FN void itp_pattern_row(itp_pattern *p)
{
    while (*p->at && *p->at != '|' && *p->at != ')' && !p->wrong) {
        const int from = p->n;
        itp_pattern_atom(p);
        for (; *p->at && strchr("*+?", *p->at) && !p->wrong; p->at++) {
            const int n = p->n - from;
            if (*p->at == '+') itp_pattern_put(p, p->n, ITP_PATTERN_FORK, -n, 1);
            else itp_pattern_put(p, from, ITP_PATTERN_FORK, 1, n + 1 + (*p->at == '*'));
            if (*p->at == '*') itp_pattern_put(p, p->n, ITP_PATTERN_FORK, -n - 1, -n - 1);
        }
    }
}

ITP_FN void itp_pattern_choice(itp_pattern *p)
{
    const int from = p->n;
    itp_pattern_row(p);
    while (*p->at == '|' && !p->wrong) {
        p->at++;
        itp_pattern_put(p, from, ITP_PATTERN_FORK, 1, p->n - from + 2);
        const int over = p->n;
        itp_pattern_put(p, over, ITP_PATTERN_FORK, 1, 1);
        itp_pattern_row(p);
        if (!p->wrong) p->op[over].x = p->op[over].y = p->n - over;
    }
}

/* Whether a character is of the class \d, \w or \s, or is the one that is meant. */
ITP_FN bool itp_pattern_is(char c, char name)
{
    const bool digit = c >= '0' && c <= '9';
    if (name == 'd') return digit;
    if (name == 's') return c == ' ' || (c >= '\t' && c <= '\r');
    if (name == 'w') return digit || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return c == name;
}

ITP_FN bool itp_pattern_takes(const char *s, char c)
{
    if (*s == '\\') return itp_pattern_is(c, s[1]);
    if (*s != '[') return *s == '.' || *s == c;
    const char *end = itp_pattern_set_end(s) - 1;
    const bool other = s[1] == '^';
    bool in = false;
    for (s += other ? 2 : 1; s < end; s++) {
        if (*s == '\\' && s + 1 < end) in |= itp_pattern_is(c, *++s);
        else if (s[1] == '-' && s + 2 < end) in |= c >= *s && c <= s[2], s += 2;
        else in |= *s == c;
    }
    return in != other;
}

/* A state, and those it leads to without a character. */
ITP_FN void itp_pattern_enter(const itp_pattern *p, itp_pattern_states *s, int at, bool begin,
                              bool end)
{
    if (s->in[at]) return;
    s->in[at] = true, s->at[s->n++] = (int16_t)at;
    const itp_pattern_op *o = &p->op[at];
    if (o->kind == ITP_PATTERN_FORK) {
        itp_pattern_enter(p, s, at + o->x, begin, end);
        itp_pattern_enter(p, s, at + o->y, begin, end);
    } else if ((o->kind == ITP_PATTERN_BEGIN && begin) || (o->kind == ITP_PATTERN_END && end)) {
        itp_pattern_enter(p, s, at + 1, begin, end);
    }
}

/* The length of the longest match that begins at `from`; -1 for none. */
ITP_FN int64_t itp_pattern_run(const itp_pattern *p, const char *text, size_t from)
{
    itp_pattern_states s[2];
    int64_t longest = -1;
    memset(s, 0, sizeof s);
    itp_pattern_enter(p, &s[0], 0, from == 0, !text[from]);
    for (size_t at = from, now = 0; s[now].n; at++, now = 1 - now) {
        itp_pattern_states *next = &s[1 - now];
        memset(next, 0, sizeof *next);
        for (int i = 0; i < s[now].n; i++) {
            const int k = s[now].at[i];
            if (p->op[k].kind == ITP_PATTERN_DONE) longest = (int64_t)(at - from);
            if (p->op[k].kind == ITP_PATTERN_ONE && text[at] &&
                itp_pattern_takes(p->text + p->op[k].x, text[at]))
                itp_pattern_enter(p, next, k + 1, false, !text[at + 1]);
        }
    }
    return longest;
}

INTERP_API interp_status interp_pattern_find(interp_ctx *ctx, const char *pattern, const char *text,
                                             bool *found, size_t *from, size_t *n)
{
    itp_pattern p;
    memset(&p, 0, sizeof p);
    p.text = p.at = pattern;
    itp_pattern_choice(&p);
    if (*p.at == ')' && !p.wrong) p.wrong = "a ( is missing";
    itp_pattern_put(&p, p.n, ITP_PATTERN_DONE, 0, 0);
    if (p.wrong)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "pattern \"%.200s\": %s", pattern, p.wrong);
    *found = false;
    for (size_t at = 0;; at++) {
        const int64_t longest = itp_pattern_run(&p, text, at);
        if (longest >= 0) {
            *found = true, *from = at, *n = (size_t)longest;
            return INTERP_OK;
        }
        if (!text[at]) return INTERP_OK;
    }
}

/* ---- view/html.c: a report as one HTML page -------------------------------------------------- */

/* What is open at the end of the page: a section, in it a row of pictures or a list of files. */
enum { ITP_OPEN_NOTHING, ITP_OPEN_SECTION, ITP_OPEN_PICTURES, ITP_OPEN_FILES };

struct interp_report {
    interp_ctx *ctx;
    itp_buf page;
    int open;
    bool finished;
};

static const char itp_report_style[] =
    "<style>\n"
    ":root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1d2129;--soft:#5d6675;"
    "--line:#dfe3e9;--link:#0b5cad;--shade:0 1px 3px rgba(20,30,50,.10)}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171c;--card:#1d2128;--ink:#e7eaf0;"
    "--soft:#9aa4b4;--line:#303742;--link:#7db8f7;--shade:none}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
    "header,section,footer{max-width:1180px;margin:0 auto;padding:0 24px}\n"
    "header{padding-top:44px;padding-bottom:8px}\n"
    "h1{margin:0;font-size:2.1rem;line-height:1.2;letter-spacing:-.01em;overflow-wrap:anywhere}\n"
    "header p{margin:.5rem 0 0;color:var(--soft);font-size:1.08rem;overflow-wrap:anywhere}\n"
    "h2{margin:2.6rem 0 .4rem;padding-top:1.2rem;border-top:1px solid var(--line);"
    "font-size:1.35rem;overflow-wrap:anywhere}\n"
    "section p{max-width:75ch;margin:.5rem 0;overflow-wrap:anywhere}\n"
    "a{color:var(--link)}\n"
    ".pictures{display:grid;gap:18px;align-items:start;margin:1.1rem 0;"
    "grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))}\n"
    "figure{margin:0;padding:12px;background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;box-shadow:var(--shade)}\n"
    "figure img{display:block;max-width:100%;height:auto;margin:0 auto;background:#fff;"
    "border-radius:5px}\n"
    "figcaption{margin-top:.6rem;color:var(--soft);font-size:.92rem;overflow-wrap:anywhere}\n"
    ".table{overflow-x:auto;margin:1.1rem 0;background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;box-shadow:var(--shade)}\n"
    "table{border-collapse:collapse;width:100%;font-size:.95rem}\n"
    "th,td{padding:.45rem .9rem;text-align:left;border-bottom:1px solid var(--line);"
    "white-space:nowrap}\n"
    "th{color:var(--soft);font-weight:600}\n"
    "tbody tr:last-child td{border-bottom:0}\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums}\n"
    "ul.files{margin:.8rem 0;padding-left:1.3rem}\n"
    "ul.files span{color:var(--soft)}\n"
    "footer{margin-top:3rem;padding-bottom:40px;color:var(--soft);font-size:.88rem}\n"
    "</style>\n";

/* Text with everything escaped that HTML could take for markup; control characters are dropped. */
ITP_FN void itp_html_text(itp_buf *b, const char *text)
{
    for (const char *s = text ? text : ""; *s; s++) {
        switch (*s) {
        case '&': itp_buf_str(b, "&amp;"); break;
        case '<': itp_buf_str(b, "&lt;"); break;
        case '>': itp_buf_str(b, "&gt;"); break;
        case '"': itp_buf_str(b, "&quot;"); break;
        case '\'': itp_buf_str(b, "&#39;"); break;
        default:
            if ((unsigned char)*s >= 32 || *s == '\n' || *s == '\t') itp_buf_byte(b, *s);
        }
    }
}

/* The head of a page; subtitle: NULL for none. */
ITP_FN void itp_html_header(itp_buf *b, const char *title, const char *subtitle)
{
    itp_buf_str(b, "<header>\n<h1>");
    itp_html_text(b, title);
    itp_buf_str(b, "</h1>\n");
    if (subtitle) {
        itp_buf_str(b, "<p>");
        itp_html_text(b, subtitle);
        itp_buf_str(b, "</p>\n");
    }
    itp_buf_str(b, "</header>\n");
}

/* A relative path as a URL: everything but letters, digits and -._~/ as %XX, so that no path can
   name another scheme, leave its attribute or carry a query. */
ITP_FN void itp_html_path(itp_buf *b, const char *path)
{
    for (const char *s = path ? path : ""; *s; s++) {
        const int lower = itp_view_lower(*s);
        const bool plain = (lower >= 'a' && lower <= 'z') || (*s >= '0' && *s <= '9') ||
                           strchr("-._~/", *s) != NULL;
        if (*s == '\\') itp_buf_byte(b, '/'); /* as Windows writes paths */
        else if (plain) itp_buf_byte(b, *s);
        else itp_buf_printf(b, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

ITP_FN void itp_html_base64(itp_buf *b, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const size_t have = itp_min_size(3, n - i);
        uint32_t v = 0;
        char out[4];
        for (size_t k = 0; k < 3; k++) v = v << 8 | (k < have ? p[i + k] : 0u);
        for (size_t k = 0; k < 4; k++) out[k] = k <= have ? digits[v >> (18 - 6 * k) & 63] : '=';
        itp_buf_add(b, out, 4);
    }
}

/* Closes what is open down to a level, or opens up to it. */
ITP_FN void itp_report_to(interp_report *r, int level)
{
    itp_buf *b = &r->page;
    if (r->open == level && level != ITP_OPEN_NOTHING && level != ITP_OPEN_SECTION) return;
    if (r->open == ITP_OPEN_PICTURES) itp_buf_str(b, "</div>\n");
    if (r->open == ITP_OPEN_FILES) itp_buf_str(b, "</ul>\n");
    if (r->open != ITP_OPEN_NOTHING && level == ITP_OPEN_NOTHING) itp_buf_str(b, "</section>\n");
    if (r->open == ITP_OPEN_NOTHING && level != ITP_OPEN_NOTHING) itp_buf_str(b, "<section>\n");
    if (level == ITP_OPEN_PICTURES) itp_buf_str(b, "<div class=\"pictures\">\n");
    if (level == ITP_OPEN_FILES) itp_buf_str(b, "<ul class=\"files\">\n");
    r->open = level;
}

INTERP_API interp_status interp_report_begin(interp_ctx *ctx, const char *title,
                                             const char *subtitle, interp_report **out)
{
    if (!title) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "report: title is NULL; give one");
    interp_report *r = (interp_report *)itp_calloc(ctx, 1, sizeof *r);
    if (!r) return INTERP_NO_MEMORY;
    r->ctx = ctx;
    r->page = itp_buf_new(ctx);
    itp_buf *b = &r->page;
    itp_buf_str(b,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    itp_html_text(b, title);
    itp_buf_str(b, "</title>\n");
    itp_buf_str(b, itp_report_style);
    itp_buf_str(b, "</head>\n<body>\n");
    itp_html_header(b, title, subtitle);
    itp_buf_str(b, "<main>\n");
    if (b->status) {
        const interp_status status = b->status;
        interp_report_free(r);
        return status;
    }
    *out = r;
    return INTERP_OK;
}

INTERP_API void interp_report_section(interp_report *report, const char *heading, const char *text)
{
    itp_buf *b = &report->page;
    itp_report_to(report, ITP_OPEN_NOTHING);
    itp_report_to(report, ITP_OPEN_SECTION);
    if (heading) {
        itp_buf_str(b, "<h2>");
        itp_html_text(b, heading);
        itp_buf_str(b, "</h2>\n");
    }
    for (const char *s = text; s && *s;) { /* a paragraph at a time */
        const char *end = strstr(s, "\n\n");
        const size_t n = end ? (size_t)(end - s) : strlen(s);
        char *paragraph = (char *)interp_alloc(report->ctx, n + 1);
        if (!paragraph) {
            b->status = INTERP_NO_MEMORY;
            return;
        }
        memcpy(paragraph, s, n);
        paragraph[n] = 0;
        itp_buf_str(b, "<p>");
        itp_html_text(b, paragraph);
        itp_buf_str(b, "</p>\n");
        interp_free(report->ctx, paragraph);
        s = end ? end + 2 : s + n;
        while (*s == '\n') s++;
    }
}

ITP_FN void itp_report_caption(itp_buf *b, const char *caption)
{
    if (caption && *caption) {
        itp_buf_str(b, "<figcaption>");
        itp_html_text(b, caption);
        itp_buf_str(b, "</figcaption>");
    }
    itp_buf_str(b, "</figure>\n");
}

INTERP_API void interp_report_picture(interp_report *report, const char *caption, const char *path)
{
    itp_buf *b = &report->page;
    itp_report_to(report, ITP_OPEN_PICTURES);
    itp_buf_str(b, "<figure><a href=\"");
    itp_html_path(b, path);
    itp_buf_str(b, "\"><img loading=\"lazy\" src=\"");
    itp_html_path(b, path);
    itp_buf_str(b, "\" alt=\"");
    itp_html_text(b, caption);
    itp_buf_str(b, "\"></a>");
    itp_report_caption(b, caption);
}

INTERP_API void interp_report_image(interp_report *report, const char *caption,
                                    const interp_image *image)
{
    itp_buf *b = &report->page;
    uint8_t *png = NULL;
    size_t n = 0;
    if (b->status) return;
    b->status = interp_image_png(report->ctx, image, &png, &n);
    if (b->status) return;
    itp_report_to(report, ITP_OPEN_PICTURES);
    itp_buf_printf(b, "<figure><img width=\"%d\" height=\"%d\" src=\"data:image/png;base64,",
                   image->width, image->height);
    itp_html_base64(b, png, n);
    itp_buf_str(b, "\" alt=\"");
    itp_html_text(b, caption);
    itp_buf_str(b, "\">");
    itp_report_caption(b, caption);
    interp_free(report->ctx, png);
}

/* A number, with or without a percent sign or a unit's space before it. */
ITP_FN bool itp_html_is_number(const char *s)
{
    bool digits = false;
    if (*s == '-' || *s == '+') s++;
    for (; *s; s++) {
        if (*s >= '0' && *s <= '9') digits = true;
        else if (!strchr(".,%eE+- ", *s)) return false;
    }
    return digits;
}

ITP_FN void itp_report_cell(itp_buf *b, const char *tag, const char *text, bool number)
{
    itp_buf_printf(b, "<%s%s>", tag, number ? " class=\"n\"" : "");
    itp_html_text(b, text);
    itp_buf_printf(b, "</%s>", tag);
}

INTERP_API void interp_report_table(interp_report *report, const char *const *header, int cols,
                                    const char *const *cells, int rows)
{
    itp_buf *b = &report->page;
    if (cols < 1) return;
    itp_report_to(report, ITP_OPEN_SECTION);
    itp_buf_str(b, "<div class=\"table\"><table>\n");
    if (header) {
        itp_buf_str(b, "<thead><tr>");
        for (int c = 0; c < cols; c++) {
            const char *below = cells && rows > 0 ? cells[c] : NULL;
            itp_report_cell(b, "th", header[c], below && itp_html_is_number(below));
        }
        itp_buf_str(b, "</tr></thead>\n");
    }
    itp_buf_str(b, "<tbody>\n");
    for (int r = 0; cells && r < rows; r++) {
        itp_buf_str(b, "<tr>");
        for (int c = 0; c < cols; c++) {
            const char *text = cells[(size_t)r * (size_t)cols + (size_t)c];
            itp_report_cell(b, "td", text, text && itp_html_is_number(text));
        }
        itp_buf_str(b, "</tr>\n");
    }
    itp_buf_str(b, "</tbody></table></div>\n");
}

INTERP_API void interp_report_file(interp_report *report, const char *path, const char *what)
{
    itp_buf *b = &report->page;
    itp_report_to(report, ITP_OPEN_FILES);
    itp_buf_str(b, "<li><a href=\"");
    itp_html_path(b, path);
    itp_buf_str(b, "\">");
    itp_html_text(b, path);
    itp_buf_str(b, "</a>");
    if (what && *what) {
        itp_buf_str(b, " <span>");
        itp_html_text(b, what);
        itp_buf_str(b, "</span>");
    }
    itp_buf_str(b, "</li>\n");
}

INTERP_API interp_status interp_report_html(interp_report *report, const char **html, size_t *bytes)
{
    itp_buf *b = &report->page;
    if (!report->finished) {
        itp_report_to(report, ITP_OPEN_NOTHING);
        itp_buf_printf(b, "</main>\n<footer>Made with interp.h %s</footer>\n</body>\n</html>\n",
                       interp_version());
        report->finished = true;
    }
    if (b->status) return b->status;
    *html = b->data;
    *bytes = b->n;
    return INTERP_OK;
}

INTERP_API void interp_report_free(interp_report *report)
{
    if (!report) return;
    itp_buf_free(&report->page);
    interp_free(report->ctx, report);
}

#ifndef INTERP_NO_STDIO

INTERP_API interp_status interp_report_end(interp_report *report, const char *path)
{
    const char *html = NULL;
    size_t bytes = 0;
    interp_status status = interp_report_html(report, &html, &bytes);
    if (!status && !path)
        status = itp_fail(report->ctx, INTERP_BAD_ARGUMENT, "report: path is NULL");
    if (!status) status = itp_file_write(report->ctx, path, html, bytes);
    interp_report_free(report);
    return status;
}

#endif

/* ---- view/gallery.c: many pictures as one HTML page that filters and enlarges them ------------ */

struct interp_gallery {
    interp_ctx *ctx;
    itp_buf page;
    int n_fields, n_items;
};

static const char itp_gallery_style[] =
    "<style>\n"
    ":root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1d2129;--soft:#5d6675;"
    "--line:#cfd5de;--link:#0b5cad}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171c;--card:#1d2128;--ink:#e7eaf0;"
    "--soft:#9aa4b4;--line:#3a424f;--link:#7db8f7}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:15px/1.45 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
    "header{padding:24px 24px 4px}\n"
    "h1{margin:0;font-size:1.6rem;line-height:1.2;overflow-wrap:anywhere}\n"
    "header p{margin:.3rem 0 0;color:var(--soft);overflow-wrap:anywhere}\n"
    "nav{display:flex;flex-wrap:wrap;gap:4px 16px;padding:4px 24px}nav a{color:var(--link)}\n"
    "form{position:sticky;top:0;z-index:4;display:flex;flex-wrap:wrap;gap:10px 18px;"
    "align-items:end;padding:12px 24px;background:var(--paper);"
    "border-bottom:1px solid var(--line)}\n"
    "label{display:grid;gap:2px;color:var(--soft);font-size:.85rem}\n"
    "select,button{font:inherit;color:var(--ink);background:var(--card);"
    "border:1px solid var(--line);border-radius:6px;padding:4px 8px;max-width:16rem}\n"
    "output{color:var(--soft);margin-left:auto}\n"
    "main{display:grid;gap:12px;padding:18px 24px;"
    "grid-template-columns:repeat(auto-fill,minmax(var(--cell),1fr))}\n"
    "figure{position:relative;margin:0;padding:6px;background:var(--card);"
    "border:1px solid var(--line);border-radius:8px;cursor:zoom-in}\n"
    "figure img{display:block;width:100%;height:auto;border-radius:4px;background:#fff;"
    "image-rendering:pixelated;transition:transform .12s}\n"
    "figure:hover,figure:focus-visible{z-index:3}\n"
    "figure:hover img,figure:focus-visible img{transform:scale(1.7);"
    "box-shadow:0 4px 18px rgba(0,0,0,.35)}\n"
    "figure[hidden]{display:none}\n"
    "figcaption{margin-top:4px;color:var(--soft);font-size:.8rem;overflow-wrap:anywhere}\n"
    "dialog{max-width:94vw;border:1px solid var(--line);border-radius:10px;padding:16px;"
    "background:var(--card);color:var(--ink)}\n"
    "dialog::backdrop{background:rgba(0,0,0,.6)}\n"
    "dialog img{display:block;max-width:86vw;max-height:70vh;min-width:min(60vw,420px);"
    "object-fit:contain;image-rendering:pixelated;background:#fff}\n"
    "dl{display:grid;grid-template-columns:auto 1fr;gap:2px 14px;margin:10px 0 0}\n"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\n"
    "</style>\n";

/* Fills the filters, shows what they leave, and opens one picture at a time. */
static const char itp_gallery_script[] =
    "<script>\n"
    "const items=[...document.querySelectorAll('figure')],"
    "filters=[...document.querySelectorAll('select')],count=document.querySelector('output'),"
    "view=document.querySelector('dialog');let at=0;\n"
    "const value=(f,k)=>f.getAttribute('data-'+k)||'';\n"
    "const number=new Intl.Collator(undefined,{numeric:true});\n"
    "filters.forEach((s,k)=>{[...new Set(items.map(f=>value(f,k)))].filter(v=>v!=='')"
    ".sort(number.compare).forEach(v=>s.add(new Option(v,v)));s.onchange=show});\n"
    "function show(){let n=0;items.forEach(f=>{f.hidden=filters.some((s,k)=>s.value!==''&&"
    "value(f,k)!==s.value);n+=!f.hidden});count.textContent=n+' of '+items.length}\n"
    "const seen=()=>items.filter(f=>!f.hidden);\n"
    "function open_at(f){at=items.indexOf(f);const list=document.createElement('dl');"
    "filters.forEach((s,k)=>{if(value(f,k)==='')return;"
    "const t=document.createElement('dt'),d=document.createElement('dd');"
    "t.textContent=s.getAttribute('aria-label');d.textContent=value(f,k);list.append(t,d)});\n"
    "const c=f.querySelector('figcaption'),big=f.querySelector('img').cloneNode();"
    "big.loading='eager';view.replaceChildren(big,list);if(c){const p=document.createElement('p');"
    "p.textContent=c.textContent;view.append(p)}if(!view.open)view.showModal()}\n"
    "function step(by){const s=seen(),i=s.indexOf(items[at]);"
    "if(s.length)open_at(s[(i+by+s.length)%s.length])}\n"
    "items.forEach(f=>{f.onclick=()=>open_at(f);"
    "f.onkeydown=e=>{if(e.key==='Enter'||e.key===' '){e.preventDefault();open_at(f)}}});\n"
    "view.onclick=()=>view.close();view.onclose=()=>items[at].focus();\n"
    "view.onkeydown=e=>{if(e.key==='ArrowRight')step(1);if(e.key==='ArrowLeft')step(-1)};\n"
    "document.querySelector('button').onclick=e=>{e.preventDefault();"
    "filters.forEach(s=>s.value='');show()};\n"
    "show();\n"
    "</script>\n";

INTERP_API interp_status interp_gallery_begin(interp_ctx *ctx, const interp_gallery_desc *desc,
                                              interp_gallery **out)
{
    if (!desc || !desc->title || desc->n_fields < 0 || desc->n_fields > INTERP_GALLERY_FIELDS ||
        (desc->n_fields && !desc->fields) || desc->n_links < 0 || (desc->n_links && !desc->links))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "gallery: give a title, the names of at most %d fields, and links",
                        INTERP_GALLERY_FIELDS);
    interp_gallery *g = (interp_gallery *)itp_calloc(ctx, 1, sizeof *g);
    if (!g) return INTERP_NO_MEMORY;
    g->ctx = ctx;
    g->n_fields = desc->n_fields;
    g->page = itp_buf_new(ctx);
    itp_buf *b = &g->page;
    itp_buf_str(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                   "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
                   "<title>");
    itp_html_text(b, desc->title);
    itp_buf_str(b, "</title>\n");
    itp_buf_str(b, itp_gallery_style);
    itp_buf_printf(b, "</head>\n<body style=\"--cell:%dpx\">\n",
                   desc->cell > 0 ? itp_min(desc->cell, 2000) : 150);
    itp_html_header(b, desc->title, desc->subtitle);
    if (desc->n_links) itp_buf_str(b, "<nav>\n");
    for (int k = 0; k < desc->n_links; k++) {
        itp_buf_str(b, "<a href=\"");
        itp_html_path(b, desc->links[2 * k + 1]);
        itp_buf_str(b, "\">");
        itp_html_text(b, desc->links[2 * k]);
        itp_buf_str(b, "</a>\n");
    }
    if (desc->n_links) itp_buf_str(b, "</nav>\n");
    itp_buf_str(b, "<form>\n");
    for (int k = 0; k < desc->n_fields; k++) {
        itp_buf_str(b, "<label>");
        itp_html_text(b, desc->fields[k]);
        itp_buf_str(b, "<select aria-label=\"");
        itp_html_text(b, desc->fields[k]);
        itp_buf_str(b, "\"><option value=\"\">all</option></select></label>\n");
    }
    itp_buf_str(b, "<button>Show all</button>\n<output></output>\n</form>\n<main>\n");
    if (b->status) {
        const interp_status status = b->status;
        interp_gallery_free(g);
        return status;
    }
    *out = g;
    return INTERP_OK;
}

INTERP_API void interp_gallery_add(interp_gallery *gallery, const interp_image *image,
                                   const char *caption, const char *const *values)
{
    itp_buf *b = &gallery->page;
    uint8_t *png = NULL;
    size_t n = 0;
    if (b->status) return;
    b->status = interp_image_png(gallery->ctx, image, &png, &n);
    if (b->status) return;
    itp_buf_str(b, "<figure tabindex=\"0\"");
    for (int k = 0; k < gallery->n_fields; k++) {
        if (!values || !values[k]) continue;
        itp_buf_printf(b, " data-%d=\"", k);
        itp_html_text(b, values[k]);
        itp_buf_byte(b, '"');
    }
    itp_buf_printf(b, "><img loading=\"lazy\" width=\"%d\" height=\"%d\" alt=\"", image->width,
                   image->height);
    itp_html_text(b, caption);
    itp_buf_str(b, "\" src=\"data:image/png;base64,");
    itp_html_base64(b, png, n);
    itp_buf_str(b, "\">");
    if (caption) {
        itp_buf_str(b, "<figcaption>");
        itp_html_text(b, caption);
        itp_buf_str(b, "</figcaption>");
    }
    itp_buf_str(b, "</figure>\n");
    gallery->n_items++;
    interp_free(gallery->ctx, png);
}

INTERP_API interp_status interp_gallery_html(interp_gallery *gallery, const char **html,
                                             size_t *bytes)
{
    itp_buf *b = &gallery->page;
    if (gallery->n_items >= 0) {
        itp_buf_str(b, "</main>\n<dialog></dialog>\n");
        itp_buf_str(b, itp_gallery_script);
        itp_buf_str(b, "</body>\n</html>\n");
        gallery->n_items = -1; /* finished */
    }
    if (b->status) return b->status;
    *html = b->data;
    *bytes = b->n;
    return INTERP_OK;
}

INTERP_API void interp_gallery_free(interp_gallery *gallery)
{
    if (!gallery) return;
    itp_buf_free(&gallery->page);
    interp_free(gallery->ctx, gallery);
}

#ifndef INTERP_NO_STDIO

INTERP_API interp_status interp_gallery_end(interp_gallery *gallery, const char *path)
{
    const char *html = NULL;
    size_t bytes = 0;
    interp_status status = interp_gallery_html(gallery, &html, &bytes);
    if (!status && !path)
        status = itp_fail(gallery->ctx, INTERP_BAD_ARGUMENT, "gallery: path is NULL");
    if (!status) status = itp_file_write(gallery->ctx, path, html, bytes);
    interp_gallery_free(gallery);
    return status;
}

#endif

/* ---- view/graph.c: graphs drawn in layers ------------------------------------------------------- */

/* Nodes become boxes, repeated parts are drawn once, boxes fall into layers (as in Sugiyama et al.
   1981: lines that pass a layer bend there), layers into columns side by side. */

#define ITP_GRAPH_POINTS  200000 /* boxes and bends; more make no picture anybody reads */
#define ITP_GRAPH_PERIOD  8      /* most parts that repeat together */
#define ITP_GRAPH_BLOCKS  24     /* arrays of one plan */
#define ITP_RGB_SKIP      0x2f6fb3u
#define ITP_RGB_FOLD      0xb05a1cu
#define ITP_RGB_BOX       0xe4e4e4u
#define ITP_GRAPH_UPWARDS 1
#define ITP_GRAPH_DOWN    2

typedef struct itp_graph_box {
    int first, last; /* nodes in it, chained by `next` */
    int in;          /* first of the edges that end here, chained by next_in; -1: none */
    int outs;        /* edges that start here */
    int stand_in;    /* -1: drawn; else the box that stands for it */
    int layer, point;
    int width, height; /* pixels */
} itp_graph_box;

typedef struct itp_graph_edge { /* between boxes */
    int from, to, next_in;
} itp_graph_edge;

/* A box, or where a line passes a layer. */
typedef struct itp_graph_point {
    int box; /* -1: a bend */
    int layer, place;
    int up, down; /* first of the links that end and start here; -1: none */
    double x, wish, weight;
} itp_graph_point;

typedef struct itp_graph_link { /* between points of neighbouring layers */
    int from, to, next_up, next_down;
    bool skip; /* a piece of a line that passes layers */
} itp_graph_link;

typedef struct itp_graph_frame { /* around a part that stands for several */
    int first_box, last_box, copies;
} itp_graph_frame;

typedef struct itp_graph_layer {
    int first, n; /* points, in `order` */
    int height, y, column;
    int crossing, sources; /* links to the next layer, and the points they come from */
} itp_graph_layer;

typedef struct itp_graph_block { /* points of a layer without room between them */
    int first;
    double mean, weight; /* of their wishes */
} itp_graph_block;

typedef struct itp_graph_column {
    int left, right; /* pixels on the page, boxes only */
    double shift;    /* from x of points to the page */
    int bottom;      /* where the boxes end */
} itp_graph_column;

typedef struct itp_graph_plan {
    interp_ctx *ctx;
    const interp_graph *graph;
    void *blocks[ITP_GRAPH_BLOCKS];
    int n_blocks;
    int *box_of, *next; /* [n_nodes] */
    itp_graph_box *boxes;
    int n_boxes;
    itp_graph_edge *edges;
    int n_edges;
    int *part_start, *part_class; /* [n_parts + 1], [n_parts] */
    int n_parts;
    itp_graph_frame *frames;
    int n_frames;
    itp_graph_point *points;
    int n_points;
    itp_graph_link *links;
    int n_links;
    int *order; /* [n_points], by layer */
    itp_graph_block *touching;
    itp_graph_layer *layers;
    int n_layers;
    itp_graph_column *columns;
    int n_columns, top, width, height;
    double scale;
} itp_graph_plan;

ITP_FN void *itp_graph_take(itp_graph_plan *p, int n, size_t size)
{
    void *block = interp_alloc(p->ctx, itp_mul_size((size_t)itp_max(n, 1), size));
    if (block) {
        memset(block, 0, itp_mul_size((size_t)itp_max(n, 1), size));
        p->blocks[p->n_blocks++] = block;
    }
    return block;
}

ITP_FN int itp_graph_px(const itp_graph_plan *p, double v)
{
    return itp_max(1, (int)(v * p->scale + .5));
}

/* ---- boxes */

ITP_FN interp_status itp_graph_check(interp_ctx *ctx, const interp_graph *g)
{
    if (!g || !g->nodes || g->n_nodes < 1 || g->n_edges < 0 || (g->n_edges && !g->edges))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "graph: it has no nodes, or edges are missing");
    if (!(g->scale >= 0 && g->scale <= 8) || !(g->aspect >= 0 && g->aspect <= 100))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "graph: scale %g and aspect %g; give 0..8 and 0..100", (double)g->scale,
                        (double)g->aspect);
    for (int i = 0; i < g->n_edges; i++) {
        const interp_graph_edge *e = &g->edges[i];
        if (e->from < 0 || e->to >= g->n_nodes || e->from >= e->to)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "graph: edge %d goes from node %d to %d of %d; it must go forward", i,
                            e->from, e->to, g->n_nodes);
    }
    return INTERP_OK;
}

/* Nodes that join go into the box of the one they read, when nobody else reads that. */
ITP_FN interp_status itp_graph_make_boxes(itp_graph_plan *p)
{
    const interp_graph *g = p->graph;
    int *reads = (int *)itp_graph_take(p, g->n_nodes, sizeof(int));
    int *readers = (int *)itp_graph_take(p, g->n_nodes, sizeof(int));
    int *source = (int *)itp_graph_take(p, g->n_nodes, sizeof(int));
    p->box_of = (int *)itp_graph_take(p, g->n_nodes, sizeof(int));
    p->next = (int *)itp_graph_take(p, g->n_nodes, sizeof(int));
    p->boxes = (itp_graph_box *)itp_graph_take(p, g->n_nodes, sizeof *p->boxes);
    if (!reads || !readers || !source || !p->box_of || !p->next || !p->boxes)
        return INTERP_NO_MEMORY;
    for (int i = 0; i < g->n_edges; i++) {
        reads[g->edges[i].to]++;
        readers[g->edges[i].from]++;
        source[g->edges[i].to] = g->edges[i].from;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        p->next[i] = -1;
        if (g->nodes[i].joins && reads[i] == 1 && readers[source[i]] == 1) {
            itp_graph_box *b = &p->boxes[p->box_of[i] = p->box_of[source[i]]];
            p->next[b->last] = i;
            b->last = i;
            continue;
        }
        itp_graph_box *b = &p->boxes[p->box_of[i] = p->n_boxes++];
        b->first = b->last = i;
        b->in = b->stand_in = b->point = -1;
    }
    return INTERP_OK;
}

/* Edges between boxes, each once. */
ITP_FN interp_status itp_graph_make_edges(itp_graph_plan *p)
{
    const interp_graph *g = p->graph;
    p->edges = (itp_graph_edge *)itp_graph_take(p, g->n_edges, sizeof *p->edges);
    if (!p->edges) return INTERP_NO_MEMORY;
    for (int i = 0; i < g->n_edges; i++) {
        const int from = p->box_of[g->edges[i].from], to = p->box_of[g->edges[i].to];
        bool known = from == to;
        for (int e = p->boxes[to].in; e >= 0 && !known; e = p->edges[e].next_in)
            known = p->edges[e].from == from;
        if (known) continue;
        itp_graph_edge *e = &p->edges[p->n_edges];
        e->from = from, e->to = to, e->next_in = p->boxes[to].in;
        p->boxes[to].in = p->n_edges++;
        p->boxes[from].outs++;
    }
    return INTERP_OK;
}

/* ---- repeats */

/* Parts end where all that is still open comes from one box, the last one. */
ITP_FN interp_status itp_graph_cut(itp_graph_plan *p)
{
    int open = 0;
    p->part_start = (int *)itp_graph_take(p, p->n_boxes + 1, sizeof(int));
    p->part_class = (int *)itp_graph_take(p, p->n_boxes, sizeof(int));
    p->frames = (itp_graph_frame *)itp_graph_take(p, p->n_boxes, sizeof *p->frames);
    if (!p->part_start || !p->part_class || !p->frames) return INTERP_NO_MEMORY;
    for (int b = 0; b < p->n_boxes; b++) {
        for (int e = p->boxes[b].in; e >= 0; e = p->edges[e].next_in) open--;
        open += p->boxes[b].outs;
        if (open == p->boxes[b].outs || b + 1 == p->n_boxes) p->part_start[++p->n_parts] = b + 1;
    }
    return INTERP_OK;
}

ITP_FN bool itp_graph_same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && !strcmp(a, b));
}

ITP_FN bool itp_graph_same_box(const itp_graph_plan *p, const itp_graph_box *a,
                               const itp_graph_box *b)
{
    int i = a->first, k = b->first;
    for (; i >= 0 && k >= 0; i = p->next[i], k = p->next[k]) {
        const interp_graph_node *x = &p->graph->nodes[i], *y = &p->graph->nodes[k];
        if (x->rgb != y->rgb || !itp_graph_same_text(x->title, y->title) ||
            !itp_graph_same_text(x->note, y->note))
            return false;
    }
    return i < 0 && k < 0;
}

/* Whether two parts look the same: their boxes, and where these read from. */
ITP_FN bool itp_graph_same_part(const itp_graph_plan *p, int a, int b)
{
    const int x = p->part_start[a], y = p->part_start[b], n = p->part_start[a + 1] - x;
    if (p->part_start[b + 1] - y != n) return false;
    for (int i = 0; i < n; i++) {
        if (!itp_graph_same_box(p, &p->boxes[x + i], &p->boxes[y + i])) return false;
        int e = p->boxes[x + i].in, f = p->boxes[y + i].in;
        for (; e >= 0 && f >= 0; e = p->edges[e].next_in, f = p->edges[f].next_in)
            if (p->edges[e].from - x != p->edges[f].from - y) return false;
        if (e >= 0 || f >= 0) return false;
    }
    return true;
}

/* Boxes saved by drawing the `period` parts at `at` once for all their copies. */
ITP_FN int itp_graph_saving(const itp_graph_plan *p, int at, int period, int *copies)
{
    const int *c = p->part_class;
    *copies = 1;
    for (int i = at + period; i < p->n_parts && c[i] == c[i - period]; i++)
        *copies = (i - at + 1) / period;
    return (*copies - 1) * (p->part_start[itp_min(at + period, p->n_parts)] - p->part_start[at]);
}

/* Runs of equal parts: the first stays, with its count. The first part, where inputs are, stays. */
ITP_FN interp_status itp_graph_fold(itp_graph_plan *p)
{
    const int above = p->graph->fold_above ? p->graph->fold_above : 40;
    ITP_TRY(itp_graph_cut(p));
    if (above < 0 || p->n_boxes <= above) return INTERP_OK;
    for (int i = 0; i < p->n_parts; i++)
        for (p->part_class[i] = 0; p->part_class[i] < i; p->part_class[i]++)
            if (itp_graph_same_part(p, p->part_class[i], i)) break;
    for (int at = 1; at < p->n_parts;) {
        int best = 1, period = 1, copies = 1; /* a saving of one box is not worth a frame */
        for (int k = 1; k <= ITP_GRAPH_PERIOD && at + 2 * k <= p->n_parts; k++) {
            int n;
            const int saving = itp_graph_saving(p, at, k, &n);
            if (saving > best) best = saving, period = k, copies = n;
        }
        const int start = p->part_start[at], size = p->part_start[at + period] - start;
        if (copies > 1) {
            itp_graph_frame *f = &p->frames[p->n_frames++];
            f->first_box = start, f->last_box = start + size - 1, f->copies = copies;
        }
        for (int b = start + size; copies > 1 && b < start + copies * size; b++)
            p->boxes[b].stand_in = start + (b - start) % size;
        at += period * copies;
    }
    return INTERP_OK;
}

/* The box that is drawn for b. */
ITP_FN int itp_graph_shown(const itp_graph_plan *p, int b)
{
    return p->boxes[b].stand_in < 0 ? b : p->boxes[b].stand_in;
}

/* Whether an edge is drawn: all into boxes that are. */
ITP_FN bool itp_graph_drawn(const itp_graph_plan *p, const itp_graph_edge *e)
{
    return p->boxes[e->to].stand_in < 0;
}

/* ---- layers */

/* Box sizes, and layers: one below the lowest that is read; boxes that read nothing right above the
   first reader. */
ITP_FN void itp_graph_layers(itp_graph_plan *p)
{
    const int strip = itp_graph_px(p, 20), note = itp_graph_px(p, 17), air = itp_graph_px(p, 16);
    const int text = itp_graph_px(p, 12), small = itp_graph_px(p, 11);
    for (int b = 0; b < p->n_boxes; b++) {
        itp_graph_box *box = &p->boxes[b];
        const char *last = p->graph->nodes[box->last].note;
        box->width = itp_graph_px(p, 64);
        for (int i = box->first; i >= 0; i = p->next[i]) {
            const char *title = p->graph->nodes[i].title;
            box->width = itp_max(box->width, air + interp_text_width(title ? title : "", text, 0));
            box->height += strip;
        }
        if (last) box->width = itp_max(box->width, air + interp_text_width(last, small, 0));
        if (last) box->height += note;
        for (int e = box->in; e >= 0; e = p->edges[e].next_in)
            box->layer =
                itp_max(box->layer, 1 + p->boxes[itp_graph_shown(p, p->edges[e].from)].layer);
        if (box->stand_in < 0) p->n_layers = itp_max(p->n_layers, box->layer + 1);
    }
    for (int b = 0; b < p->n_boxes; b++) {
        int first = INT_MAX;
        if (p->boxes[b].in >= 0) continue;
        for (int e = 0; e < p->n_edges; e++)
            if (p->edges[e].from == b && itp_graph_drawn(p, &p->edges[e]))
                first = itp_min(first, p->boxes[p->edges[e].to].layer);
        if (first < INT_MAX) p->boxes[b].layer = first - 1;
    }
}

ITP_FN int itp_graph_add_point(itp_graph_plan *p, int box, int layer)
{
    itp_graph_point *at = &p->points[p->n_points];
    at->box = box;
    at->layer = layer;
    at->up = at->down = -1;
    p->layers[layer].n++;
    return p->n_points++;
}

ITP_FN void itp_graph_add_link(itp_graph_plan *p, int from, int to, bool skip)
{
    itp_graph_link *l = &p->links[p->n_links];
    l->from = from, l->to = to, l->skip = skip;
    l->next_up = p->points[to].up;
    l->next_down = p->points[from].down;
    p->points[to].up = p->points[from].down = p->n_links++;
    p->layers[p->points[from].layer].crossing++;
}

/* Boxes and the bends of long lines as points, layer by layer. */
ITP_FN interp_status itp_graph_make_points(itp_graph_plan *p)
{
    int points = p->n_boxes, links = 0;
    for (int i = 0; i < p->n_edges; i++) {
        if (!itp_graph_drawn(p, &p->edges[i])) continue;
        const int from = itp_graph_shown(p, p->edges[i].from);
        const int span = p->boxes[p->edges[i].to].layer - p->boxes[from].layer;
        if (points > ITP_GRAPH_POINTS - span)
            return itp_fail(p->ctx, INTERP_UNSUPPORTED,
                            "graph: %d nodes with their lines are too many to draw",
                            p->graph->n_nodes);
        points += span - 1;
        links += span;
    }
    p->points = (itp_graph_point *)itp_graph_take(p, points, sizeof *p->points);
    p->links = (itp_graph_link *)itp_graph_take(p, links, sizeof *p->links);
    p->order = (int *)itp_graph_take(p, points, sizeof(int));
    p->touching = (itp_graph_block *)itp_graph_take(p, points, sizeof *p->touching);
    p->layers = (itp_graph_layer *)itp_graph_take(p, p->n_layers, sizeof *p->layers);
    p->columns = (itp_graph_column *)itp_graph_take(p, p->n_layers, sizeof *p->columns);
    if (!p->points || !p->links || !p->order || !p->touching || !p->layers || !p->columns)
        return INTERP_NO_MEMORY;
    for (int b = 0; b < p->n_boxes; b++) {
        itp_graph_box *box = &p->boxes[b];
        if (box->stand_in >= 0) continue;
        box->point = itp_graph_add_point(p, b, box->layer);
        for (int e = box->in; e >= 0; e = p->edges[e].next_in) {
            int at = p->boxes[itp_graph_shown(p, p->edges[e].from)].point;
            const int span = box->layer - p->points[at].layer;
            for (int k = 1; k < span; k++) {
                const int bend = itp_graph_add_point(p, -1, p->points[at].layer + 1);
                itp_graph_add_link(p, at, bend, true);
                at = bend;
            }
            itp_graph_add_link(p, at, box->point, span > 1);
        }
    }
    return INTERP_OK;
}

/* ---- who stands where in a layer */

/* Means of the places of the neighbours one way. */
ITP_FN double itp_graph_middle(const itp_graph_plan *p, int point, int way)
{
    const itp_graph_point *at = &p->points[point];
    double sum = 0;
    int n = 0;
    for (int l = way == ITP_GRAPH_UPWARDS ? at->up : at->down; l >= 0; n++) {
        const itp_graph_link *link = &p->links[l];
        sum += p->points[way == ITP_GRAPH_UPWARDS ? link->from : link->to].place;
        l = way == ITP_GRAPH_UPWARDS ? link->next_up : link->next_down;
    }
    return n ? sum / n : at->place;
}

ITP_FN void itp_graph_sort_layer(itp_graph_plan *p, const itp_graph_layer *layer, int way)
{
    int *order = p->order + layer->first;
    for (int i = 0; i < layer->n; i++)
        p->points[order[i]].wish = itp_graph_middle(p, order[i], way);
    for (int i = 1; i < layer->n; i++) {
        const int moved = order[i];
        int k = i;
        for (; k > 0 && p->points[order[k - 1]].wish > p->points[moved].wish; k--)
            order[k] = order[k - 1];
        order[k] = moved;
    }
    for (int i = 0; i < layer->n; i++) p->points[order[i]].place = i;
}

ITP_FN void itp_graph_sort(itp_graph_plan *p)
{
    int first = 0;
    for (int i = 0; i < p->n_layers; i++) {
        p->layers[i].first = first;
        first += p->layers[i].n;
        p->layers[i].n = 0;
    }
    for (int i = 0; i < p->n_points; i++) {
        itp_graph_layer *layer = &p->layers[p->points[i].layer];
        p->points[i].place = layer->n;
        p->order[layer->first + layer->n++] = i;
    }
    for (int round = 0; round < 6; round++) {
        for (int i = 1; i < p->n_layers; i++)
            itp_graph_sort_layer(p, &p->layers[i], ITP_GRAPH_UPWARDS);
        for (int i = p->n_layers - 2; i >= 0; i--)
            itp_graph_sort_layer(p, &p->layers[i], ITP_GRAPH_DOWN);
    }
}

ITP_FN int itp_graph_half(const itp_graph_plan *p, int point)
{
    const int box = p->points[point].box;
    return box < 0 ? itp_graph_px(p, 3) : p->boxes[box].width / 2;
}

/* Middle of the neighbours. Boxes pull boxes and bends bends, so that roads are straight; bends give
   way to boxes. */
ITP_FN void itp_graph_wish(itp_graph_plan *p, int point, int ways)
{
    itp_graph_point *at = &p->points[point];
    double sum = 0, weight = 0;
    for (int way = ITP_GRAPH_UPWARDS; way <= ITP_GRAPH_DOWN; way++)
        for (int l = way == ITP_GRAPH_UPWARDS ? at->up : at->down; l >= 0 && (ways & way);) {
            const itp_graph_link *link = &p->links[l];
            const itp_graph_point *o = &p->points[way == ITP_GRAPH_UPWARDS ? link->from : link->to];
            const double w = (at->box < 0) == (o->box < 0) ? 8 : .1;
            sum += w * o->x;
            weight += w;
            l = way == ITP_GRAPH_UPWARDS ? link->next_up : link->next_down;
        }
    at->wish = weight > 0 ? sum / weight : at->x;
    at->weight = at->box < 0 ? .05 : weight + .01;
}

/* The wishes as far as neighbours leave room, with the least sum of weighted squares of what is
   missed: blocks of points that touch move to the mean of their wishes. */
ITP_FN void itp_graph_settle(itp_graph_plan *p, const itp_graph_layer *layer)
{
    const int *order = p->order + layer->first, air = itp_graph_px(p, 16);
    double offset = 0; /* of a point from the first one when all touch */
    int n = 0;
    for (int i = 0; i < layer->n; i++) {
        const int point = order[i];
        if (i) offset += itp_graph_half(p, order[i - 1]) + itp_graph_half(p, point) + air;
        itp_graph_block *b = &p->touching[n++];
        b->first = i;
        b->weight = p->points[point].weight;
        b->mean = p->points[point].wish - offset;
        p->points[point].x = offset;
        for (; n > 1 && p->touching[n - 2].mean > p->touching[n - 1].mean; n--) {
            itp_graph_block *left = &p->touching[n - 2], *right = &p->touching[n - 1];
            const double weight = left->weight + right->weight;
            left->mean = (left->mean * left->weight + right->mean * right->weight) / weight;
            left->weight = weight;
        }
    }
    for (int i = layer->n - 1; i >= 0; i--) {
        p->points[order[i]].x += p->touching[n - 1].mean;
        if (p->touching[n - 1].first == i) n--;
    }
}

ITP_FN void itp_graph_place(itp_graph_plan *p)
{
    enum { rounds = 24 };
    for (int round = 0; round < rounds; round++)
        for (int k = 0; k < p->n_layers; k++) {
            const bool down = round % 2 != 0;
            const itp_graph_layer *layer = &p->layers[down ? p->n_layers - 1 - k : k];
            const int ways = round < rounds - 4 ? down ? ITP_GRAPH_DOWN : ITP_GRAPH_UPWARDS
                                                : ITP_GRAPH_DOWN | ITP_GRAPH_UPWARDS;
            for (int i = 0; i < layer->n; i++) itp_graph_wish(p, p->order[layer->first + i], ways);
            itp_graph_settle(p, layer);
        }
}

/* ---- columns */

/* What it costs to break after a layer: values on the way, more in a frame, and distance from where
   the column should end. */
ITP_FN double itp_graph_break_cost(const itp_graph_plan *p, int layer, double miss)
{
    double cost = 30. * (p->layers[layer].sources - 1) + 40 * fabs(miss);
    for (int i = 0; i < p->n_frames; i++)
        if (p->boxes[p->frames[i].first_box].layer <= layer &&
            p->boxes[p->frames[i].last_box].layer > layer)
            cost += 1000;
    return cost;
}

/* Heights of layers, and the columns they stand in: as many as bring the page near its aspect. */
ITP_FN void itp_graph_wrap(itp_graph_plan *p)
{
    const int gap = itp_graph_px(p, 22);
    double low = 1e9, high = -1e9, total = 0;
    for (int i = 0; i < p->n_points; i++) {
        itp_graph_layer *layer = &p->layers[p->points[i].layer];
        const int box = p->points[i].box;
        if (p->points[i].down >= 0) layer->sources++;
        if (box >= 0) layer->height = itp_max(layer->height, p->boxes[box].height);
        low = fmin(low, p->points[i].x - itp_graph_half(p, i));
        high = fmax(high, p->points[i].x + itp_graph_half(p, i));
    }
    for (int i = 0; i < p->n_layers; i++) total += p->layers[i].height + gap;
    const double aspect = p->graph->aspect > 0 ? (double)p->graph->aspect : 1.5;
    const double wide = high - low + itp_graph_px(p, 50);
    const int want = itp_max(1, (int)(sqrt(aspect * total / wide) + .5));
    const double target = total / want;
    for (int at = 0; at < p->n_layers; p->n_columns++) {
        int end = p->n_layers - 1;
        double y = 0, best = 1e9;
        for (int i = at; i + 1 < p->n_layers && p->n_columns + 1 < want; i++) {
            y += p->layers[i].height + gap;
            const double miss = y / target - 1, cost = itp_graph_break_cost(p, i, miss);
            if (miss > -.7 && miss < 1 && cost < best) best = cost, end = i;
        }
        for (; at <= end; at++) p->layers[at].column = p->n_columns;
    }
}

/* Pixels of columns and layers; lanes for lines that go on in the next column lie below the one,
   between both and above the other. */
ITP_FN void itp_graph_page(itp_graph_plan *p)
{
    const int gap = itp_graph_px(p, 22), edge = itp_graph_px(p, 18), lane = itp_graph_px(p, 6);
    int x = edge, crossing = 0, bottom = 0;
    for (int i = 0; i + 1 < p->n_layers; i++)
        if (p->layers[i].column != p->layers[i + 1].column)
            crossing = itp_max(crossing, p->layers[i].crossing);
    p->top = edge + (p->graph->title ? itp_graph_px(p, 30) : 0) + crossing * lane;
    for (int c = 0, at = 0; c < p->n_columns; c++) {
        double low = 1e9, high = -1e9;
        int y = p->top;
        for (; at < p->n_layers && p->layers[at].column == c; at++) {
            itp_graph_layer *layer = &p->layers[at];
            layer->y = y;
            y += layer->height + gap;
            for (int i = layer->first; i < layer->first + layer->n; i++) {
                const int point = p->order[i];
                low = fmin(low, p->points[point].x - itp_graph_half(p, point));
                high = fmax(high, p->points[point].x + itp_graph_half(p, point));
            }
        }
        itp_graph_column *column = &p->columns[c];
        column->left = x;
        column->shift = x - low;
        column->right = x + (int)ceil(high - low);
        column->bottom = y - gap;
        x = column->right + itp_graph_px(p, p->n_frames ? 64 : 36) + crossing * lane;
        bottom = itp_max(bottom, column->bottom);
    }
    p->height = bottom + edge + (crossing + 1) * lane;
    p->width = p->columns[p->n_columns - 1].right + edge;
    if (p->graph->title)
        p->width =
            itp_max(p->width, 2 * edge + interp_text_width(p->graph->title, itp_graph_px(p, 15),
                                                           INTERP_TEXT_BOLD));
}

/* ---- drawing */

ITP_FN int itp_graph_column_of(const itp_graph_plan *p, int point)
{
    return p->layers[p->points[point].layer].column;
}

/* Middle, top and bottom of a point on the page. */
ITP_FN int itp_graph_x(const itp_graph_plan *p, int point)
{
    return (int)floor(p->points[point].x + p->columns[itp_graph_column_of(p, point)].shift + .5);
}

ITP_FN int itp_graph_y(const itp_graph_plan *p, int point, bool bottom)
{
    const itp_graph_layer *layer = &p->layers[p->points[point].layer];
    const int box = p->points[point].box;
    const int height = box < 0 ? layer->height : p->boxes[box].height;
    return layer->y + (layer->height - height) / 2 + (bottom ? height : 0);
}

/* Where a link meets one of its ends: lines that share a side of a box stand in the order of where
   they come from. */
ITP_FN int itp_graph_port(const itp_graph_plan *p, int link, bool at_to)
{
    const itp_graph_link *self = &p->links[link];
    const itp_graph_point *end = &p->points[at_to ? self->to : self->from];
    const double mine = p->points[at_to ? self->from : self->to].x;
    int n = 0, before = 0;
    for (int l = at_to ? end->up : end->down; l >= 0; n++) {
        const itp_graph_link *o = &p->links[l];
        const double x = p->points[at_to ? o->from : o->to].x;
        if (x < mine || (x <= mine && l < link)) before++;
        l = at_to ? o->next_up : o->next_down;
    }
    const int middle = itp_graph_x(p, at_to ? self->to : self->from);
    if (end->box < 0 || n < 2) return middle;
    const int room = itp_min(itp_graph_px(p, 16), (p->boxes[end->box].width - 12) / n);
    return middle + (int)((before - (n - 1) / 2.) * room);
}

ITP_FN void itp_graph_arrow(const itp_graph_plan *p, const itp_canvas *c, int x, int y,
                            uint32_t rgb)
{
    const double s = itp_graph_px(p, 4);
    itp_draw_line(c, x, y - 1, x - s, y - 1.5 * s, 1.5 * p->scale, rgb, 1);
    itp_draw_line(c, x, y - 1, x + s, y - 1.5 * s, 1.5 * p->scale, rgb, 1);
}

/* One link; `lane` counts those that have changed columns at this place. */
ITP_FN void itp_graph_draw_link(const itp_graph_plan *p, const itp_canvas *c, int link, int lane)
{
    const itp_graph_link *l = &p->links[link];
    const uint32_t rgb = l->skip ? ITP_RGB_SKIP : ITP_RGB_LINE;
    const double pen = (l->skip ? 2 : 1.4) * p->scale;
    const int x0 = itp_graph_port(p, link, false), x1 = itp_graph_port(p, link, true);
    const int y0 = itp_graph_y(p, l->from, true), y1 = itp_graph_y(p, l->to, false);
    const int from = itp_graph_column_of(p, l->from), to = itp_graph_column_of(p, l->to);
    if (p->points[l->to].box < 0) /* past the layer */
        itp_draw_line(c, x1, y1, x1, itp_graph_y(p, l->to, true), pen, rgb, 1);
    else itp_graph_arrow(p, c, x1, y1, rgb);
    if (from == to) {
        const itp_graph_layer *above = &p->layers[p->points[l->from].layer];
        const int bend = above->y + above->height, land = p->layers[p->points[l->to].layer].y;
        itp_draw_line(c, x0, y0, x0, bend, pen, rgb, 1);
        itp_draw_line(c, x0, bend, x1, land, pen, rgb, 1);
        itp_draw_line(c, x1, land, x1, y1, pen, rgb, 1);
        return;
    }
    const int step = itp_graph_px(p, 6);
    const int low = p->columns[from].bottom + itp_graph_px(p, 14) + lane * step;
    const int high = p->top - itp_graph_px(p, 14) - lane * step;
    const int between = p->columns[to].left - itp_graph_px(p, 18) - lane * step;
    itp_draw_line(c, x0, y0, x0, low, pen, rgb, 1);
    itp_draw_line(c, x0, low, between, low, pen, rgb, 1);
    itp_draw_line(c, between, low, between, high, pen, rgb, 1);
    itp_draw_line(c, between, high, x1, high, pen, rgb, 1);
    itp_draw_line(c, x1, high, x1, y1, pen, rgb, 1);
}

ITP_FN void itp_graph_draw_box(const itp_graph_plan *p, const itp_canvas *c, int point)
{
    const itp_graph_box *box = &p->boxes[p->points[point].box];
    const int strip = itp_graph_px(p, 20), x = itp_graph_x(p, point) - box->width / 2;
    const int right = x + box->width, middle = x + box->width / 2;
    const char *note = p->graph->nodes[box->last].note;
    int y = itp_graph_y(p, point, false);
    itp_draw_rect(c, x, y, right, y + box->height, ITP_RGB_PAPER, 1);
    for (int i = box->first; i >= 0; i = p->next[i], y += strip) {
        const interp_graph_node *node = &p->graph->nodes[i];
        itp_draw_rect(c, x, y, right, y + strip, node->rgb ? node->rgb : ITP_RGB_BOX, 1);
        itp_draw_text(c, middle, y + strip / 2, itp_graph_px(p, 12), INTERP_TEXT_CENTRE,
                      ITP_RGB_TITLE, node->title);
    }
    itp_draw_text(c, middle, y + itp_graph_px(p, 8), itp_graph_px(p, 11), INTERP_TEXT_CENTRE,
                  ITP_RGB_TEXT, note);
    y = itp_graph_y(p, point, false);
    itp_draw_frame(c, x, y, right, y + box->height, ITP_RGB_AXIS);
}

/* A frame in every column that its layers are in, and how often what is in it comes. */
ITP_FN void itp_graph_draw_frame(const itp_graph_plan *p, const itp_canvas *c,
                                 const itp_graph_frame *f)
{
    const int air = itp_graph_px(p, 7), first = p->boxes[f->first_box].layer;
    const int last = p->boxes[f->last_box].layer;
    char text[24];
    for (int at = first; at <= last;) {
        const int column = p->layers[at].column, from = at;
        int left = INT_MAX, right = 0;
        for (; at <= last && p->layers[at].column == column; at++)
            for (int i = p->layers[at].first; i < p->layers[at].first + p->layers[at].n; i++) {
                const int point = p->order[i], x = itp_graph_x(p, point);
                left = itp_min(left, x - itp_graph_half(p, point));
                right = itp_max(right, x + itp_graph_half(p, point));
            }
        const int y0 = p->layers[from].y - air;
        const int y1 = p->layers[at - 1].y + p->layers[at - 1].height + air;
        for (int i = 0; i < itp_graph_px(p, 2); i++)
            itp_draw_frame(c, left - air - i, y0 - i, right + air + i, y1 + i, ITP_RGB_FOLD);
        snprintf(text, sizeof text, from == first ? "x %d" : "...", f->copies);
        itp_draw_text(c, right + air + itp_graph_px(p, 6), y0 + itp_graph_px(p, 7),
                      itp_graph_px(p, 14), INTERP_TEXT_BOLD, ITP_RGB_FOLD, text);
    }
}

ITP_FN void itp_graph_paint(const itp_graph_plan *p, interp_image *image)
{
    const itp_canvas c = itp_canvas_of(image);
    for (int i = 0; i < p->n_layers; i++) {
        int lane = 0;
        for (int k = p->layers[i].first; k < p->layers[i].first + p->layers[i].n; k++)
            for (int l = p->points[p->order[k]].down; l >= 0; l = p->links[l].next_down)
                itp_graph_draw_link(p, &c, l, lane++);
    }
    for (int i = 0; i < p->n_frames; i++) itp_graph_draw_frame(p, &c, &p->frames[i]);
    for (int i = 0; i < p->n_points; i++)
        if (p->points[i].box >= 0) itp_graph_draw_box(p, &c, i);
    itp_draw_text(&c, itp_graph_px(p, 18), itp_graph_px(p, 22), itp_graph_px(p, 15),
                  INTERP_TEXT_BOLD, ITP_RGB_TITLE, p->graph->title);
}

ITP_FN interp_status itp_graph_plan_make(itp_graph_plan *p)
{
    ITP_TRY(itp_graph_check(p->ctx, p->graph));
    p->scale = p->graph->scale > 0 ? (double)p->graph->scale : 1;
    ITP_TRY(itp_graph_make_boxes(p));
    ITP_TRY(itp_graph_make_edges(p));
    ITP_TRY(itp_graph_fold(p));
    itp_graph_layers(p);
    ITP_TRY(itp_graph_make_points(p));
    itp_graph_sort(p);
    itp_graph_place(p);
    itp_graph_wrap(p);
    itp_graph_page(p);
    return INTERP_OK;
}

ITP_FN void itp_graph_plan_free(itp_graph_plan *p)
{
    for (int i = 0; i < p->n_blocks; i++) interp_free(p->ctx, p->blocks[i]);
}

INTERP_API interp_status interp_graph_draw(interp_ctx *ctx, const interp_graph *graph,
                                           interp_image *out)
{
    itp_graph_plan plan;
    interp_image image;
    memset(&plan, 0, sizeof plan);
    plan.ctx = ctx;
    plan.graph = graph;
    interp_status status = itp_graph_plan_make(&plan);
    if (!status) status = interp_image_new(ctx, plan.width, plan.height, ITP_RGB_PAPER, &image);
    if (!status) {
        itp_graph_paint(&plan, &image);
        *out = image;
    }
    itp_graph_plan_free(&plan);
    return status;
}

/* Pictures of graphs: where boxes and lines lie, what is folded, what is refused. */
#define INTERP_NO_ATTR
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "test.h"

enum { MOST = 400, EDGES = 1600 };

static interp_ctx *ctx;

/* A graph being put together. */
typedef struct sketch {
    interp_graph_node nodes[MOST];
    interp_graph_edge edges[EDGES];
    interp_graph graph;
} sketch;

static sketch *sketch_new(void)
{
    sketch *s = (sketch *)calloc(1, sizeof *s);
    s->graph.nodes = s->nodes;
    s->graph.edges = s->edges;
    return s;
}

/* A node that reads a and, unless that is negative, b. */
static int add(sketch *s, const char *title, bool joins, int a, int b)
{
    interp_graph_node *node = &s->nodes[s->graph.n_nodes];
    node->title = title;
    node->note = "[1,2,3]";
    node->joins = joins;
    for (int i = 0; i < 2; i++) {
        if ((i ? b : a) < 0) continue;
        interp_graph_edge *e = &s->edges[s->graph.n_edges++];
        e->from = i ? b : a;
        e->to = s->graph.n_nodes;
    }
    return s->graph.n_nodes++;
}

/* n residual blocks behind an input. */
static int add_blocks(sketch *s, int x, int n, const char *title)
{
    for (int i = 0; i < n; i++) {
        int y = add(s, title, false, x, -1);
        y = add(s, "Relu", true, y, -1);
        y = add(s, title, false, y, -1);
        x = add(s, "Add", true, y, x);
    }
    return x;
}

static sketch *random_sketch(uint64_t seed)
{
    static const char *const titles[] = {"A", "Convolution", "", "BatchNormalization"};
    sketch *s = sketch_new();
    const int n = 2 + (int)(interp_random_u32(seed, 0, 0) % (MOST - 2));
    for (int i = 0; i < n; i++) {
        const uint32_t bits = interp_random_u32(seed, 1, (uint64_t)i);
        const int near = i ? i - 1 - (int)((bits >> 8) % (uint32_t)itp_min(i, 3)) : -1;
        const int far = i && bits % 4 == 0 ? (int)((bits >> 12) % (uint32_t)i) : -1;
        add(s, titles[bits >> 5 & 3], bits >> 7 & 1, bits % 16 ? near : -1, far);
    }
    return s;
}

static interp_status plan_of(itp_graph_plan *p, const interp_graph *graph)
{
    memset(p, 0, sizeof *p);
    p->ctx = ctx;
    p->graph = graph;
    return itp_graph_plan_make(p);
}

/* Left, top, right and bottom of a drawn box. */
static void box_at(const itp_graph_plan *p, int point, int at[4])
{
    const int half = p->boxes[p->points[point].box].width / 2;
    at[0] = itp_graph_x(p, point) - half;
    at[1] = itp_graph_y(p, point, false);
    at[2] = itp_graph_x(p, point) + half;
    at[3] = itp_graph_y(p, point, true);
}

TEST(graph_boxes_never_overlap)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        sketch *s = random_sketch(seed);
        itp_graph_plan p;
        s->graph.title = "a title";
        REQUIRE_OK(ctx, plan_of(&p, &s->graph));
        for (int a = 0; a < p.n_points; a++) {
            int one[4], two[4];
            if (p.points[a].box < 0) continue;
            box_at(&p, a, one);
            CHECK(one[0] >= 0 && one[1] >= p.top && one[2] < p.width && one[3] < p.height);
            for (int b = a + 1; b < p.n_points; b++) {
                if (p.points[b].box < 0) continue;
                box_at(&p, b, two);
                CHECK(one[2] < two[0] || two[2] < one[0] || one[3] < two[1] || two[3] < one[1]);
            }
        }
        itp_graph_plan_free(&p);
        free(s);
    }
}

TEST(graphs_run_downwards)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        sketch *s = random_sketch(seed);
        itp_graph_plan p;
        s->graph.fold_above = -1;
        REQUIRE_OK(ctx, plan_of(&p, &s->graph));
        for (int i = 0; i < p.n_links; i++) {
            const itp_graph_link *l = &p.links[i];
            const int from = itp_graph_column_of(&p, l->from), to = itp_graph_column_of(&p, l->to);
            CHECK(p.points[l->to].layer == p.points[l->from].layer + 1);
            CHECK(from == to ? itp_graph_y(&p, l->from, true) < itp_graph_y(&p, l->to, false)
                             : from + 1 == to);
        }
        for (int i = 0; i < s->graph.n_edges; i++) { /* every edge is there, or within a box */
            const int a = p.box_of[s->edges[i].from], b = p.box_of[s->edges[i].to];
            bool found = a == b;
            for (int e = p.boxes[b].in; e >= 0; e = p.edges[e].next_in)
                found = found || p.edges[e].from == a;
            CHECK(found);
        }
        itp_graph_plan_free(&p);
        free(s);
    }
}

TEST(nodes_that_join_share_a_box)
{
    sketch *s = sketch_new();
    itp_graph_plan p;
    const int x = add(s, "input", false, -1, -1);
    const int a = add(s, "Conv", false, x, -1), b = add(s, "Relu", true, a, -1);
    const int c = add(s, "Relu", true, b, -1); /* `b` is read twice from here on */
    const int d = add(s, "Add", true, b, c);
    REQUIRE_OK(ctx, plan_of(&p, &s->graph));
    CHECK(p.n_boxes == 4 && p.box_of[a] == p.box_of[b] && p.box_of[c] != p.box_of[b]);
    CHECK(p.box_of[d] != p.box_of[c] && p.n_edges == 4);
    itp_graph_plan_free(&p);
    free(s);
}

TEST(repeated_parts_are_drawn_once)
{
    sketch *s = sketch_new();
    itp_graph_plan p;
    int x = add(s, "input", false, -1, -1);
    x = add_blocks(s, x, 1, "First");
    x = add_blocks(s, x, 12, "Middle");
    x = add_blocks(s, x, 9, "Last");
    add(s, "output", false, x, -1);
    REQUIRE_OK(ctx, plan_of(&p, &s->graph));
    CHECK(p.n_boxes == 2 + 22 * 3);
    CHECK(p.n_frames == 2 && p.frames[0].copies == 12 && p.frames[1].copies == 9);
    int drawn = 0;
    for (int b = 0; b < p.n_boxes; b++) drawn += p.boxes[b].stand_in < 0;
    CHECK(drawn == 2 + 3 * 3);
    for (int i = 0; i < p.n_frames; i++) /* a frame is not torn by a new column */
        CHECK(p.layers[p.boxes[p.frames[i].first_box].layer].column ==
              p.layers[p.boxes[p.frames[i].last_box].layer].column);
    itp_graph_plan_free(&p);
    s->graph.fold_above = -1;
    REQUIRE_OK(ctx, plan_of(&p, &s->graph));
    CHECK(p.n_frames == 0 && p.n_columns > 3);
    itp_graph_plan_free(&p);
    s->graph.fold_above = 500;
    REQUIRE_OK(ctx, plan_of(&p, &s->graph));
    CHECK(p.n_frames == 0);
    itp_graph_plan_free(&p);
    free(s);
}

/* The main road of a residual network is straight: every box stands below the one before it. */
TEST(chains_are_straight)
{
    sketch *s = sketch_new();
    itp_graph_plan p;
    add_blocks(s, add(s, "input", false, -1, -1), 6, "Conv");
    s->graph.aspect = 0.01f; /* one column */
    REQUIRE_OK(ctx, plan_of(&p, &s->graph));
    CHECK(p.n_columns == 1);
    for (int b = 1; b < p.n_boxes; b++)
        CHECK_NEAR(p.points[p.boxes[b].point].x, p.points[p.boxes[b - 1].point].x, 3);
    itp_graph_plan_free(&p);
    free(s);
}

TEST(long_graphs_take_the_shape_asked_for)
{
    static const float aspects[] = {0.5f, 1, 2};
    for (int i = 0; i < 3; i++) {
        sketch *s = sketch_new();
        interp_image image;
        add_blocks(s, add(s, "input", false, -1, -1), 60, "Conv");
        s->graph.fold_above = -1;
        s->graph.aspect = aspects[i];
        REQUIRE_OK(ctx, interp_graph_draw(ctx, &s->graph, &image));
        const double got = (double)image.width / image.height;
        CHECK(got > 0.6 * (double)aspects[i] && got < 1.7 * (double)aspects[i]);
        interp_image_free(ctx, &image);
        free(s);
    }
}

TEST(boxes_have_their_colour)
{
    sketch *s = sketch_new();
    interp_image image;
    itp_graph_plan p;
    int at[4];
    s->nodes[0].rgb = 0x123456;
    add(s, "A", false, -1, -1);
    for (int scale = 1; scale <= 3; scale++) {
        s->graph.scale = (float)scale;
        REQUIRE_OK(ctx, plan_of(&p, &s->graph));
        REQUIRE_OK(ctx, interp_graph_draw(ctx, &s->graph, &image));
        CHECK(image.width == p.width && image.height == p.height);
        box_at(&p, 0, at);
        const uint8_t *c = image.rgb + 3 * ((at[1] + 2) * image.width + at[0] + 2);
        CHECK(c[0] == 0x12 && c[1] == 0x34 && c[2] == 0x56);
        interp_image_free(ctx, &image);
        itp_graph_plan_free(&p);
    }
    free(s);
}

TEST(graphs_that_cannot_be_drawn_are_refused)
{
    sketch *s = sketch_new();
    interp_image image;
    CHECK(interp_graph_draw(ctx, NULL, &image) == INTERP_BAD_ARGUMENT);
    CHECK(interp_graph_draw(ctx, &s->graph, &image) == INTERP_BAD_ARGUMENT);
    add(s, "A", false, -1, -1);
    add(s, NULL, false, 0, -1);
    s->nodes[1].note = NULL;
    CHECK_OK(ctx, interp_graph_draw(ctx, &s->graph, &image));
    interp_image_free(ctx, &image);
    static const int wrong[4][2] = {{1, 0}, {0, 0}, {-1, 1}, {0, 2}};
    for (int i = 0; i < 4; i++) {
        s->edges[0].from = wrong[i][0], s->edges[0].to = wrong[i][1];
        CHECK(interp_graph_draw(ctx, &s->graph, &image) == INTERP_BAD_ARGUMENT);
        CHECK(strstr(interp_error(ctx), "it must go forward") != NULL);
    }
    s->graph.n_edges = 0;
    s->graph.scale = -1;
    CHECK(interp_graph_draw(ctx, &s->graph, &image) == INTERP_BAD_ARGUMENT);
    s->graph.scale = (float)NAN;
    CHECK(interp_graph_draw(ctx, &s->graph, &image) == INTERP_BAD_ARGUMENT);
    free(s);
    /* Lines that pass very many layers. */
    enum { n = 1200 };
    interp_graph_node *nodes = (interp_graph_node *)calloc(n, sizeof *nodes);
    interp_graph_edge *edges = (interp_graph_edge *)calloc(2 * n, sizeof *edges);
    interp_graph g;
    memset(&g, 0, sizeof g);
    g.nodes = nodes, g.n_nodes = n, g.edges = edges;
    for (int i = 1; i < n; i++) {
        edges[g.n_edges].from = i - 1, edges[g.n_edges++].to = i;
        edges[g.n_edges].from = i / 2, edges[g.n_edges++].to = i;
        if (i / 2 == i) g.n_edges--;
    }
    for (int i = 0; i < g.n_edges; i++) CHECK(edges[i].from < edges[i].to);
    CHECK(interp_graph_draw(ctx, &g, &image) == INTERP_UNSUPPORTED);
    CHECK(strstr(interp_error(ctx), "too many to draw") != NULL);
    free(nodes);
    free(edges);
}

TEST(drawing_survives_every_allocation_failing)
{
    sketch *s = sketch_new();
    add_blocks(s, add(s, "input", false, -1, -1), 20, "Conv");
    const size_t before = interp_memory_read(ctx).used;
    bool done = false;
    for (size_t limit = before; !done; limit += 1024) {
        interp_image image;
        interp_memory_set_limit(ctx, limit);
        const interp_status status = interp_graph_draw(ctx, &s->graph, &image);
        done = status == INTERP_OK;
        CHECK(done || status == INTERP_NO_MEMORY);
        if (done) interp_image_free(ctx, &image);
        CHECK(interp_memory_read(ctx).used == before);
    }
    interp_memory_set_limit(ctx, 0);
    free(s);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    if (!ctx) return 1;
    RUN(graph_boxes_never_overlap);
    RUN(graphs_run_downwards);
    RUN(nodes_that_join_share_a_box);
    RUN(repeated_parts_are_drawn_once);
    RUN(chains_are_straight);
    RUN(long_graphs_take_the_shape_asked_for);
    RUN(boxes_have_their_colour);
    RUN(graphs_that_cannot_be_drawn_are_refused);
    RUN(drawing_survives_every_allocation_failing);
    interp_close(ctx);
    return test_end(argc, argv);
}

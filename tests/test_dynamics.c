/* Box maps, Morse graphs, Conley indices, retractions, Gaussian processes and ensembles: against CMGDB
   1.4.0 compiled unmodified, scikit-learn's process, axioms, and definitions. */
#include "interp.h"
#include "heap.h"
#include "maps.h"
#include "test.h"

#define REFS "../shared/refs/cmgdb/"

/* Hashes of whole graphs hold where double arithmetic and exp are those of the references: x86-64
   without contraction, glibc. Elsewhere the number of sets must hold. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__FMA__)
#define SAME_ARITHMETIC true
#else
#define SAME_ARITHMETIC false
#endif

static interp_ctx *open_with(int threads)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = threads;
    return interp_open(&d);
}

/* FNV-1a with the references' basis, 8 bytes a number, the lowest first. */
static uint64_t hash_add(uint64_t h, uint64_t v)
{
    for (int i = 0; i < 8; i++) h = (h ^ (v >> (8 * i) & 255)) * 1099511628211u;
    return h;
}

static const uint64_t hash_start = 1469598103934665603u;

/* ---- maps; others are in maps.h */

static interp_status circle(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++) y[i] = x[i] + 0.1 * sin(2 * 3.14159265358979323846 * x[i]);
    return INTERP_OK;
}

/* ---- the references: what CMGDB found */

typedef struct reference {
    const char *name;
    interp_point_map f;
    int d;
    double lower[4], upper[4];
    int min, max, init; /* max 0: all boxes at once */
    bool padding, periodic;
    double r;
    uint32_t boxes;
    uint64_t edges, digraph;
    int sets;
    uint64_t set_hash, edge_hash,
        raw_hash;    /* sizes and boxes of sets; edges; edges before reduction */
    uint64_t conley; /* of the indices as text; 0: not known */
} reference;

/* clang-format off */
static const reference references[] = {
    {"circle_u10_per", circle, 1, {0}, {1}, 10, 0, 0, true, true, 0, 1024, 4098,
     0xf35e294b777f3551, 8, 0x1e626cf74a904fc7, 0x24a8f9e2b91e42a3, 0xa23651540b328a84,
     0x9a6daa6100efe958},
    {"henon2d_conley_u12_pad", henon, 2, {-1.5, -0.5}, {1.5, 0.5}, 12, 0, 0, true, false, 0,
     4096, 75840, 0xba5f688e566907b, 2, 0xa60c1a9e4ac1990e, 0x5420115802dc1402,
     0x5420115802dc1402, 0xa755806561975538},
    {"henon2d_u16_pad", henon, 2, {-1.5, -0.5}, {1.5, 0.5}, 16, 0, 0, true, false, 0, 65536,
     1214936, 0x76ecbea3fe5ba48f, 1, 0x14c3a2c101c6cac8, 0x14650fb0739d0383, 0x14650fb0739d0383,
     0},
    {"leslie2d_a20_24", leslie, 2, {-0.001, -0.001}, {90, 70}, 20, 24, 0, false, false, 0, 63040,
     468435, 0x565b8d6b1dc567b0, 2, 0x617fe9ba846a121, 0x5420115802dc1402, 0x5420115802dc1402, 0},
    {"leslie2d_conley_a20_22", leslie, 2, {-0.001, -0.001}, {90, 70}, 20, 22, 0, false, false, 0,
     63040, 468435, 0x565b8d6b1dc567b0, 2, 0x617fe9ba846a121, 0x5420115802dc1402,
     0x5420115802dc1402, 0xf7782990f792ae4c},
    {"leslie2d_conley_a20_30_pad", leslie, 2, {-0.001, -0.001}, {90, 70}, 20, 30, 0, true, false,
     0, 104822, 2738071, 0x252679d1d1941ac0, 4, 0x3813cdcd46bf712c, 0x7432eb2568868260,
     0xf588a5595227d9c3, 0x93788e7b0e92786c},
    {"leslie2d_conley_u10_pad", leslie, 2, {-0.001, -0.001}, {90, 70}, 10, 0, 0, true, false, 0,
     1024, 11414, 0x58a2594814290a18, 1, 0x6259aebf03b699d8, 0x14650fb0739d0383,
     0x14650fb0739d0383, 0x60bbd95f41a212e7},
    {"leslie2d_conley_u12_pad", leslie, 2, {-0.001, -0.001}, {90, 70}, 12, 0, 0, true, false, 0,
     4096, 48384, 0xded9942265ac05f2, 2, 0xa79347ab0d83f591, 0x5420115802dc1402,
     0x5420115802dc1402, 0xf7782990f792ae4c},
    {"leslie2d_u12", leslie, 2, {-0.001, -0.001}, {90, 70}, 12, 0, 0, false, false, 0, 4096,
     13240, 0x552a505a997af1f0, 2, 0x6ef15e23ab13d5bb, 0x5420115802dc1402, 0x5420115802dc1402, 0},
    {"leslie2d_u14", leslie, 2, {-0.001, -0.001}, {90, 70}, 14, 0, 0, false, false, 0, 16384,
     53604, 0x30efc7fabde6b6aa, 6, 0x8276605454ffecff, 0x46901b518ff6a703, 0x20dcd4d312bf8086, 0},
    {"leslie2d_u14_pad", leslie, 2, {-0.001, -0.001}, {90, 70}, 14, 0, 0, true, false, 0, 16384,
     202269, 0x1480ebf0c29b6fc6, 2, 0xf91e583ca98e2035, 0x5420115802dc1402, 0x5420115802dc1402,
     0},
    {"leslie2d_u18", leslie, 2, {-0.001, -0.001}, {90, 70}, 18, 0, 0, false, false, 0, 262144,
     863626, 0x5878c574a20c1513, 7, 0x8882114b8657b64, 0x6606165e7066eaa5, 0x1d7307cb1c6a9fe3, 0},
    {"leslie2d_u8_pad", leslie, 2, {-0.001, -0.001}, {90, 70}, 8, 0, 0, true, false, 0, 256,
     2641, 0xbd1ca8d86f89450d, 1, 0xfec4e8e2083abb7c, 0x14650fb0739d0383, 0x14650fb0739d0383, 0},
    {"leslie3d_conley_a15_18_pad", leslie, 3, {-0.001, -0.001, -0.001}, {90, 65, 45}, 15, 18, 0,
     true, false, 0, 6782, 524291, 0xac47533b19e958c2, 1, 0x39adf4f02250d029, 0x14650fb0739d0383,
     0x14650fb0739d0383, 0x34a96e0ec89c2b7b},
    {"leslie3d_conley_a18_21", leslie, 3, {-0.001, -0.001, -0.001}, {90, 65, 45}, 18, 21, 0,
     false, false, 0, 11400, 178148, 0x3fd44f420358e7f8, 2, 0xe2fb39d0120e9c52,
     0x5420115802dc1402, 0x5420115802dc1402, 0x8680e0a99be5a00a},
    {"leslie3d_u12", leslie, 3, {-0.001, -0.001, -0.001}, {90, 65, 45}, 12, 0, 0, false, false,
     0, 4096, 19476, 0xa9c74afb3df6df1d, 1, 0x53a6b0198b95bb09, 0x14650fb0739d0383,
     0x14650fb0739d0383, 0},
    {"leslie3d_u15", leslie, 3, {-0.001, -0.001, -0.001}, {90, 65, 45}, 15, 0, 0, false, false,
     0, 32768, 165186, 0x4e4bbf18ca57ec0, 2, 0x8a185b1c39bf2c63, 0x5420115802dc1402,
     0x5420115802dc1402, 0},
    {"leslie3d_u18", leslie, 3, {-0.001, -0.001, -0.001}, {90, 65, 45}, 18, 0, 0, false, false,
     0, 262144, 1356910, 0x12863af566e2dce8, 4, 0x2fbac3fbf24657ce, 0xb22879377e6516a2,
     0x928de479276236a0, 0},
    {"logistic_r0.8_u12_pad", logistic, 1, {-0.1}, {1.1}, 12, 0, 0, true, false, 0.8, 4096,
     14280, 0x475d2778217aee4b, 9, 0x6f9d6c6a614b50f7, 0xfb83ed8983c44a8f, 0x64d14207d86fa003,
     0xbf74742bc60a0cfb},
    {"logistic_r1.4_u10_pad", logistic, 1, {-1}, {1}, 10, 0, 0, true, false, 1.4, 1024, 3157,
     0x62f61df1f4f77596, 10, 0xc7b687cbdb6f63c6, 0x11eaf0c2ea7056ea, 0x6e8118490b421922,
     0xe08a57b9cfdfba78},
    {"logistic_r3.2_a8_16_pad", logistic, 1, {-0.1}, {1.1}, 8, 16, 4, true, false, 3.2, 126, 722,
     0xde23104f8e4d5537, 3, 0x183cbaa702412ba, 0x92c1a0300ab05e21, 0xf979acccdeff8ea3,
     0x70e2508c8c95971},
    {"logistic_r3.2_u12_pad", logistic, 1, {-0.1}, {1.1}, 12, 0, 0, true, false, 3.2, 4096,
     17050, 0x8c2b310eb3e63c77, 8, 0x9752b67d136901a, 0x1770925b66fc6224, 0xda51bce7e8d2a203,
     0x208a401c252e0ec6},
    {"logistic_r3.5_u12_pad", logistic, 1, {-0.1}, {1.1}, 12, 0, 0, true, false, 3.5, 4096,
     17476, 0x26f8f4a6d45f0ebb, 8, 0xeda711786f4666a3, 0x1770925b66fc6224, 0xda51bce7e8d2a203,
     0xc126dc3f526a265e},
    {"logistic_r4.0_u12_pad", logistic, 1, {-0.1}, {1.1}, 12, 0, 0, true, false, 4.0, 4096,
     18248, 0xf556671831a1d247, 2, 0x704b04e213444296, 0x5420115802dc1402, 0x5420115802dc1402,
     0xa22bcdb74b444fb8},
    {"product2d_1.2_i4_a6_10", product, 2, {0, 0}, {1.2, 1.2}, 6, 10, 4, false, false, 0, 124,
     453, 0xefb180880e9d6a9c, 4, 0x1abd57f5a52928e6, 0x2688fe8a8b8d6723, 0xe75283532c242b20,
     0xf68a57959e1227d8},
    {"product2d_1.2_u12", product, 2, {0, 0}, {1.2, 1.2}, 12, 0, 0, false, false, 0, 4096, 15129,
     0x1b6a29d9d0c9a459, 25, 0xa47214ca0b4619d8, 0xa0052192b8cd15c0, 0xd4948d51da7b346a,
     0xecf66e93fb0f6093},
    {"product2d_a6_8", product, 2, {0, 0}, {1, 1}, 6, 8, 0, false, false, 0, 68, 237,
     0x1948ec86e3b2d608, 4, 0xe1f57685bb3591de, 0x7432eb2568868260, 0xf588a5595227d9c3,
     0x52c2e1ed6abbebec},
    {"product2d_i4_a6_8", product, 2, {0, 0}, {1, 1}, 6, 8, 4, false, false, 0, 68, 237,
     0x1948ec86e3b2d608, 4, 0xe1f57685bb3591de, 0x2688fe8a8b8d6723, 0xe75283532c242b20,
     0x52c2e1ed6abbebec},
    {"product2d_u8", product, 2, {0, 0}, {1, 1}, 8, 0, 0, false, false, 0, 256, 961,
     0x183eef19823700ca, 16, 0xe036f421c4bf6db7, 0x2473377586762c3, 0xaf1cd64543a2ef83,
     0xf1ebf0ca06d377ac},
    {"product3d_1.2_u15", product, 3, {0, 0, 0}, {1.2, 1.2, 1.2}, 15, 0, 0, false, false, 0,
     32768, 238328, 0xee0a137bd42c85c3, 125, 0xaf23d2a19d716b2b, 0xee9ba473d26dcde2,
     0x2ae029bf2636942a, 0},
};
/* clang-format on */

enum { REFERENCES = sizeof references / sizeof *references };

typedef struct problem {
    settings s;
    interp_map map;
    interp_morse_desc desc;
    bool periodic[4];
} problem;

static void problem_open(problem *p, const reference *r)
{
    memset(p, 0, sizeof *p);
    p->s.d = r->d, p->s.r = r->r;
    p->map.dims = r->d;
    p->map.points = r->f;
    p->map.user = &p->s;
    p->map.padding = r->padding;
    p->map.concurrent = true;
    p->desc.lower = r->lower, p->desc.upper = r->upper;
    p->desc.min = r->min, p->desc.max = r->max, p->desc.init = r->init;
    for (int j = 0; j < 4; j++) p->periodic[j] = r->periodic;
    p->desc.periodic = p->periodic;
}

static const reference *reference_of(const char *name)
{
    for (int i = 0; i < REFERENCES; i++)
        if (!strcmp(references[i].name, name)) return &references[i];
    return NULL;
}

static uint64_t hash_sets(const interp_morse *m)
{
    uint64_t h = hash_start;
    for (int s = 0; s < interp_morse_count(m); s++) {
        uint32_t n;
        const uint32_t *box = interp_morse_set(m, s, &n);
        uint64_t inner = hash_start;
        for (uint32_t i = 0; i < n; i++) inner = hash_add(inner, box[i]);
        h = hash_add(hash_add(h, n), inner);
    }
    return h;
}

static uint64_t hash_edges(const interp_morse *m, bool reduced)
{
    uint64_t h = hash_start;
    for (int i = 0; i < interp_morse_count(m); i++)
        for (int j = 0; j < interp_morse_count(m); j++)
            if (reduced ? interp_morse_edge(m, i, j) : interp_morse_reaches(m, i, j))
                h = hash_add(hash_add(h, (uint64_t)i), (uint64_t)j);
    return h;
}

/* Whether a decomposition is the reference's, with a line about what is not. */
static bool same_morse(const interp_morse *m, const reference *r)
{
    const bool sets = interp_morse_count(m) == r->sets;
    const bool rest = interp_morse_boxes(m) == r->boxes && hash_sets(m) == r->set_hash &&
                      hash_edges(m, true) == r->edge_hash && hash_edges(m, false) == r->raw_hash;
    if (!sets || (SAME_ARITHMETIC && !rest))
        printf("  %s: %d sets in %u boxes, CMGDB %d in %u\n", r->name, interp_morse_count(m),
               (unsigned)interp_morse_boxes(m), r->sets, (unsigned)r->boxes);
    return sets && (rest || !SAME_ARITHMETIC);
}

static void check_references(bool uniform)
{
    interp_ctx *ctx = open_with(1);
    for (int i = 0; i < REFERENCES; i++) {
        const reference *r = &references[i];
        problem p;
        interp_morse *m = NULL;
        if ((r->max == 0) != uniform || (slow_here() && r->boxes > 20000)) continue;
        problem_open(&p, r);
        CHECK_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        CHECK(m && same_morse(m, r));
        interp_morse_free(m);
    }
    interp_close(ctx);
}

TEST(morse_sets_are_those_of_cmgdb)
{
    check_references(true);
}

TEST(adaptive_grids_find_the_same_sets)
{
    check_references(false);
}

TEST(digraphs_are_those_of_cmgdb)
{
    interp_ctx *ctx = open_with(2);
    for (int i = 0; i < REFERENCES; i++) {
        const reference *r = &references[i];
        problem p;
        interp_morse *m = NULL;
        if (r->boxes > (slow_here() ? 5000u : 120000u)) continue;
        problem_open(&p, r);
        CHECK_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        if (!m) continue;
        const uint32_t n = interp_morse_boxes(m);
        uint32_t *to = (uint32_t *)malloc(n * sizeof *to), k = 0;
        uint64_t h = hash_start, edges = 0;
        bool rising = true;
        for (uint32_t b = 0; to && b < n; b++) {
            CHECK_OK(ctx, interp_morse_image(m, b, to, &k));
            h = hash_add(h, k);
            edges += k;
            for (uint32_t e = 0; e < k; e++) {
                h = hash_add(h, to[e]);
                rising &= e == 0 || to[e - 1] < to[e];
            }
        }
        CHECK(rising);
        if (SAME_ARITHMETIC && (edges != r->edges || h != r->digraph))
            test_fail(__FILE__, __LINE__, "%s: %llu edges, CMGDB %llu", r->name,
                      (unsigned long long)edges, (unsigned long long)r->edges);
        free(to);
        interp_morse_free(m);
    }
    interp_close(ctx);
}

TEST(conley_indices_are_those_of_cmgdb)
{
    interp_ctx *ctx = open_with(1);
    for (int i = 0; i < REFERENCES; i++) {
        const reference *r = &references[i];
        problem p;
        interp_morse *m = NULL;
        uint64_t h = hash_start;
        if (!r->conley || (slow_here() && r->boxes > 5000)) continue;
        problem_open(&p, r);
        CHECK_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        for (int s = 0; m && s < interp_morse_count(m); s++) {
            interp_conley c;
            char text[400] = "";
            REQUIRE_OK(ctx, interp_morse_conley(m, s, 0, &c));
            for (int k = 0; k <= r->d && c.defined; k++)
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k ? "," : "",
                         c.text[k]);
            if (!c.defined) snprintf(text, sizeof text, "undefined");
            if (s) h = hash_add(hash_add(h, ';'), ' ');
            for (const char *t = text; *t; t++) h = hash_add(h, (uint64_t)*t);
            interp_free(ctx, c.text[0]);
        }
        if (SAME_ARITHMETIC && h != r->conley)
            test_fail(__FILE__, __LINE__, "%s: other indices", r->name);
        interp_morse_free(m);
    }
    interp_close(ctx);
}

/* ---- indices that are known from theory, in any arithmetic */

static interp_status saddle(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++, x += 3, y += 3)
        y[0] = 2 * x[0], y[1] = -x[1] / 2, y[2] = -3 * x[2];
    return INTERP_OK;
}

TEST(a_saddle_has_the_index_of_its_unstable_directions)
{
    const double lower[3] = {-1.03, -1.01, -1.02}, upper[3] = {1, 1, 1};
    interp_ctx *ctx = open_with(1);
    interp_morse *m = NULL;
    interp_map map;
    interp_morse_desc d;
    interp_conley c;
    memset(&map, 0, sizeof map);
    memset(&d, 0, sizeof d);
    map.dims = 3, map.points = saddle, map.padding = true;
    d.lower = lower, d.upper = upper, d.min = 15;
    REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &d, &m));
    for (int p = 2; p <= 7; p += p == 2 ? 1 : 2) { /* x -> -3 x turns the second direction round */
        bool seen = false;
        for (int s = 0; s < interp_morse_count(m); s++) {
            REQUIRE_OK(ctx, interp_morse_conley(m, s, p, &c));
            seen |= c.defined && !strcmp(c.text[2], "x+1") && !strcmp(c.text[0], "0") &&
                    !strcmp(c.text[1], "0") && !strcmp(c.text[3], "0");
            interp_free(ctx, c.text[0]);
        }
        CHECK(seen);
    }
    CHECK(interp_morse_conley(m, 0, 6, &c) == INTERP_BAD_ARGUMENT);
    CHECK(interp_morse_conley(m, 99999, 5, &c) == INTERP_BAD_ARGUMENT);
    interp_morse_free(m);
    interp_close(ctx);
}

/* ---- many sets, many dimensions */

static interp_status leave(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++) y[i] = x[i] + 10;
    return INTERP_OK;
}

TEST(maps_that_leave_have_neither_sets_nor_tiles)
{
    const double lower[1] = {0}, upper[1] = {1};
    interp_ctx *ctx = open_with(1);
    interp_morse *m = NULL;
    interp_map map;
    interp_morse_desc d;
    interp_retraction r;
    interp_basins b;
    memset(&map, 0, sizeof map);
    memset(&d, 0, sizeof d);
    map.dims = 1, map.points = leave;
    d.lower = lower, d.upper = upper, d.min = 6;
    REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &d, &m));
    CHECK(interp_morse_count(m) == 0 && interp_morse_boxes(m) == 64);
    REQUIRE_OK(ctx, interp_morse_retract(m, &r));
    REQUIRE_OK(ctx, interp_morse_basins(m, &b));
    CHECK(r.sets == 0 && r.empty == 64 && b.none == 64);
    for (int i = 0; i < 64; i++) CHECK(r.tile[i] == -1 && b.attractor[i] == -1);
    interp_free(ctx, r.tile);
    interp_free(ctx, r.size);
    interp_free(ctx, b.attractor);
    interp_morse_free(m);
    interp_close(ctx);
}

/* Leslie's map in more boxes and dimensions: what CMGDB's own benchmark found. */
TEST(larger_maps_have_the_sets_of_cmgdb)
{
    static const double lower[4] = {-0.001, -0.001, -0.001, -0.001};
    static const double upper[3][4] = {{90, 70}, {90, 65, 45}, {90, 65, 45, 32}};
    static const struct {
        int d, min, max;
        uint32_t boxes, largest;
        const char *index; /* of the larger of its two sets; NULL: not known */
    } known[] = {{3, 21, 24, 38070, 16724, NULL},       {3, 24, 27, 102955, 35818, NULL},
                 {2, 24, 28, 571980, 451595, NULL},     {4, 22, 26, 62024, 28121, NULL},
                 {3, 18, 21, 11400, 6740, "0 x+1 0 0"}, {4, 16, 20, 2715, 2014, "0 x+1 0 0 0"}};
    interp_ctx *ctx = open_with(2);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (slow_here() && known[i].boxes > 20000) continue;
        settings user = {known[i].d, 0};
        interp_map map;
        interp_morse_desc desc;
        interp_morse *m = NULL;
        uint32_t boxes[2] = {0, 0};
        memset(&map, 0, sizeof map);
        memset(&desc, 0, sizeof desc);
        map.dims = known[i].d, map.points = leslie, map.user = &user;
        desc.lower = lower, desc.upper = upper[known[i].d - 2];
        desc.min = known[i].min, desc.max = known[i].max;
        REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &desc, &m));
        CHECK(interp_morse_boxes(m) == known[i].boxes);
        REQUIRE(interp_morse_count(m) == 2);
        for (int s = 0; s < 2; s++) interp_morse_set(m, s, &boxes[s]);
        CHECK(boxes[0] == known[i].largest && boxes[1] == 1); /* a point leads to it */
        CHECK(interp_morse_edge(m, 1, 0) && !interp_morse_edge(m, 0, 1));
        if (known[i].index) {
            char text[64] = "";
            interp_conley c;
            REQUIRE_OK(ctx, interp_morse_conley(m, 0, 0, &c));
            for (int k = 0; k <= known[i].d; k++)
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k ? " " : "",
                         c.text[k]);
            CHECK(c.defined && !strcmp(text, known[i].index));
            interp_free(ctx, c.text[0]);
        }
        interp_morse_free(m);
    }
    interp_close(ctx);
}

TEST(more_sets_than_a_word_has_bits_keep_their_order)
{
    const double lower[4] = {0, 0, 0, 0}, upper[4] = {1, 1, 1, 1};
    settings s = {4, 0};
    interp_ctx *ctx = open_with(1);
    interp_morse *m = NULL;
    interp_map map;
    interp_morse_desc d;
    interp_retraction r;
    interp_basins b;
    memset(&map, 0, sizeof map);
    memset(&d, 0, sizeof d);
    map.dims = 4, map.points = product, map.user = &s;
    d.lower = lower, d.upper = upper, d.min = 16;
    REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &d, &m));
    int raw = 0, reduced = 0;
    const int n = interp_morse_count(m);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            raw += interp_morse_reaches(m, i, j);
            reduced += interp_morse_edge(m, i, j);
        }
    CHECK(n == 256);           /* four boxes of each axis return to themselves */
    CHECK(raw == 10000 - 256); /* 10 ordered pairs on each of four axes */
    CHECK(reduced == 4 * 3 * 64);
    REQUIRE_OK(ctx, interp_morse_basins(m, &b));
    CHECK(b.none == 0 && b.several == 0); /* 0 attracts everything */
    REQUIRE_OK(ctx, interp_morse_retract(m, &r));
    CHECK(r.violated == 0 && r.sets == 256);
    interp_free(ctx, b.attractor);
    interp_free(ctx, r.tile);
    interp_free(ctx, r.size);
    interp_morse_free(m);
    interp_close(ctx);
}

TEST(spurious_edges_go_on_the_final_grid)
{
    interp_ctx *ctx = open_with(1);
    for (int exact = 0; exact < 2; exact++) {
        problem p;
        interp_morse *m = NULL;
        problem_open(&p, reference_of("product2d_a6_8"));
        p.desc.exact_edges = exact;
        REQUIRE_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        REQUIRE(interp_morse_count(m) == 4);
        /* one of the two in the middle does not lead to the other, as with init 4 */
        CHECK(interp_morse_reaches(m, 2, 1) == !exact);
        CHECK(interp_morse_reaches(m, 3, 1) && interp_morse_reaches(m, 3, 2));
        CHECK(interp_morse_reaches(m, 2, 0) && interp_morse_reaches(m, 1, 0));
        interp_morse_free(m);
    }
    interp_close(ctx);
}

/* ---- tiles and basins */

TEST(basins_and_tiles_are_the_references)
{
    static const struct {
        const char *name;
        uint32_t components, succ, pred, parallel, none, several, tile[8];
        uint64_t hash;
    } want[] = {{"leslie2d_u14",
                 14275,
                 12758,
                 0,
                 1511,
                 0,
                 0,
                 {3550, 278, 44, 8955, 2045, 1512},
                 0xd8f012ee6b1a1fc4},
                {"leslie2d_u18",
                 246425,
                 243396,
                 2,
                 3020,
                 0,
                 38585,
                 {38472, 24386, 78021, 78986, 674, 38582, 3023},
                 0x9f74286df0191967},
                {"logistic_r3.5_u12_pad",
                 3966,
                 3278,
                 340,
                 340,
                 680,
                 0,
                 {3420, 56, 566, 10, 6, 32, 2, 4},
                 0x1d5b7ac3f99874e3},
                {"product2d_1.2_u12",
                 4096,
                 3000,
                 1071,
                 0,
                 1071,
                 109,
                 {1, 51, 51, 2601, 1, 483, 1, 51},
                 0x6f1e797ac8052f6e}};
    interp_ctx *ctx = open_with(1);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        problem p;
        interp_morse *m = NULL;
        interp_retraction r;
        interp_basins b;
        const reference *ref = reference_of(want[i].name);
        REQUIRE(ref);
        if (slow_here() && ref->boxes > 20000) continue;
        problem_open(&p, ref);
        REQUIRE_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        REQUIRE_OK(ctx, interp_morse_retract(m, &r));
        REQUIRE_OK(ctx, interp_morse_basins(m, &b));
        uint64_t h = hash_start;
        for (uint32_t v = 0; v < interp_morse_boxes(m); v++)
            h = hash_add(h, (uint64_t)(int64_t)r.tile[v]);
        CHECK(r.violated == 0 && r.empty == 0 && r.failed == 0 && r.trimmed == 0);
        if (SAME_ARITHMETIC) {
            CHECK(r.components == want[i].components && r.succ == want[i].succ);
            CHECK(r.pred == want[i].pred && r.parallel == want[i].parallel);
            CHECK(b.none == want[i].none && b.several == want[i].several);
            for (int s = 0; s < 8 && s < r.sets; s++) CHECK(r.size[s] == want[i].tile[s]);
            CHECK(h == want[i].hash);
        }
        for (int s = 0; s < interp_morse_count(m); s++) { /* sets stay themselves */
            uint32_t n;
            const uint32_t *box = interp_morse_set(m, s, &n);
            for (uint32_t k = 0; k < n; k++) CHECK(r.tile[box[k]] == s);
        }
        interp_free(ctx, r.tile);
        interp_free(ctx, r.size);
        interp_free(ctx, b.attractor);
        interp_morse_free(m);
    }
    interp_close(ctx);
}

/* ---- boxes */

TEST(boxes_are_found_again)
{
    static const char *const names[] = {"leslie2d_u12", "leslie2d_conley_a20_22",
                                        "product2d_i4_a6_8", "circle_u10_per", "leslie3d_u12"};
    interp_ctx *ctx = open_with(1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        problem p;
        interp_morse *m = NULL;
        const reference *r = reference_of(names[i]);
        REQUIRE(r);
        problem_open(&p, r);
        REQUIRE_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        double volume = 0, whole = 1, outside[4];
        uint32_t wrong = 0;
        for (int j = 0; j < r->d; j++) {
            whole *= r->upper[j] - r->lower[j];
            outside[j] = r->upper[j] + 1e-6;
        }
        for (uint32_t b = 0; b < interp_morse_boxes(m); b++) {
            double lower[4], upper[4], middle[4], part = 1;
            interp_morse_box(m, b, lower, upper);
            for (int j = 0; j < r->d; j++) {
                part *= upper[j] - lower[j];
                middle[j] = (lower[j] + upper[j]) / 2;
            }
            volume += part;
            wrong += interp_morse_find(m, middle) != b;
        }
        CHECK(wrong == 0);
        CHECK_NEAR(volume, whole, 1e-9 * whole); /* they fill the domain */
        if (!r->periodic) CHECK(interp_morse_find(m, outside) == UINT32_MAX);
        interp_morse_free(m);
    }
    interp_close(ctx);
}

TEST(ends_of_a_periodic_axis_meet)
{
    problem p;
    interp_morse *m = NULL;
    interp_ctx *ctx = open_with(1);
    uint32_t to[1024], n;
    problem_open(&p, reference_of("circle_u10_per"));
    REQUIRE_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
    CHECK_OK(ctx, interp_morse_image(m, 0, to, &n));
    CHECK(n >= 3 && to[0] == 0 && to[n - 1] == 1023); /* around 0, which is 1 */
    interp_morse_free(m);
    interp_close(ctx);
}

/* Every point's image lies in the image of its box. */
TEST(lipschitz_images_hold_every_point)
{
    const double lower[2] = {-1.5, -0.5}, upper[2] = {1.5, 0.5};
    const double slopes[4] = {2 * 1.4 * 1.5, 1, 0.3, 0};
    interp_ctx *ctx = open_with(1);
    for (int mode = 0; mode < 3; mode++) {
        interp_map map;
        interp_morse_desc d;
        interp_morse *m = NULL;
        uint32_t to[1024], n, missed = 0;
        memset(&map, 0, sizeof map);
        memset(&d, 0, sizeof d);
        map.dims = 2, map.points = henon, map.mode = (interp_box_mode)mode, map.lipschitz = slopes;
        d.lower = lower, d.upper = upper, d.min = 10;
        REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &d, &m));
        for (uint32_t i = 0; i < 3000; i++) {
            double x[2], y[2];
            for (int j = 0; j < 2; j++)
                x[j] = lower[j] +
                       (upper[j] - lower[j]) * (double)interp_random_uniform(3, i, (uint64_t)j);
            henon(x, y, 1, NULL);
            const uint32_t from = interp_morse_find(m, x), want = interp_morse_find(m, y);
            bool there = want == UINT32_MAX;
            CHECK_OK(ctx, interp_morse_image(m, from, to, &n));
            for (uint32_t k = 0; k < n; k++) there |= to[k] == want;
            missed += !there;
        }
        CHECK(missed == 0);
        interp_morse_free(m);
    }
    interp_close(ctx);
}

/* ---- threads, memory, errors */

TEST(morse_graphs_are_the_same_at_any_thread_count)
{
    for (int threads = 1; threads <= 3; threads++) {
        interp_ctx *ctx = open_with(threads);
        const reference *r = reference_of("leslie2d_u14_pad");
        problem p;
        interp_morse *m = NULL;
        interp_map map;
        problem_open(&p, r);
        REQUIRE_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        CHECK(same_morse(m, r));
        interp_morse_free(m);
        map = p.map;
        map.mode = INTERP_BOX_RANDOM, map.seed = 9;
        static uint64_t first;
        REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &p.desc, &m));
        if (threads == 1) first = hash_sets(m);
        CHECK(hash_sets(m) == first);
        interp_morse_free(m);
        interp_close(ctx);
    }
}

static interp_status breaks(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++) y[i] = x[i] > 0.5 && x[i] < 0.51 ? (double)NAN : x[i] / 2;
    return INTERP_OK;
}

static interp_status refuses(const double *x, double *y, size_t n, void *user)
{
    (void)x, (void)y, (void)n, (void)user;
    return INTERP_IO;
}

static interp_status upside_down(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++) y[2 * i] = x[2 * i + 1], y[2 * i + 1] = x[2 * i];
    return INTERP_OK;
}

static interp_status stays(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    memcpy(y, x, n * sizeof *y);
    return INTERP_OK;
}

TEST(bad_maps_and_domains_are_told)
{
    const double zero = 0, one = 1;
    interp_ctx *ctx = open_with(1);
    interp_map map;
    interp_morse_desc d;
    interp_morse *m = NULL;
    memset(&map, 0, sizeof map);
    memset(&d, 0, sizeof d);
    map.dims = 1, map.points = breaks;
    d.lower = &zero, d.upper = &one, d.min = 10;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_NOT_FINITE);
    CHECK(strstr(interp_error(ctx), "box 512") != NULL); /* the first with such a corner */
    map.points = refuses;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_IO);
    map.points = NULL, map.boxes = upside_down;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_NOT_FINITE);
    map.boxes = NULL;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_BAD_ARGUMENT);
    map.points = logistic;
    d.upper = &zero;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "width") != NULL);
    d.upper = &one, d.min = 60;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_BAD_ARGUMENT);
    d.min = 12, d.max = 10;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_BAD_ARGUMENT);
    d.max = 0, d.min = 14; /* every box is a set */
    map.points = stays, map.mode = INTERP_BOX_CENTRE;
    map.lipschitz = &zero;
    CHECK(interp_morse_new(ctx, &map, &d, &m) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "sets") != NULL);
    CHECK(m == NULL);
    interp_close(ctx);
}

TEST(memory_of_grids_is_told_beforehand)
{
    static const char *const names[] = {"leslie2d_u14", "leslie3d_u15", "logistic_r3.5_u12_pad",
                                        "henon2d_u16_pad"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        interp_ctx *ctx = open_with(1);
        problem p;
        interp_morse *m = NULL;
        problem_open(&p, reference_of(names[i]));
        const size_t bytes = interp_morse_bytes(&p.map, &p.desc);
        const size_t before = interp_memory_read(ctx).used;
        REQUIRE_OK(ctx, interp_morse_new(ctx, &p.map, &p.desc, &m));
        const size_t peak = interp_memory_read(ctx).peak - before;
        CHECK(peak <= bytes);
        CHECK(bytes < 3 * peak);
        interp_morse_free(m);
        m = NULL;
        interp_memory_set_limit(ctx, before + bytes / 2);
        CHECK(interp_morse_new(ctx, &p.map, &p.desc, &m) == INTERP_NO_MEMORY);
        CHECK(strstr(interp_error(ctx), "bytes") != NULL && !m);
        interp_close(ctx);
    }
}

TEST(dynamics_survive_every_failing_allocation)
{
    static const char *const names[] = {"product2d_1.2_i4_a6_10", "logistic_r3.2_a8_16_pad"};
    interp_desc o;
    memset(&o, 0, sizeof o);
    o.threads = 1;
    o.allocator.alloc = heap_alloc, o.allocator.free = heap_free;
    for (size_t i = 0; i < 2; i++) {
        long n = 0;
        bool done = false;
        for (; n < 20000 && !done; n += slow_here() ? 17 : 1) {
            problem p;
            interp_morse *m = NULL;
            interp_conley c;
            interp_retraction r;
            interp_basins b;
            heap.fail_at = 0;
            interp_ctx *ctx = interp_open(&o);
            REQUIRE(ctx);
            const size_t held = heap.blocks;
            problem_open(&p, reference_of(names[i]));
            heap_fail_after(n);
            interp_status status = interp_morse_new(ctx, &p.map, &p.desc, &m);
            if (!status) status = interp_morse_conley(m, 0, 0, &c);
            if (!status) interp_free(ctx, c.text[0]);
            if (!status) status = interp_morse_retract(m, &r);
            if (!status) interp_free(ctx, r.tile), interp_free(ctx, r.size);
            if (!status) status = interp_morse_basins(m, &b);
            if (!status) interp_free(ctx, b.attractor);
            done = status == INTERP_OK;
            CHECK(done || status == INTERP_NO_MEMORY);
            interp_morse_free(m);
            CHECK(heap.blocks == held);
            heap.fail_at = 0;
            interp_close(ctx);
        }
        CHECK(done && !heap.bad && heap.blocks == 0);
    }
}

static int cancel_later(const interp_progress *p, void *user)
{
    (void)p;
    return --*(int *)user < 0;
}

TEST(dynamics_can_be_cancelled_anywhere)
{
    int calls = 0;
    bool done = false;
    for (int n = 0; n < 100000 && !done; n += 1 + n / 8) {
        interp_desc o;
        problem p;
        interp_morse *m = NULL;
        memset(&o, 0, sizeof o);
        calls = n;
        o.threads = 1, o.progress = cancel_later, o.user = &calls;
        interp_ctx *ctx = interp_open(&o);
        problem_open(&p, reference_of("product2d_1.2_i4_a6_10"));
        const interp_status status = interp_morse_new(ctx, &p.map, &p.desc, &m);
        done = !status;
        CHECK(status == INTERP_OK || (status == INTERP_CANCELLED && !m));
        interp_morse_free(m);
        interp_close(ctx);
    }
    CHECK(done);
}

/* ---- pairs */

/* CMGDB's BoxMapData word by word: every point is asked. */
static void slow_pairs(const double *x, const double *y, int n, int d, bool neighbours,
                       const double *box, double *image)
{
    double low[4], high[4];
    int found = 0;
    for (int round = 0; !found; round++) {
        for (int j = 0; j < d; j++) {
            const double w = box[d + j] - box[j];
            if (round == 0)
                low[j] = box[j] - (neighbours ? w : 0), high[j] = box[d + j] + (neighbours ? w : 0);
            else if (round == 1) low[j] = box[j], high[j] = box[d + j];
            if (round < 1) continue;
            const double half = (high[j] - low[j]) / 2;
            low[j] -= half, high[j] += half;
        }
        for (int i = 0; i < n; i++) {
            bool in = true;
            for (int j = 0; j < d; j++) in &= x[i * d + j] >= low[j] && x[i * d + j] <= high[j];
            for (int j = 0; in && j < d; j++) {
                if (!found || y[i * d + j] < image[j]) image[j] = y[i * d + j];
                if (!found || y[i * d + j] > image[d + j]) image[d + j] = y[i * d + j];
            }
            found += in;
        }
    }
}

TEST(maps_from_pairs_are_those_of_cmgdb)
{
    enum { most = 700 };
    static double x[most * 4], y[most * 4];
    interp_ctx *ctx = open_with(1);
    for (int d = 1; d <= 4; d++)
        for (int neighbours = 0; neighbours < 2; neighbours++) {
            interp_pairs_desc o;
            interp_pairs *p = NULL;
            const int n = d * 170;
            int wrong = 0;
            memset(&o, 0, sizeof o);
            o.no_neighbours = !neighbours;
            for (int i = 0; i < n * d; i++) {
                x[i] = (double)interp_random_uniform(1, (uint64_t)d, (uint64_t)i);
                y[i] = (double)interp_random_normal(2, (uint64_t)d, (uint64_t)i);
                if (i % 5 == 0) x[i] = floor(8 * x[i]) / 8; /* on borders of boxes */
            }
            REQUIRE_OK(ctx, interp_pairs_new(ctx, x, y, n, d, &o, &p));
            for (int b = 0; b < 400; b++) {
                double box[8], got[8], want[8];
                for (int j = 0; j < d; j++) {
                    const double side = b % 3 ? 0.125 : 0.03125;
                    const float u = interp_random_uniform(3, (uint64_t)b, (uint64_t)j);
                    box[j] = floor((double)u * 1.5 / side) * side - .25;
                    box[d + j] = box[j] + side;
                }
                CHECK_OK(ctx, interp_pairs_map(box, got, 1, p));
                slow_pairs(x, y, n, d, neighbours, box, want);
                for (int j = 0; j < 2 * d; j++) wrong += got[j] != want[j];
            }
            CHECK(wrong == 0);
            interp_pairs_free(p);
        }
    interp_pairs_desc o;
    interp_pairs *p = NULL;
    const double far[2] = {50, 51};
    double image[2];
    memset(&o, 0, sizeof o);
    o.empty = INTERP_PAIRS_FAIL;
    REQUIRE_OK(ctx, interp_pairs_new(ctx, x, y, 20, 1, &o, &p));
    CHECK(interp_pairs_map(far, image, 1, p) == INTERP_BAD_ARGUMENT);
    interp_pairs_free(p);
    o.empty = INTERP_PAIRS_OUTSIDE;
    REQUIRE_OK(ctx, interp_pairs_new(ctx, x, y, 20, 1, &o, &p));
    CHECK_OK(ctx, interp_pairs_map(far, image, 1, p));
    CHECK(image[0] > 1e300);
    interp_pairs_free(p);
    x[3] = (double)NAN;
    CHECK(interp_pairs_new(ctx, x, y, 20, 1, &o, &p) == INTERP_NOT_FINITE);
    interp_close(ctx);
}

TEST(morse_sets_of_pairs_are_those_of_cmgdb)
{
    static double x[1000], y[1000];
    const double lower[2] = {-0.001, -0.001}, upper[2] = {90, 70};
    static const uint32_t want[] = {6, 3, 25, 3, 3, 1, 454};
    FILE *f = fopen(REFS "data/Leslie_500.dat", "r");
    if (!f) SKIP("no " REFS);
    int n = 0;
    while (n < 500 &&
           fscanf(f, "%lf %lf %lf %lf", x + 2 * n, x + 2 * n + 1, y + 2 * n, y + 2 * n + 1) == 4)
        n++;
    fclose(f);
    interp_ctx *ctx = open_with(2);
    interp_pairs *p = NULL;
    interp_map map;
    interp_morse_desc d;
    interp_morse *m = NULL;
    memset(&map, 0, sizeof map);
    memset(&d, 0, sizeof d);
    REQUIRE_OK(ctx, interp_pairs_new(ctx, x, y, n, 2, NULL, &p));
    map.dims = 2, map.boxes = interp_pairs_map, map.user = p, map.concurrent = true;
    d.lower = lower, d.upper = upper, d.min = 12;
    REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &d, &m));
    REQUIRE(interp_morse_count(m) == 7);
    for (int s = 0; s < 7; s++) {
        uint32_t k;
        interp_morse_set(m, s, &k);
        CHECK(k == want[s]);
    }
    interp_morse_free(m);
    d.min = 15, d.max = 18; /* one index is not defined, and said so */
    REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &d, &m));
    REQUIRE(interp_morse_count(m) == 4 && interp_morse_boxes(m) == 2332);
    for (int s = 0; s < 4; s++) {
        interp_conley c;
        REQUIRE_OK(ctx, interp_morse_conley(m, s, 0, &c));
        CHECK(c.defined == (s < 3));
        if (s < 2) CHECK_STR(c.text[0], "x^3-1");
        interp_free(ctx, c.text[0]);
    }
    interp_morse_free(m);
    interp_pairs_free(p);
    interp_close(ctx);
}

/* ---- Gaussian processes */

TEST(likelihoods_slope_as_they_say)
{
    enum { n = 23 };
    double x[n * 2], y[n * 3], slope[2], any[2];
    interp_ctx *ctx = open_with(1);
    for (int i = 0; i < n * 2; i++) x[i] = (double)interp_random_normal(1, 1, (uint64_t)i);
    for (int i = 0; i < n * 3; i++) y[i] = (double)interp_random_normal(1, 2, (uint64_t)i);
    for (int kernel = 0; kernel < 2; kernel++) {
        interp_gp_desc o;
        interp_gp *gp = NULL;
        memset(&o, 0, sizeof o);
        o.kernel = (interp_gp_kernel)kernel, o.fixed = true, o.length = 0.7, o.noise = 0.2;
        REQUIRE_OK(ctx, interp_gp_new(ctx, x, y, n, 2, 3, &o, &gp, NULL));
        interp_gp_likelihood(gp, 0.7, 0.2, slope);
        const double h = 1e-5;
        const double by_length = (interp_gp_likelihood(gp, 0.7 * exp(h), 0.2, any) -
                                  interp_gp_likelihood(gp, 0.7 * exp(-h), 0.2, any)) /
                                 (2 * h);
        const double by_noise = (interp_gp_likelihood(gp, 0.7, 0.2 * exp(h), any) -
                                 interp_gp_likelihood(gp, 0.7, 0.2 * exp(-h), any)) /
                                (2 * h);
        CHECK_NEAR(slope[0], by_length, 1e-6 * (1 + fabs(by_length)));
        CHECK_NEAR(slope[1], by_noise, 1e-6 * (1 + fabs(by_noise)));
        interp_gp_free(gp);
    }
    interp_close(ctx);
}

TEST(variance_is_small_at_data_and_large_afar)
{
    enum { n = 30 };
    double x[n], y[n], at[3], mean[3], deviation[3];
    interp_ctx *ctx = open_with(1);
    for (int i = 0; i < n; i++) x[i] = i * 0.2, y[i] = 40 + 3 * sin(x[i]);
    for (int kernel = 0; kernel < 2; kernel++) {
        interp_gp_desc o;
        interp_gp_info info;
        interp_gp *gp = NULL;
        memset(&o, 0, sizeof o);
        o.kernel = (interp_gp_kernel)kernel, o.normalize = true, o.length_max = -1;
        o.noise = 1e-3, o.noise_min = 1e-8;
        REQUIRE_OK(ctx, interp_gp_new(ctx, x, y, n, 1, 1, &o, &gp, &info));
        at[0] = 2.0, at[1] = 2.1, at[2] = 500;
        interp_gp_mean(at, mean, 3, gp);
        interp_gp_deviation(at, deviation, 3, gp);
        CHECK_NEAR(mean[0], 40 + 3 * sin(2.0), 0.01);
        CHECK_NEAR(mean[1], 40 + 3 * sin(2.1), 0.02);
        CHECK(deviation[0] < 0.05 && deviation[2] > 1.5); /* sd of y is about 2 */
        CHECK(mean[2] > 38 && mean[2] < 42);              /* back to the mean of the data */
        interp_gp_free(gp);
    }
    CHECK(interp_gp_new(ctx, x, y, 0, 1, 1, NULL, NULL, NULL) == INTERP_BAD_ARGUMENT);
    y[4] = (double)INFINITY;
    CHECK(interp_gp_new(ctx, x, y, n, 1, 1, NULL, NULL, NULL) == INTERP_NOT_FINITE);
    interp_close(ctx);
}

TEST(gaussian_processes_find_the_reference_optimum)
{
    static double x[200], y[200], weights[200];
    const double lower[2] = {-5.364370592935685, -5.986159285709547};
    const double upper[2] = {2.375954303239519, 2.4686167109483383};
    FILE *f = fopen(REFS "gp_iris/iris_epoch_450_XY.csv", "r");
    FILE *a = fopen(REFS "gp_iris/iris_epoch_450_alpha.csv", "r");
    char line[400];
    int n = 0, k = 0;
    if (!f || !a) {
        if (f) fclose(f);
        SKIP("no " REFS);
    }
    while (n < 100 && fgets(line, sizeof line, f))
        n += sscanf(line, "%lf,%lf,%lf,%lf", x + 2 * n, x + 2 * n + 1, y + 2 * n, y + 2 * n + 1) ==
             4;
    while (k < 100 && fgets(line, sizeof line, a))
        k += sscanf(line, "%lf,%lf", weights + 2 * k, weights + 2 * k + 1) == 2;
    fclose(f);
    fclose(a);
    REQUIRE(n == 100 && k == 100);
    interp_ctx *ctx = open_with(1);
    interp_gp_info info;
    interp_gp_desc o;
    interp_gp *gp = NULL;
    REQUIRE_OK(ctx, interp_gp_new(ctx, x, y, n, 2, 2, NULL, &gp, &info));
    CHECK_NEAR(info.length, 2, 0); /* its bound */
    CHECK_NEAR(info.noise, 0.04407858341772385, 1e-3 * 0.044);
    CHECK_NEAR(info.lml, -41.48095608204663, 1e-6);
    interp_gp_free(gp);
    memset(&o, 0, sizeof o);
    o.fixed = true, o.length = 2, o.noise = 0.04407858341772385;
    REQUIRE_OK(ctx, interp_gp_new(ctx, x, y, n, 2, 2, &o, &gp, &info));
    const double *w = interp_gp_weights(gp);
    for (int i = 0; i < 200; i++) CHECK_NEAR(w[i], weights[i], 1e-8 * (1 + fabs(weights[i])));
    interp_map map;
    interp_morse_desc d;
    interp_morse *m = NULL;
    memset(&map, 0, sizeof map);
    memset(&d, 0, sizeof d);
    map.dims = 2, map.points = interp_gp_mean, map.user = gp, map.padding = true;
    d.lower = lower, d.upper = upper, d.min = 15;
    REQUIRE_OK(ctx, interp_morse_new(ctx, &map, &d, &m));
    uint32_t first = 0, second = 0;
    CHECK(interp_morse_count(m) == 2 && interp_morse_edge(m, 1, 0));
    interp_morse_set(m, 0, &first);
    interp_morse_set(m, 1, &second);
    CHECK(first == 1017 && second == 54);
    interp_morse_free(m);
    interp_gp_free(gp);
    interp_close(ctx);
}

/* ---- ensembles */

enum { MODELS = 37, SAMPLES = 60, EPOCHS = 4 };

static float data_x[SAMPLES * 2];
static int32_t data_y[SAMPLES];

/* n samples of three classes; their shape has up to three dimensions. */
static interp_dataset three_classes(float *x, int32_t *y, int n, int rank, int a, int b)
{
    interp_dataset d;
    memset(&d, 0, sizeof d);
    d.x = x, d.y = y, d.n = n, d.n_classes = 3;
    d.shape.rank = rank;
    for (int i = 0; i < INTERP_MAX_RANK; i++) d.shape.dim[i] = i == 0 ? a : i < rank ? b : 1;
    return d;
}

static interp_dataset clouds(void)
{
    for (int i = 0; i < SAMPLES; i++) {
        data_y[i] = i % 3;
        for (int k = 0; k < 2; k++)
            data_x[2 * i + k] =
                interp_random_normal(7, (uint64_t)i, (uint64_t)k) + (k == data_y[i] ? 3.0f : 0.0f);
    }
    return three_classes(data_x, data_y, SAMPLES, 1, 2, 1);
}

static interp_status build(interp_ctx *ctx, int model, interp_net **net, void *user)
{
    const interp_shape s = {1, {2, 1, 1, 1, 1, 1, 1, 1}};
    (void)user;
    return interp_net_arch(ctx, "mlp:2-5-3", &s, 3, (uint64_t)model + 1, net);
}

static void ensemble_desc(interp_ensemble_desc *d, const interp_dataset *data)
{
    static const int snapshots[] = {0, 2, EPOCHS};
    memset(d, 0, sizeof *d);
    d->models = MODELS, d->build = build;
    d->train.epochs = EPOCHS, d->train.batch = 7, d->train.seed = 3;
    d->snapshots = snapshots, d->n_snapshots = 3;
    d->test = data;
}

TEST(ensembles_are_the_same_at_any_thread_count)
{
    static float first[MODELS * 3 * 33];
    const interp_dataset data = clouds();
    for (int threads = 1; threads <= 3; threads++) {
        interp_ctx *ctx = open_with(threads);
        interp_ensemble_desc d;
        interp_ensemble e;
        ensemble_desc(&d, &data);
        REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &e));
        REQUIRE(e.parameters == 33 && e.models == MODELS && e.n_classes == 3);
        if (threads == 1) memcpy(first, e.weights, sizeof first);
        CHECK(memcmp(first, e.weights, sizeof first) == 0);
        interp_net *net = NULL; /* one alone is the same: weights before, and they moved */
        REQUIRE_OK(ctx, build(ctx, 5, &net, NULL));
        CHECK(memcmp(interp_net_parameters(net), e.weights + 5 * 3 * 33, 33 * sizeof(float)) == 0);
        CHECK(memcmp(e.weights, e.weights + 33, 33 * sizeof(float)) != 0);
        interp_net_free(net);
        interp_ensemble_free(ctx, &e);
        interp_close(ctx);
    }
}

/* ---- networks abreast */

enum { SIDE = 9, PICTURES = 40, ALIKE = 5 };

static float picture_x[PICTURES * 2 * SIDE * SIDE];
static int32_t picture_y[PICTURES];

static interp_dataset pictures(void)
{
    for (int i = 0; i < PICTURES; i++) {
        picture_y[i] = i % 3;
        for (int k = 0; k < 2 * SIDE * SIDE; k++)
            picture_x[i * 2 * SIDE * SIDE + k] =
                interp_random_normal(8, (uint64_t)i, (uint64_t)k) + (k % 3 == i % 3 ? 0.5f : 0.0f);
    }
    return three_classes(picture_x, picture_y, PICTURES, 3, 2, SIDE);
}

/* Networks that together have every op that lanes know, every kind of window among them. */
enum { NET_WINDOWS, NET_SUMS, NET_MEANS, NET_SOFTMAX, NETS };

static interp_tensor layers_of(interp_net *net, int which, int model, interp_tensor x)
{
    interp_conv2d_desc c;
    interp_pool2d_desc p;
    memset(&c, 0, sizeof c);
    memset(&p, 0, sizeof p);
    if (which == NET_WINDOWS) { /* padded, grouped, dilated; windows that overlap and hang over */
        c.channels = 4, c.groups = 2, c.kernel[0] = 3, c.kernel[1] = 2, c.pad[0] = 1, c.pad[3] = 2;
        x = interp_relu(net, interp_conv2d(net, x, &c));
        p.kernel[0] = 3, p.stride[0] = 2, p.pad[0] = p.pad[1] = 1, p.ceil_mode = true;
        x = interp_pool2d(net, x, &p);
        memset(&c, 0, sizeof c);
        c.channels = 3, c.dilation[0] = 2, c.same = true, c.no_bias = true;
        x = interp_dropout(net, interp_conv2d(net, x, &c), 0.3f);
        return interp_dense(net, interp_flatten(net, x), 3, NULL);
    }
    if (which == NET_SUMS) { /* a sum of two ways, one value read twice, strides */
        c.channels = 3, c.stride[0] = 2;
        interp_tensor a = interp_conv2d(net, x, &c);
        c.stride[0] = 1, c.same = true;
        interp_tensor b = interp_activate(net, interp_conv2d(net, a, &c),
                                          model < ALIKE ? INTERP_TANH : INTERP_GELU, 0);
        x = interp_activate(net, interp_add(net, a, b), INTERP_SILU, 0);
        return interp_dense(net, interp_flatten(net, interp_add(net, x, x)), 3, NULL);
    }
    if (which == NET_MEANS) {
        c.channels = 5;
        x = interp_activate(net, interp_conv2d(net, x, &c), INTERP_LEAKY_RELU, 0);
        p.kind = INTERP_POOL_AVERAGE, p.kernel[0] = 3, p.stride[0] = 2;
        x = interp_pool2d(net, x, &p);
        p.kind = INTERP_POOL_GLOBAL_AVERAGE;
        return interp_dense(net, interp_flatten(net, interp_pool2d(net, x, &p)), 3, NULL);
    }
    interp_dense_desc
        plain; /* which has softmax in the middle and at the end, and in its own place */
    memset(&plain, 0, sizeof plain);
    plain.no_bias = true;
    x = interp_softmax(net, interp_dense(net, interp_flatten(net, x), 4, NULL), 1);
    return interp_softmax(net, interp_dense(net, interp_dropout(net, x, 0.2f), 3, &plain), -1);
}

static interp_status build_alike(interp_ctx *ctx, int model, interp_net **out, void *user)
{
    const interp_shape s = {3, {2, SIDE, SIDE, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "alike");
    if (!net) return INTERP_NO_MEMORY;
    interp_output(net, layers_of(net, *(int *)user, model, interp_input(net, NULL, &s)), NULL);
    const interp_status status = interp_net_build(net, (uint64_t)model + 1);
    if (status) interp_net_free(net);
    else *out = net;
    return status;
}

/* Settings of all kinds that lanes know. */
static void alike_desc(interp_ensemble_desc *d, int *which)
{
    static const interp_layer_rule rules[] = {{.layer = "dense1", .freeze_from = 9, .lr = 0.02f}};
    static const int snapshots[] = {0, 3};
    memset(d, 0, sizeof *d);
    d->models = ALIKE, d->build = build_alike, d->user = which;
    d->snapshots = snapshots, d->n_snapshots = 2;
    d->train.epochs = 3, d->train.batch = 7, d->train.seed = 5, d->train.lr = 0.01f;
    d->train.optimizer = *which == NET_SUMS    ? INTERP_SGD
                         : *which == NET_MEANS ? INTERP_RMSPROP
                                               : INTERP_ADAM;
    d->train.momentum = *which == NET_SUMS || *which == NET_MEANS ? 0.8f : 0;
    d->train.nesterov = true;
    d->train.weight_decay = 0.01f;
    d->train.schedule = INTERP_COSINE, d->train.warmup_steps = 4;
    if (*which == NET_WINDOWS) d->train.rules = rules, d->train.n_rules = 1;
}

/* How far the last weights of a model are from those that interp_train comes to. */
static double off_alone(interp_ctx *ctx, const interp_dataset *data, const interp_ensemble_desc *d,
                        const interp_ensemble *e, int model)
{
    interp_net *net = NULL;
    interp_train_desc t = d->train;
    double off = 0;
    t.seed = (uint64_t)interp_random_u32(5, 0xE05E, (uint64_t)model * 2) << 32 |
             interp_random_u32(5, 0xE05E, (uint64_t)model * 2 + 1);
    if (d->build(ctx, model, &net, d->user) || interp_train(net, data, &t, NULL))
        return (double)INFINITY;
    const float *p = interp_net_parameters(net);
    const float *q = e->weights + (2 * (size_t)model + 1) * e->parameters;
    for (size_t i = 0; i < e->parameters; i++) off = fmax(off, fabs((double)p[i] - (double)q[i]));
    interp_net_free(net);
    return off;
}

static void train_abreast(const char *isa)
{
    interp_desc o;
    memset(&o, 0, sizeof o);
    o.threads = 2, o.isa = isa;
    interp_ctx *ctx = interp_open(&o);
    const interp_dataset data = pictures();
    if (!ctx) return; /* not on this machine */
    for (int which = 0; which < NETS; which++) {
        interp_ensemble_desc d;
        interp_ensemble e;
        alike_desc(&d, &which);
        REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &e));
        for (int m = 0; m < ALIKE; m++) {
            const float *w = e.weights + 2 * (size_t)m * e.parameters;
            CHECK(memcmp(w, w + e.parameters, e.parameters * sizeof *w) != 0);
            const double off = off_alone(ctx, &data, &d, &e, m);
            CHECK(off > 0 && off < 2e-5); /* rounding: 0 is what those that are not abreast have */
            if (!(off < 2e-5)) printf("%s, network %d, model %d: %g\n", isa, which, m, off);
        }
        interp_ensemble_free(ctx, &e);
    }
    interp_close(ctx);
}

TEST(networks_train_abreast_as_they_do_alone)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    for (int i = 0; i < 4; i++) train_abreast(isas[i]);
}

TEST(networks_unlike_the_first_train_alone)
{
    int which = NET_SUMS;
    interp_ctx *ctx = open_with(1);
    const interp_dataset data = pictures();
    interp_ensemble_desc d;
    interp_ensemble e;
    alike_desc(&d, &which);
    d.models = ALIKE + 2;
    REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &e));
    for (int m = 0; m < d.models; m++) {
        const double off = off_alone(ctx, &data, &d, &e, m);
        CHECK(e.done[m] && (m < ALIKE ? off > 0 && off < 2e-5 : off == 0));
    }
    interp_ensemble_free(ctx, &e);
    d.train.clip_norm = 1; /* of each network: none is for lanes */
    d.models = 3;
    REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &e));
    for (int m = 0; m < d.models; m++) CHECK(off_alone(ctx, &data, &d, &e, m) == 0);
    interp_ensemble_free(ctx, &e);
    d.train.clip_norm = 0, d.train.lr = 1e6f, d.train.schedule = INTERP_CONSTANT;
    d.train.warmup_steps = 0, d.train.epochs = 30;
    picture_x[0] = 1e38f; /* diverges, and says so */
    CHECK(interp_ensemble_train(ctx, &data, &d, &e) == INTERP_NOT_FINITE);
    CHECK(strstr(interp_error(ctx), "gradient") != NULL);
    interp_close(ctx);
}

TEST(ensembles_survive_every_failing_allocation)
{
    interp_desc o;
    int which = NET_WINDOWS, ends[2] = {0, 0};
    memset(&o, 0, sizeof o);
    o.threads = 1;
    o.allocator.alloc = heap_alloc, o.allocator.free = heap_free;
    const interp_dataset data = pictures();
    for (long n = 0; ends[1] < 3 && n < 2000; n += slow_here() ? 17 : 1) {
        interp_ensemble_desc d;
        interp_ensemble e;
        heap.fail_at = 0;
        interp_ctx *ctx = interp_open(&o);
        REQUIRE(ctx);
        const size_t held = heap.blocks;
        alike_desc(&d, &which);
        d.models = 2, d.train.epochs = 1, d.test = &data;
        heap_fail_after(n);
        const interp_status status = interp_ensemble_train(ctx, &data, &d, &e);
        CHECK(status == INTERP_OK || status == INTERP_NO_MEMORY);
        ends[status == INTERP_OK]++;
        heap.fail_at = 0;
        if (!status) interp_ensemble_free(ctx, &e);
        CHECK(heap.blocks == held);
        interp_close(ctx);
    }
    CHECK(ends[0] > (slow_here() ? 2 : 20) && ends[1] == 3 && !heap.bad && heap.blocks == 0);
}

static interp_status stop_early(const interp_ensemble *so_far, void *user)
{
    interp_ensemble *kept = (interp_ensemble *)user;
    const size_t n = (size_t)so_far->models, p = 3 * so_far->parameters;
    const size_t t = (size_t)so_far->n_test * (size_t)so_far->n_classes;
    memcpy(kept->weights, so_far->weights, n * p * sizeof(float));
    memcpy(kept->probabilities, so_far->probabilities, n * t * sizeof(float));
    memcpy(kept->test_loss, so_far->test_loss, n * sizeof(double));
    memcpy(kept->done, so_far->done, n);
    kept->models = so_far->models, kept->n_snapshots = so_far->n_snapshots;
    kept->n_test = so_far->n_test, kept->n_classes = so_far->n_classes;
    kept->parameters = so_far->parameters;
    return INTERP_CANCELLED;
}

TEST(ensembles_resume)
{
    static float weights[MODELS * 3 * 33], probabilities[MODELS * SAMPLES * 3];
    static double loss[MODELS];
    static uint8_t done[MODELS];
    const interp_dataset data = clouds();
    interp_ctx *ctx = open_with(1);
    interp_ensemble_desc d;
    interp_ensemble whole, part, resumed;
    memset(&part, 0, sizeof part);
    part.weights = weights, part.probabilities = probabilities;
    part.test_loss = loss, part.done = done;
    ensemble_desc(&d, &data);
    REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &whole));
    d.on_round = stop_early, d.user = &part;
    CHECK(interp_ensemble_train(ctx, &data, &d, &resumed) == INTERP_CANCELLED);
    int before = 0;
    for (int m = 0; m < MODELS; m++) before += done[m];
    CHECK(before > 0 && before < MODELS);
    d.on_round = NULL, d.resume = &part;
    REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &resumed));
    CHECK(memcmp(whole.weights, resumed.weights, sizeof weights) == 0);
    CHECK(memcmp(whole.probabilities, resumed.probabilities, sizeof probabilities) == 0);
    interp_ensemble_free(ctx, &resumed);
    part.n_snapshots = 2;
    CHECK(interp_ensemble_train(ctx, &data, &d, &resumed) == INTERP_BAD_SHAPE);
    interp_ensemble_free(ctx, &whole);
    interp_close(ctx);
}

/* Stands for the other process: adds what it would have. */
typedef struct other {
    const double *values;
    size_t at;
} other;

static void add_other(double *values, size_t n, void *user)
{
    other *o = (other *)user;
    for (size_t i = 0; i < n; i++) values[i] += o->values[o->at + i];
    o->at += n;
}

static void keep_other(double *values, size_t n, void *user)
{
    other *o = (other *)user;
    memcpy((double *)(void *)(uintptr_t)o->values + o->at, values, n * sizeof *values);
    o->at += n;
}

TEST(processes_share_an_ensemble)
{
    static double sent[MODELS * (3 * 33 + SAMPLES * 3 + 1)];
    const interp_dataset data = clouds();
    interp_ctx *ctx = open_with(1);
    interp_ensemble_desc d;
    interp_ensemble whole, e;
    other o = {sent, 0};
    ensemble_desc(&d, &data);
    REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &whole));
    d.ranks = 2, d.rank = 1, d.allreduce = keep_other, d.allreduce_user = &o;
    REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &e));
    interp_ensemble_free(ctx, &e);
    o.at = 0;
    d.rank = 0, d.allreduce = add_other;
    REQUIRE_OK(ctx, interp_ensemble_train(ctx, &data, &d, &e));
    CHECK(memcmp(whole.weights, e.weights, MODELS * 3 * 33 * sizeof(float)) == 0);
    CHECK(memcmp(whole.probabilities, e.probabilities, MODELS * SAMPLES * 3 * sizeof(float)) == 0);
    interp_ensemble_free(ctx, &e);
    interp_ensemble_free(ctx, &whole);
    interp_close(ctx);
}

TEST(figures_of_ensembles_are_their_definitions)
{
    /* two models, four samples, two classes; the first says 0 0 1 1, the second 0 1 1 1 */
    float p[16] = {.9f, .1f, .8f, .2f, .3f, .7f, .4f,  .6f,
                   .6f, .4f, .1f, .9f, .2f, .8f, .45f, .55f};
    float w[4] = {1, 5, 4, 5}; /* one snapshot of two weights */
    const int32_t truth[4] = {0, 0, 0, 1};
    double accuracy[2], entropy[4], spread[2];
    interp_ensemble e;
    memset(&e, 0, sizeof e);
    e.models = 2, e.n_snapshots = 1, e.n_test = 4, e.n_classes = 2, e.parameters = 2;
    e.weights = w, e.probabilities = p;
    interp_ensemble_statistics(&e, truth, false, accuracy, entropy, spread);
    CHECK_NEAR(accuracy[0], (2.0 / 3 + 1) / 2, 1e-12);
    CHECK_NEAR(accuracy[1], (1.0 / 3 + 1) / 2, 1e-12);
    CHECK_NEAR(entropy[0], -.75 * log(.75) - .25 * log(.25), 1e-6);
    CHECK_NEAR(spread[0], 1.5, 1e-12);
    CHECK_NEAR(spread[1], 0, 1e-12);
    interp_ensemble_statistics(&e, truth, true, accuracy, NULL, NULL);
    CHECK_NEAR(accuracy[0], (1 + 1.0 / 2) / 2, 1e-12);
    CHECK_NEAR(accuracy[1], (1 + 1.0 / 3) / 2, 1e-12);
}

/* ---- pictures */

static uint32_t pixel(const interp_image *i, int x, int y)
{
    const uint8_t *p = i->rgb + ((size_t)y * (size_t)i->width + (size_t)x) * 3;
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static int count_rgb(const interp_image *i, uint32_t rgb, int *left, int *top)
{
    int n = 0;
    *left = i->width, *top = i->height;
    for (int y = 0; y < i->height; y++)
        for (int x = 0; x < i->width; x++)
            if (pixel(i, x, y) == rgb) {
                n++;
                if (x < *left) *left = x;
                if (y < *top) *top = y;
            }
    return n;
}

TEST(boxes_are_drawn_where_they_are)
{
    const float ends[12] = {0, 0, 1, 1, 3, 3, 4, 4, 0, 3, 4, 4};
    const int32_t classes[3] = {0, 1, -1};
    interp_ctx *ctx = open_with(1);
    interp_boxes b;
    interp_chart chart;
    interp_image image;
    int left[2], top[2];
    memset(&b, 0, sizeof b);
    memset(&chart, 0, sizeof chart);
    chart.width = chart.height = 400;
    chart.x_max = chart.y_max = 4;
    b.ends = ends, b.classes = classes, b.n = 3;
    REQUIRE_OK(ctx, interp_chart_boxes(ctx, &chart, &b, &image));
    const int n0 = count_rgb(&image, interp_category_rgb(0), &left[0], &top[0]);
    const int n1 = count_rgb(&image, interp_category_rgb(1), &left[1], &top[1]);
    CHECK(n0 > 1000 && n1 > 1000 && abs(n0 - n1) < n0 / 20);
    CHECK(left[0] < left[1] && top[0] > top[1]); /* the first is low and left */
    interp_image_free(ctx, &image);
    b.ends = NULL;
    CHECK(interp_chart_boxes(ctx, &chart, &b, &image) == INTERP_BAD_ARGUMENT);
    interp_close(ctx);
}

TEST(violins_are_wide_where_values_are)
{
    float v[210];
    const int counts[3] = {100, 100, 10};
    const uint32_t colours[3] = {0x0000ff, 0x00ff00, 0xff0000};
    interp_ctx *ctx = open_with(1);
    interp_violins d;
    interp_image image;
    int blue = 0, red = 0, rows = 0;
    for (int i = 0; i < 200; i++)
        v[i] = (i < 100 ? 0.0f : 5.0f) + interp_random_normal(1, 1, (uint64_t)i);
    for (int i = 200; i < 210; i++) v[i] = i < 209 ? 2.0f : (float)NAN;
    memset(&d, 0, sizeof d);
    d.values = v, d.counts = counts, d.n_groups = 3, d.colours = colours;
    REQUIRE_OK(ctx, interp_chart_violins(ctx, NULL, &d, &image));
    int middle[2] = {0, 0}, most[2] = {0, 0};
    for (int y = 0; y < image.height; y++) {
        int n[2] = {0, 0};
        for (int x = 0; x < image.width; x++) {
            const uint32_t p = pixel(&image, x, y);
            n[0] += (p & 255) > 200 && (p >> 16) < 100;
            n[1] += (p >> 8 & 255) > 200 && (p >> 16) < 100 && (p & 255) < 100;
        }
        for (int k = 0; k < 2; k++)
            if (n[k] > most[k]) most[k] = n[k], middle[k] = y;
        blue += n[0], red += n[1], rows += n[0] > 0;
    }
    CHECK(blue > 2000 && red > 2000 && rows > 50);
    CHECK(middle[0] > middle[1] + image.height / 5); /* 0 is below 5 */
    interp_image_free(ctx, &image);
    d.n_groups = 0;
    CHECK(interp_chart_violins(ctx, NULL, &d, &image) == INTERP_BAD_ARGUMENT);
    interp_close(ctx);
}

int main(int argc, char **argv)
{
    RUN(morse_sets_are_those_of_cmgdb);
    RUN(adaptive_grids_find_the_same_sets);
    RUN(digraphs_are_those_of_cmgdb);
    RUN(conley_indices_are_those_of_cmgdb);
    RUN(a_saddle_has_the_index_of_its_unstable_directions);
    RUN(maps_that_leave_have_neither_sets_nor_tiles);
    RUN(larger_maps_have_the_sets_of_cmgdb);
    RUN(more_sets_than_a_word_has_bits_keep_their_order);
    RUN(spurious_edges_go_on_the_final_grid);
    RUN(basins_and_tiles_are_the_references);
    RUN(boxes_are_found_again);
    RUN(ends_of_a_periodic_axis_meet);
    RUN(lipschitz_images_hold_every_point);
    RUN(morse_graphs_are_the_same_at_any_thread_count);
    RUN(bad_maps_and_domains_are_told);
    RUN(memory_of_grids_is_told_beforehand);
    RUN(dynamics_survive_every_failing_allocation);
    RUN(dynamics_can_be_cancelled_anywhere);
    RUN(maps_from_pairs_are_those_of_cmgdb);
    RUN(morse_sets_of_pairs_are_those_of_cmgdb);
    RUN(likelihoods_slope_as_they_say);
    RUN(variance_is_small_at_data_and_large_afar);
    RUN(gaussian_processes_find_the_reference_optimum);
    RUN(ensembles_are_the_same_at_any_thread_count);
    RUN(networks_train_abreast_as_they_do_alone);
    RUN(networks_unlike_the_first_train_alone);
    RUN(ensembles_survive_every_failing_allocation);
    RUN(ensembles_resume);
    RUN(processes_share_an_ensemble);
    RUN(figures_of_ensembles_are_their_definitions);
    RUN(boxes_are_drawn_where_they_are);
    RUN(violins_are_wide_where_values_are);
    return test_end(argc, argv);
}

/* ---- view: colour maps, pictures, charts, panels, reports, TensorBoard ----------------------- */

/* The top layer: draws plain arrays and knows no method. Pictures are RGB, 8 bits a channel;
   colours are 0xRRGGBB. Numbers that are NaN or infinite are left out of charts, never an error.
   Text is UTF-8; letters with accents are drawn without, what the font lacks as a box. */

#ifdef __cplusplus
extern "C" {
#endif

/* Every colour map and its name, one list. GRAY runs from black to white, the single-hue maps from
   white to dark, JET, VIRIDIS and MAGMA as everybody knows them; SEISMIC, BWR (blue, white, red)
   and RD_WH_GN (red, white, green) have their neutral colour in the middle; CATEGORY has 12
   colours. */
#define INTERP_COLORMAP_LIST(X)                                                                    \
    X(AUTO, "auto")                                                                                \
    X(VIRIDIS, "viridis")                                                                          \
    X(MAGMA, "magma")                                                                              \
    X(GRAY, "gray")                                                                                \
    X(GREENS, "Greens")                                                                            \
    X(REDS, "Reds")                                                                                \
    X(BLUES, "Blues")                                                                              \
    X(SEISMIC, "seismic")                                                                          \
    X(BWR, "bwr")                                                                                  \
    X(RD_WH_GN, "RdWhGn")                                                                          \
    X(JET, "jet")                                                                                  \
    X(CATEGORY, "category")

/* Colour maps; AUTO (0) is what the picture calls for, viridis where nothing else is said. */
typedef enum interp_colormap {
#define INTERP_COLORMAP_ENUM(name, text) INTERP_COLORMAP_##name,
    INTERP_COLORMAP_LIST(INTERP_COLORMAP_ENUM)
#undef INTERP_COLORMAP_ENUM
        INTERP_COLORMAP_COUNT
} interp_colormap;

/* The colour of `t` in a map, 0 the first and 1 the last of its 256 steps; t outside is clipped,
   NaN is grey. Within 2/255 of matplotlib's tables. Test: colour_maps_match_matplotlib. */
INTERP_API void interp_colormap_rgb(interp_colormap map, double t, uint8_t rgb[3]);

/* The name of a map, for example "viridis"; "?" when there is no such map. */
INTERP_API const char *interp_colormap_name(interp_colormap map);

/* The map of a name, upper or lower case; INTERP_COLORMAP_COUNT when there is none. */
INTERP_API interp_colormap interp_colormap_from_name(const char *name);

/* Colour of class `i` as 0xRRGGBB; from 12 on they come again. Any sign of i is allowed.
   Test: category_colours_are_told_apart. */
INTERP_API uint32_t interp_category_rgb(int i);

/* ---- pictures */

/* A picture; `rgb` belongs to the context. */
typedef struct interp_image {
    int width, height; /* pixels */
    uint8_t *rgb;      /* [height, width, 3] */
} interp_image;

/* Makes a picture filled with one colour. width, height: 1..32768, at most 2^27 pixels.
   Errors: BAD_ARGUMENT, NO_MEMORY. Free with interp_image_free. */
INTERP_API interp_status interp_image_new(interp_ctx *ctx, int width, int height, uint32_t rgb,
                                          interp_image *out);

/* Frees a picture and clears it; an empty one is allowed. */
INTERP_API void interp_image_free(interp_ctx *ctx, interp_image *image);

/* Fills pixels x..x+width-1, y..y+height-1 as far as they are in the picture.
   Test: nothing_is_drawn_outside_the_image. */
INTERP_API void interp_image_rect(interp_image *image, int x, int y, int width, int height,
                                  uint32_t rgb);

/* Draws an anti-aliased line with round ends; whole numbers are pixel centres, `width` is in
   pixels. A line with an end that is not finite is left out. */
INTERP_API void interp_image_line(interp_image *image, double x0, double y0, double x1, double y1,
                                  double width, uint32_t rgb);

/* Draws an anti-aliased disc; whole numbers are pixel centres, `radius` is in pixels. */
INTERP_API void interp_image_disc(interp_image *image, double x, double y, double radius,
                                  uint32_t rgb);

/* How a picture is brought to another size. */
typedef enum interp_resample {
    INTERP_RESAMPLE_PIXELS,  /* crisp pixels when larger, mean of the pixels covered when smaller */
    INTERP_RESAMPLE_BILINEAR /* smooth; meant for enlarging */
} interp_resample;

/* Draws `source` into the rectangle at x, y of width x height pixels, as far as it is in `image`.
   Pictures must not be the same. Test: nearest_and_area_scaling_keep_the_mean. */
INTERP_API void interp_image_blit(interp_image *image, int x, int y, int width, int height,
                                  const interp_image *source, interp_resample how);

/* How text is set; combine with |. */
typedef enum interp_text_flag {
    INTERP_TEXT_LEFT = 0,   /* starts at x */
    INTERP_TEXT_CENTRE = 1, /* is centred on x (on y with INTERP_TEXT_UP) */
    INTERP_TEXT_RIGHT = 2,  /* ends at x */
    INTERP_TEXT_UP = 4,     /* is turned by 90 degrees and read from bottom to top */
    INTERP_TEXT_BOLD = 8    /* has heavier strokes */
} interp_text_flag;

/* Width of a line of text in pixels. size: height of the type in pixels, as in CSS; 4..400. */
INTERP_API int interp_text_width(const char *text, int size, int flags);

/* Draws a line of text in the built-in stroke font. x: start, middle or end, by `flags`; y: the
   middle of the capital letters; with INTERP_TEXT_UP x and y change places. Test:
   font_draws_every_ascii_character_its_own_way. */
INTERP_API void interp_image_text(interp_image *image, int x, int y, int size, int flags,
                                  uint32_t rgb, const char *text);

/* Packs a picture as PNG; `*png` belongs to the context, free it with interp_free. Uses
   stb_image_write (and its malloc) when that was included before interp.h, else a small encoder of
   our own. Errors: NO_MEMORY. Test: png_decodes_to_the_same_pixels. */
INTERP_API interp_status interp_image_png(interp_ctx *ctx, const interp_image *image, uint8_t **png,
                                          size_t *bytes);

/* Packs frames[n] of one size as an animated GIF that goes on for ever, each shown for delay_ms
   (rounded to 10). Up to 256 colours in all frames together stay as they are; with more, the lower
   bits of colours are left out until as many are left. `*gif` belongs to the context, free it with
   interp_free. Errors: BAD_ARGUMENT, NO_MEMORY. Test: animations_decode_to_the_same_pixels. */
INTERP_API interp_status interp_image_gif(interp_ctx *ctx, const interp_image *frames, int n,
                                          int delay_ms, uint8_t **gif, size_t *bytes);

#ifndef INTERP_NO_STDIO
/* Writes a picture to a file that appears whole; the name ends in .png or .ppm.
   Errors: BAD_ARGUMENT for another ending, IO, NO_MEMORY. Test: pictures_are_written_whole. */
INTERP_API interp_status interp_image_write(interp_ctx *ctx, const interp_image *image,
                                            const char *path);
#endif

/* ---- attributions over pictures */

/* Which part of the attributions is drawn. */
typedef enum interp_attribution_sign {
    INTERP_SIGN_ALL,      /* -1..1 */
    INTERP_SIGN_POSITIVE, /* 0..1, the rest is 0 */
    INTERP_SIGN_NEGATIVE, /* their absolute value, 0..1 */
    INTERP_SIGN_ABSOLUTE  /* 0..1 */
} interp_attribution_sign;

/* How attributions are drawn. */
typedef enum interp_attribution_draw_method {
    INTERP_DRAW_HEAT_MAP, /* colours alone */
    INTERP_DRAW_BLENDED,  /* colours over the picture in grey */
    INTERP_DRAW_OVERLAY,  /* colours over the picture as it is */
    INTERP_DRAW_MASKED,   /* the picture times the attribution: dark where there is none */
    INTERP_DRAW_ALPHA,    /* the picture, the clearer the more attribution, on white */
    INTERP_DRAW_ORIGINAL  /* the picture alone */
} interp_attribution_draw_method;

/* Normalises attributions for drawing as captum does: sums the channels, keeps the sign asked for,
   and divides by the smallest value whose cumulative sum of sorted magnitudes reaches
   (100 - outlier_percent) % of the total; the result is clipped to -1..1.
   attr: [C,H,W]; out: [H,W]. outlier_percent: 0: 2; negative: 0, that is the largest magnitude.
   All-zero attributions give zeros; sums that are not finite count as zero.
   Errors: BAD_ARGUMENT, NO_MEMORY. Test: normalisation_matches_captum. */
INTERP_API interp_status interp_attribution_normalize(interp_ctx *ctx, const float *attr,
                                                      int channels, int height, int width,
                                                      interp_attribution_sign sign,
                                                      float outlier_percent, float *out);

/* Options of interp_attribution_draw. */
typedef struct interp_attribution_draw_desc {
    const float *attr;           /* [channels,height,width]; needed but for INTERP_DRAW_ORIGINAL */
    const float *image;          /* [image_channels,height,width]; NULL: none, only HEAT_MAP goes */
    int channels, height, width; /* of attr; channels 0: 1 */
    int image_channels;          /* 0: as channels; 3 is colour, all else is drawn as mean grey */
    float image_min, image_max; /* equal: 0..1 or 0..255 when the values lie so, else their range */
    interp_attribution_sign sign;          /* 0: all */
    interp_attribution_draw_method method; /* 0: heat map */
    interp_colormap colormap;              /* 0: RdWhGn, Greens, Reds or Blues by sign */
    float outlier_percent; /* 0: 2; negative: none, the largest magnitude is full colour */
    float alpha;           /* 0: 0.5; weight of the heat map in BLENDED and OVERLAY */
    int scale;             /* 0: as many times as bring the longer side to 256 pixels */
    bool smooth;           /* false: crisp pixels; true: bilinear */
    bool colour_bar;       /* false: none; true: at the right, where the method shows colours */
} interp_attribution_draw_desc;

/* Draws attributions, alone or over their picture; free *out with interp_image_free.
   Errors: BAD_ARGUMENT (MASKED and ALPHA need a sign other than ALL, as in captum), NO_MEMORY.
   Tests: heat_maps_match_captum, blends_match_captum, all_zero_attributions_draw_neutral. */
INTERP_API interp_status interp_attribution_draw(interp_ctx *ctx,
                                                 const interp_attribution_draw_desc *desc,
                                                 interp_image *out);

/* ---- charts */

/* What all charts have in common; NULL or zero fields take every default. */
typedef struct interp_chart {
    const char *title;          /* NULL: none */
    const char *x_label;        /* NULL: none */
    const char *y_label;        /* NULL: none */
    const char *right_label;    /* NULL: none; label of the second y axis */
    int width, height;          /* 0: 900 x 560 */
    float scale;                /* 0: 1; 2 draws the same chart with twice the pixels each way */
    float x_min, x_max;         /* equal: from the data */
    float y_min, y_max;         /* equal: from the data */
    float right_min, right_max; /* equal: from the data */
    bool log_y;                 /* false: linear; true: values <= 0 are left out */
    const char *const *x_names; /* NULL: numbers; else names of x = 0, 1, 2, ... */
    int n_x_names;              /* 0: none */
    const float *h_lines;       /* NULL: none; y of horizontal reference lines */
    int n_h_lines;              /* 0: none */
    const float *v_lines;       /* NULL: none; x of vertical reference lines */
    int n_v_lines;              /* 0: none */
    bool no_legend;             /* false: above the plot when a series has a name */
} interp_chart;

/* How a series is drawn. */
typedef enum interp_series_style {
    INTERP_SERIES_LINE,
    INTERP_SERIES_DASHED,
    INTERP_SERIES_DOTTED,
    INTERP_SERIES_POINTS,
    INTERP_SERIES_LINE_POINTS
} interp_series_style;

/* One series of a line or area chart. */
typedef struct interp_series {
    const char *name;          /* NULL: not in the legend */
    const float *x;            /* [n]; NULL: 0, 1, 2, ... */
    const float *y;            /* [n]; NaN leaves a gap */
    int n;                     /* 0: empty */
    uint32_t rgb;              /* 0: the next category colour; 1 is as good as black */
    interp_series_style style; /* 0: line */
    bool right;                /* false: left y axis; true: the second one at the right */
    float line_width;          /* 0: 2 pixels */
} interp_series;

/* Draws a line chart, with a second y axis when a series asks for it. chart: NULL takes defaults.
   series: [n_series]. Free *out with interp_image_free. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: line_charts_put_points_where_the_axes_say. */
INTERP_API interp_status interp_chart_lines(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out);

/* Draws series stacked on each other over the x of the first; NaN and negative values count as 0.
   Series with `right` set are drawn as lines over the areas on the second y axis.
   Errors: BAD_ARGUMENT when stacked series differ in length, NO_MEMORY.
   Test: stacked_areas_add_up. */
INTERP_API interp_status interp_chart_areas(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out);

/* Bars of a bar chart. */
typedef struct interp_bars {
    const float *values;             /* [n_series,n_groups] */
    int n_series, n_groups;          /* n_series 0: 1 */
    const char *const *group_names;  /* [n_groups]; NULL: 0, 1, 2, ... */
    const char *const *series_names; /* [n_series]; NULL: no legend */
    const uint32_t *colours;         /* [n_series]; NULL: category colours */
    bool horizontal;                 /* false: upright; true: groups from top to bottom */
    bool show_values;                /* false: none; true: the number at the end of each bar */
} interp_bars;

/* Draws a grouped bar chart from a common zero line; chart->y_label names the values either way.
   Errors: BAD_ARGUMENT, NO_MEMORY. Test: bars_are_as_long_as_their_values. */
INTERP_API interp_status interp_chart_bars(interp_ctx *ctx, const interp_chart *chart,
                                           const interp_bars *bars, interp_image *out);

/* Options of interp_chart_histogram. */
typedef struct interp_histogram {
    const float *values;   /* [n]; those that are not finite are left out */
    size_t n;              /* 0: empty */
    int bins;              /* 0: 40; at most 4096 */
    bool align_zero;       /* false: bins over the range; true: 0 is an edge between two bins */
    float percentile;      /* 0: 100; 99 leaves the outer 0.5 % at each end out of the range */
    bool mean_line;        /* false: none; true: a line at the mean, with its value in the legend */
    uint32_t rgb;          /* 0: the first category colour */
    const double *weights; /* NULL: each value counts once; else [n], how often, from 0 */
} interp_histogram;

/* Counts values into the bins the chart of the same options shows; percentiles go without weights.
   edges: [bins+1]; counts: [bins]. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: histogram_counts_every_value_once. */
INTERP_API interp_status interp_histogram_count(interp_ctx *ctx, const interp_histogram *histogram,
                                                double *edges, size_t *counts);

/* Draws a histogram; chart->log_y makes the counts logarithmic. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: absurd_inputs_draw_something. */
INTERP_API interp_status interp_chart_histogram(interp_ctx *ctx, const interp_chart *chart,
                                                const interp_histogram *histogram,
                                                interp_image *out);

/* Options of interp_chart_matrix. */
typedef struct interp_matrix {
    const float *values;          /* [rows,cols]; NaN is drawn grey */
    int rows, cols;               /* row 0 is on top */
    const char *const *row_names; /* [rows]; NULL: numbers */
    const char *const *col_names; /* [cols]; NULL: numbers */
    interp_colormap colormap;     /* 0: viridis, RdWhGn when symmetric */
    bool symmetric;               /* false: lowest..highest; true: as far below 0 as above */
    float percentile;             /* 0: 100; 99: the colours end at this percentile of |values| when
                                     symmetric, else at it and at its counterpart from below */
    float min, max;               /* equal: from the values; the colours end here */
    bool show_values;             /* false: none; true: numbers in the cells where they fit */
    const char *bar_label;        /* NULL: none; label of the colour bar */
} interp_matrix;

/* Draws a matrix as a heat map with a colour bar; chart->x_min..x_max, when given, number the
   columns. Errors: BAD_ARGUMENT, NO_MEMORY. Test: matrix_cells_have_the_colour_of_their_value. */
INTERP_API interp_status interp_chart_matrix(interp_ctx *ctx, const interp_chart *chart,
                                             const interp_matrix *matrix, interp_image *out);

/* Options of interp_chart_scatter. */
typedef struct interp_scatter {
    const float *points;            /* [n,stride]; the first two columns are x and y */
    int n;                          /* 0: empty */
    int stride;                     /* 0: 2 */
    const int32_t *classes;         /* [n]; NULL: one colour; negative: grey */
    const char *const *class_names; /* [n_classes]; NULL: numbers */
    int n_classes;                  /* 0: largest of classes + 1 */
    const float *values;            /* [n]; NULL: none; else colour by value, with a colour bar */
    interp_colormap colormap;       /* 0: viridis; for values */
    const char *bar_label;          /* NULL: none; label of the colour bar */
    float radius;                   /* 0: by the number of points, 1.5 to 4 pixels */
    bool equal;                     /* false: axes fill the picture; true: same unit both ways */
} interp_scatter;

/* Draws points coloured by class or by value. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: absurd_inputs_draw_something. */
INTERP_API interp_status interp_chart_scatter(interp_ctx *ctx, const interp_chart *chart,
                                              const interp_scatter *scatter, interp_image *out);

/* Boxes in the plane, and series over them. */
typedef struct interp_boxes {
    const float *ends;              /* [n,4]: lower x and y, upper x and y */
    const int32_t *classes;         /* [n]: colour of each, as interp_category_rgb; -1: left out */
    const uint8_t *faint;           /* NULL: none; [n]: drawn lightly where it is not 0 */
    int n;                          /* 0: none */
    const char *const *class_names; /* NULL: no legend; [n_classes] */
    int n_classes;                  /* 0: none */
    const interp_series *over;      /* NULL: none; [n_over]: drawn over them */
    int n_over;                     /* 0: none */
} interp_boxes;

/* Draws boxes in order, each at least a pixel unless it is faint. Errors: BAD_ARGUMENT, NO_MEMORY. Test:
   boxes_are_drawn_where_they_are. */
INTERP_API interp_status interp_chart_boxes(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_boxes *boxes, interp_image *out);

/* Groups of values as violins. */
typedef struct interp_violins {
    const float *values;       /* all groups, one after the other */
    const int *counts;         /* [n_groups]: how many of each */
    int n_groups;              /* from 1 */
    const char *const *legend; /* NULL: none; [n_groups] */
    const uint32_t *colours;   /* NULL: category colours; [n_groups] */
} interp_violins;

/* Draws the density of each group by normal kernels of Scott's width, on both sides, up to two widths
   beyond the values, one as wide as the other; a box from quartile to quartile, whiskers to the last
   values within one and a half boxes, the median as a white dot. chart->x_names name the groups. What is
   not finite is left out. Errors: BAD_ARGUMENT, NO_MEMORY. As seaborn's violinplot with scale="width".
   Test: violins_are_wide_where_values_are. */
INTERP_API interp_status interp_chart_violins(interp_ctx *ctx, const interp_chart *chart,
                                              const interp_violins *violins, interp_image *out);

/* ---- graphs */

/* A node of a graph that is drawn. */
typedef struct interp_graph_node {
    const char *title; /* NULL: none; what it is */
    const char *note;  /* NULL: none; a smaller line at the end of its box */
    uint32_t rgb;      /* 0: light grey */
    bool joins;        /* false; true: goes into the box of the one node it reads, when no other
                          node reads that */
} interp_graph_node;

/* What node `to` reads from node `from`, which stands before it. */
typedef struct interp_graph_edge {
    int from, to; /* nodes */
} interp_graph_edge;

/* A graph without cycles. */
typedef struct interp_graph {
    const interp_graph_node *nodes; /* [n_nodes] */
    int n_nodes;                    /* needed, from 1 */
    const interp_graph_edge *edges; /* [n_edges]; NULL: none */
    int n_edges;                    /* 0: none */
    const char *title;              /* NULL: none */
    float scale;                    /* 0: 1; 2 draws twice the pixels each way */
    float aspect;                   /* 0: 1.5; width by height aimed at */
    int fold_above; /* 0: 40; from more boxes on, parts that repeat are drawn once, framed and
                       counted; negative: never */
} interp_graph;

/* Draws a graph in layers from top to bottom, long ones in columns from left to right; lines that
   pass layers are blue. Free *out with interp_image_free. Errors: BAD_ARGUMENT for edges that do not
   go forward and pictures above the size of interp_image_new, UNSUPPORTED for more than 200,000
   boxes and bends, NO_MEMORY. Tests: graph_boxes_never_overlap, graphs_run_downwards,
   repeated_parts_are_drawn_once. */
INTERP_API interp_status interp_graph_draw(interp_ctx *ctx, const interp_graph *graph,
                                           interp_image *out);

/* ---- panels */

/* Which cells of a panel share the range of their colours. */
typedef enum interp_panel_range {
    INTERP_RANGE_CELL, /* each its own */
    INTERP_RANGE_ROW,  /* all of a row */
    INTERP_RANGE_ALL   /* all of the panel */
} interp_panel_range;

/* One cell of a panel; all zero: an empty cell. */
typedef struct interp_panel_cell {
    const float *values;         /* [channels,height,width]; NULL: `image` */
    int channels, height, width; /* channels 0: 1; 3 without a map is colour, else the mean */
    interp_colormap colormap;    /* 0: gray, or colour for 3 channels; diverging ones centre on 0 */
    float min, max;              /* equal: from the values, shared as desc.range says */
    const interp_image *image;   /* NULL: `values`; a finished picture, drawn as it is */
    const char *caption;         /* NULL: none; below the cell */
} interp_panel_cell;

/* Options of interp_panel_draw. */
typedef struct interp_panel_desc {
    const char *title;              /* NULL: none */
    const interp_panel_cell *cells; /* needed; [rows,cols] */
    int rows, cols;                 /* 1..1000 each */
    const char *const *row_labels;  /* [rows]; NULL: none */
    const char *const *col_labels;  /* [cols]; NULL: none */
    int cell_size;            /* 0: 32 to 160 by the number of columns; pixels across a cell */
    interp_panel_range range; /* 0: each cell its own */
    bool colour_bars;         /* false: none; true: beside each row whose cells share a range */
} interp_panel_desc;

/* Draws a grid of small pictures with labels: saliency panels, canonical inputs, learned features.
   Errors: BAD_ARGUMENT, NO_MEMORY. Test: panel_cells_are_right_way_up. */
INTERP_API interp_status interp_panel_draw(interp_ctx *ctx, const interp_panel_desc *desc,
                                           interp_image *out);

/* Options of interp_confusion_draw. */
typedef struct interp_confusion_draw_desc {
    const char *title;     /* NULL: "Confusion matrix" */
    const int64_t *counts; /* needed; [n_classes,n_classes]; row: true class, column: predicted */
    int n_classes;         /* 1..1000; cell numbers are left out where they do not fit */
    const char *const *class_names; /* [n_classes]; NULL: 0, 1, 2, ... */
    interp_colormap colormap;       /* 0: Blues; of each cell's share of its row */
    int cell_size;                  /* 0: by the number of classes; pixels */
} interp_confusion_draw_desc;

/* Draws a confusion matrix: counts, recall, F1 and support at the right of each true class,
   precision below each predicted class, accuracy and macro F1 above. What would be 0/0 is drawn as
   "-". Errors: BAD_ARGUMENT (also for negative counts), NO_MEMORY. Test:
   confusion_picture_has_truth_in_rows. */
INTERP_API interp_status interp_confusion_draw(interp_ctx *ctx,
                                               const interp_confusion_draw_desc *desc,
                                               interp_image *out);

/* ---- reports: one HTML page that opens offline */

/* A page being put together. Errors are kept until interp_report_html or interp_report_end. */
typedef struct interp_report interp_report;

/* Begins a page. subtitle: NULL for none. Errors: BAD_ARGUMENT, NO_MEMORY. */
INTERP_API interp_status interp_report_begin(interp_ctx *ctx, const char *title,
                                             const char *subtitle, interp_report **out);

/* Begins a section. text: NULL for none; blank lines part paragraphs. All text is escaped.
   Test: report_text_is_escaped. */
INTERP_API void interp_report_section(interp_report *report, const char *heading, const char *text);

/* Adds a picture by its path relative to the page; it opens in full when clicked. Pictures that
   follow each other stand side by side. */
INTERP_API void interp_report_picture(interp_report *report, const char *caption, const char *path);

/* Adds a picture into the page itself. */
INTERP_API void interp_report_image(interp_report *report, const char *caption,
                                    const interp_image *image);

/* Adds a table. header: [cols]; cells: [rows,cols], NULL is empty; numbers are set right-aligned.
   */
INTERP_API void interp_report_table(interp_report *report, const char *const *header, int cols,
                                    const char *const *cells, int rows);

/* Adds a link to a file by its path relative to the page. what: NULL or what it holds. */
INTERP_API void interp_report_file(interp_report *report, const char *path, const char *what);

/* Finishes the page; *html belongs to the report and ends with a 0 byte not counted in *bytes.
   Nothing may be added afterwards. Errors: the first one met on the way. */
INTERP_API interp_status interp_report_html(interp_report *report, const char **html,
                                            size_t *bytes);

/* Frees a report that is not to be written; NULL is allowed. */
INTERP_API void interp_report_free(interp_report *report);

#ifndef INTERP_NO_STDIO
/* Finishes the page, writes it to `path` and frees the report, also on errors.
   Errors: the first one met on the way, IO. Test: report_is_one_whole_page. */
INTERP_API interp_status interp_report_end(interp_report *report, const char *path);
#endif

/* ---- galleries: one offline page of many pictures */

/* A page of pictures that are chosen by what they are of; hovering enlarges one, a click or the Enter
   key shows it in full with all that is known of it, arrow keys go on. It holds everything and asks
   the network for nothing. */
typedef struct interp_gallery interp_gallery;

/* Most fields of a gallery. */
enum { INTERP_GALLERY_FIELDS = 16 };

/* Options of interp_gallery_begin. */
typedef struct interp_gallery_desc {
    const char *title;    /* required */
    const char *subtitle; /* NULL: none */
    const char *const
        *fields;  /* NULL: none; [n_fields]: what pictures are chosen by, as "method" */
    int n_fields; /* 0: none; at most INTERP_GALLERY_FIELDS */
    const char *const
        *links;  /* NULL: none; [n_links, 2]: texts and relative paths of other pages */
    int n_links; /* 0: none */
    int cell;    /* 0: 150; pixels across a small picture */
} interp_gallery_desc;

/* Begins a page. Errors: BAD_ARGUMENT, NO_MEMORY. */
INTERP_API interp_status interp_gallery_begin(interp_ctx *ctx, const interp_gallery_desc *desc,
                                              interp_gallery **out);

/* Adds a picture. caption: NULL for none; values: NULL or [n_fields], what it is in each, NULL where
   it is nothing. All text is escaped. Test: galleries_hold_every_picture_and_escape_text. */
INTERP_API void interp_gallery_add(interp_gallery *gallery, const interp_image *image,
                                   const char *caption, const char *const *values);

/* Finishes the page; *html belongs to the gallery and ends with a 0 byte not counted in *bytes.
   Nothing may be added afterwards. Errors: the first one met on the way. */
INTERP_API interp_status interp_gallery_html(interp_gallery *gallery, const char **html,
                                             size_t *bytes);

/* Frees a gallery that is not to be written; NULL is allowed. */
INTERP_API void interp_gallery_free(interp_gallery *gallery);

#ifndef INTERP_NO_STDIO
/* Finishes the page, writes it to `path` and frees the gallery, also on errors.
   Errors: the first one met on the way, IO. Test: galleries_hold_every_picture_and_escape_text. */
INTERP_API interp_status interp_gallery_end(interp_gallery *gallery, const char *path);
#endif

/* ---- points to explore: one offline page */

/* What is known of every point: one column of metadata, from the first array that is given. */
typedef struct interp_projector_column {
    const char *name;               /* needed when there are several columns */
    const char *const *texts;       /* [n]; NULL: `classes` */
    const int32_t *classes;         /* [n]; NULL: `values` */
    const char *const *class_names; /* [largest of classes + 1]; NULL: numbers */
    const float *values;            /* [n] */
} interp_projector_column;

/* Options of interp_points_html. */
typedef struct interp_points_desc {
    const char *title;    /* required */
    const char *subtitle; /* NULL: none */
    const float *xy;      /* required; [n,dims]: the first two numbers are drawn; what is not finite
                             is left out */
    int n, dims;          /* required, from 1; n up to 2 000 000 */
    const interp_projector_column *columns; /* NULL: none; each with a name */
    int n_columns;                          /* 0: none */
    int colour;                  /* 0: the first; column that gives the colours at first */
    const uint8_t *marked;       /* NULL: none; [n]: points that get a ring where it is not 0 */
    const char *marked_name;     /* NULL: "misclassified"; what these are */
    const float *images;         /* NULL: none; [n,channels,height,width], shown for the points */
    int channels, height, width; /* 0: 1; of an image; 3 channels are colour */
    interp_colormap colormap;    /* 0: gray; for images without colour */
    float image_min, image_max;  /* equal: 0..1 or 0..255 when all lie so, else their range */
    bool plain;                  /* false; true: without WebGL */
} interp_points_desc;

/* One page that holds everything and asks the network for nothing: pointing at a point shows its
   picture and columns; it zooms, moves, colours by any column, hides classes, searches, selects by box
   and lasso into a table, exports CSV and PNG, and works by keyboard. Places are kept to 1/65534 of
   the larger side. Drawn by WebGL, or a plain canvas where there is none. *html is freed with
   interp_free and ends with a 0 byte not counted in *bytes. Errors: BAD_ARGUMENT, NO_MEMORY. Tests:
   points_page_holds_what_was_given, every_allocation_may_fail. */
INTERP_API interp_status interp_points_html(interp_ctx *ctx, const interp_points_desc *desc,
                                            char **html, size_t *bytes);

#ifndef INTERP_NO_STDIO
/* The same in a file that appears whole. Errors: also IO. */
INTERP_API interp_status interp_points_write(interp_ctx *ctx, const interp_points_desc *desc,
                                             const char *path);
#endif

#ifndef INTERP_NO_STDIO
/* ---- TensorBoard: event files and folders for its embedding projector */

/* A run being written: one event file, which TensorBoard may follow meanwhile. */
typedef struct interp_tensorboard interp_tensorboard;

/* Options of interp_tensorboard_open. */
typedef struct interp_tensorboard_desc {
    double wall_time; /* 0: the clock; else seconds since 1970, see interp_tensorboard_time */
    const char *host; /* NULL: "interp"; a part of the file name */
    int pid;          /* 0: 1; a part of the file name */
} interp_tensorboard_desc;

/* Begins a new event file events.out.tfevents.TIME.HOST.PID.UID in folder `dir`, which is made when
   it is not there (on POSIX). UID is the first number that is free, so that no file is ever
   overwritten. desc: NULL takes every default. Errors: BAD_ARGUMENT, IO, NO_MEMORY. Test:
   event_files_never_overwrite_each_other. */
INTERP_API interp_status interp_tensorboard_open(interp_ctx *ctx, const char *dir,
                                                 const interp_tensorboard_desc *desc,
                                                 interp_tensorboard **out);

/* Sets the time of the records to come, in seconds since 1970; 0: the clock. */
INTERP_API void interp_tensorboard_time(interp_tensorboard *tb, double wall_time);

/* Adds a number to the curve `tag`. Errors of all these calls: BAD_ARGUMENT, IO (the file then takes
   no more records), NO_MEMORY; each adds one whole record or none. Tests:
   records_equal_the_reference_bytes, records_read_back_as_written. */
INTERP_API interp_status interp_tensorboard_scalar(interp_tensorboard *tb, const char *tag,
                                                   int64_t step, float value);

/* Adds images[n] of one size under `tag`. TensorBoard shows at most 10 steps of a tag unless it is
   started with --samples_per_plugin images=100. Test: records_read_back_as_written. */
INTERP_API interp_status interp_tensorboard_image(interp_tensorboard *tb, const char *tag,
                                                  int64_t step, const interp_image *images, int n);

/* Adds the distribution of x[n]. bins: 0: 30; at most 4096. Numbers that are not finite are left
   out. Test: records_read_back_as_written. */
INTERP_API interp_status interp_tensorboard_histogram(interp_tensorboard *tb, const char *tag,
                                                      int64_t step, const float *x, size_t n,
                                                      int bins);

/* Adds a text, which TensorBoard reads as Markdown. */
INTERP_API interp_status interp_tensorboard_text(interp_tensorboard *tb, const char *tag,
                                                 int64_t step, const char *text);

/* Frees a run; every record is in the file already. NULL is allowed. */
INTERP_API void interp_tensorboard_close(interp_tensorboard *tb);

/* Options of interp_projector_write. */
typedef struct interp_projector_desc {
    const char *name;                       /* NULL: "embedding" */
    const float *x;                         /* needed; [n,d], finite */
    int n, d;                               /* needed, from 1; points and their dimensions */
    const interp_projector_column *columns; /* NULL: none; to colour and label points by */
    int n_columns;                          /* 0: none */
    const float *images;         /* NULL: none; [n,channels,height,width], shown for the points */
    int channels, height, width; /* 0: 1; of an image; 3 channels are colour */
    interp_colormap colormap;    /* 0: gray; for images without colour */
    float image_min, image_max;  /* equal: 0..1 or 0..255 when all lie so, else their range */
} interp_projector_desc;

/* Writes tensors.tsv, metadata.tsv, sprite.png (a square mosaic of at most 8192 pixels a side, for
   which thumbnails are shrunk) and, last, projector_config.pbtxt to folder `dir`, which is made when
   it is not there (on POSIX). Errors: BAD_ARGUMENT, NOT_FINITE names the point, IO, NO_MEMORY.
   Tests: projector_folder_parses_back, sprites_shrink_to_the_largest_texture. */
INTERP_API interp_status interp_projector_write(interp_ctx *ctx, const char *dir,
                                                const interp_projector_desc *desc);
#endif

#ifdef __cplusplus
}
#endif

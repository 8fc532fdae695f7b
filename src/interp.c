/* The spine: every part in its order. tools/amalgamate.c writes interp.h from it, putting each file
   where its #include line stands; a part may use what stands above it. */
#include "manual.h"

#if defined(ITP_KERNEL_PASS)
/* ============================ kernels: compiled once per instruction set ====================== */
#include "simd/vocabulary_scalar.h"
#include "simd/vocabulary_avx2.h"
#include "simd/vocabulary_avx512.h"
#include "simd/vocabulary_neon.h"
#include "simd/kernels_begin.h"
#include "simd/kernels_math.h"
#include "simd/kernels_map.h"
#include "simd/kernels_reduce.h"
#include "simd/kernels_gemm.h"
#include "simd/kernels_winograd.h"
#include "simd/kernels_image.h"
#include "simd/kernels_depthwise.h"
#include "simd/kernels_abreast.h"
#ifndef INTERP_NO_EMBED
#include "simd/kernels_embed.h"
#endif
#include "simd/kernels_end.h"
#else

/* ============================ public interface ================================================ */
#ifndef INTERP_H
#define INTERP_H
#include "base/base.h"
#include "math/math.h"
#include "data/data.h"
#include "net/net.h"
#include "onnx/onnx.h"
#include "attr/attr.h"
#include "lca/lca.h"
#include "mode/mode.h"
#include "embed/embed.h"
#include "dynamics/dynamics.h"
#include "view/view.h"
#endif /* INTERP_H */

/* ============================ implementation ================================================== */
#if defined(INTERP_IMPLEMENTATION) && !defined(ITP_IMPLEMENTED)
#define ITP_IMPLEMENTED
#include "base/config.c"
#ifdef __cplusplus
extern "C" {
#endif
#include "base/ctx.c"
#include "base/random.c"
#include "base/threads.c"
#include "base/buffer.c"
#include "base/pattern.c"
#include "simd/dispatch.c"
#include "base/open.c"
#include "math/gemm.c"
#include "math/windows.c"
#include "math/stack.c"
#include "math/winograd.c"
#include "math/conv.c"
#include "math/linalg.c"
#include "math/pca.c"
#include "math/quadrature.c"
#include "math/distance.c"
#include "math/transport.c"
#include "math/statistics.c"
#ifndef INTERP_NO_EMBED
#include "math/neighbours.c"
#include "math/vptree.c"
#include "math/nndescent.c"
#include "math/knn.c"
#include "embed/affinity.c"
#include "embed/grid.c"
#include "embed/tree.c"
#include "embed/tsne.c"
#include "embed/spectral.c"
#include "embed/umap.c"
#include "embed/quality.c"
#endif
#ifndef INTERP_NO_DYNAMICS
#include "dynamics/grid.c"
#include "dynamics/boxmap.c"
#include "dynamics/components.c"
#include "dynamics/morse.c"
#include "dynamics/retract.c"
#include "dynamics/homology.c"
#include "dynamics/invariants.c"
#include "dynamics/conley.c"
#include "dynamics/gp.c"
#include "dynamics/pairs.c"
#endif
#undef ITP_HEAT
#define ITP_HEAT ITP_COLD
#include "data/array.c"
#include "data/npy.c"
#include "data/zip.c"
#include "data/csv.c"
#include "data/safetensors.c"
#include "data/images.c"
#include "data/dataset.c"
#include "data/shapes.c"
#include "data/open.c"
#include "net/graph.c"
#include "net/op_shape.c"
#undef ITP_HEAT
#define ITP_HEAT
#include "net/op_elementwise.c"
#include "net/op_math.c"
#include "net/op_reduce.c"
#include "net/op_norm.c"
#include "net/op_linear.c"
#include "net/op_pool.c"
#include "net/op_move.c"
#include "net/op_index.c"
#include "net/op_scatter.c"
#include "net/op_axis.c"
#include "net/op_table.c"
#undef ITP_HEAT
#define ITP_HEAT ITP_COLD
#include "net/plan.c"
#undef ITP_HEAT
#define ITP_HEAT
#include "net/run.c"
#undef ITP_HEAT
#define ITP_HEAT ITP_COLD
#include "net/layers.c"
#include "net/arch.c"
#include "net/loss.c"
#include "net/metrics.c"
#ifndef INTERP_NO_TRAIN
#include "net/train.c"
#include "net/abreast.c"
#include "net/ensemble.c"
#endif
#ifndef INTERP_NO_ONNX
#include "onnx/protobuf.c"
#include "onnx/map.c"
#include "onnx/make.c"
#include "onnx/known.c"
#include "onnx/read_math.c"
#include "onnx/read_move.c"
#include "onnx/read_window.c"
#include "onnx/read_norm.c"
#include "onnx/read_quant.c"
#include "onnx/read_recurrent.c"
#include "onnx/fuse.c"
#include "onnx/read.c"
#include "onnx/storage.c"
#include "onnx/write.c"
#include "onnx/write_ops.c"
#endif
#ifndef INTERP_NO_ATTR
#include "attr/baseline.c"
#include "attr/views.c"
#include "attr/features.c"
#include "attr/attribute.c"
#include "attr/rules.c"
#include "attr/guided.c"
#include "attr/gradient.c"
#include "attr/smooth.c"
#include "attr/reveal.c"
#include "attr/pairs.c"
#include "attr/deeplift.c"
#include "attr/lrp.c"
#include "attr/cam.c"
#include "attr/full_grad.c"
#include "attr/guided_ig.c"
#include "attr/coalition.c"
#include "attr/surrogate.c"
#include "attr/owen.c"
#include "attr/anchors.c"
#include "attr/perturb.c"
#include "attr/cone.c"
#include "attr/methods.c"
#include "attr/tcav.c"
#include "attr/slic.c"
#include "attr/many.c"
#include "attr/evaluate.c"
#include "attr/randomise.c"
#ifndef INTERP_NO_TRAIN
#include "attr/canonical.c"
#endif
#endif
#if !defined(INTERP_NO_LCA) && !defined(INTERP_NO_TRAIN)
#include "lca/allocate.c"
#include "lca/directions.c"
#include "lca/groups.c"
#include "lca/analyse.c"
#endif
#if !defined(INTERP_NO_MODE) && !defined(INTERP_NO_TRAIN)
#include "mode/compare.c"
#include "mode/features.c"
#include "mode/diagnose.c"
#include "mode/layers.c"
#include "mode/maps.c"
#include "mode/select.c"
#include "mode/train.c"
#endif
#ifndef INTERP_NO_VIEW
#include "view/colour.c"
#include "view/font.c"
#include "view/image.c"
#include "view/gif.c"
#include "view/chart.c"
#include "view/boxes.c"
#include "view/panels.c"
#include "view/graph.c"
#include "view/html.c"
#include "view/gallery.c"
#include "view/points.c"
#include "view/tensorboard.c"
#endif
#ifdef __cplusplus
}
#endif
#endif /* INTERP_IMPLEMENTATION */
#endif /* ITP_KERNEL_PASS */

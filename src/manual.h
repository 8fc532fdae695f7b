/* interp.h: trains, loads and explains neural networks on any CPU, with nothing to install.

   1. USE
   In one C or C++ file, and only one:

       #define INTERP_IMPLEMENTATION
       #include "interp.h"

   and in every other just the include. Build with `cc -O2 app.c -lm -pthread`; no other flags: one
   binary finds out at run time whether the CPU has AVX2, AVX-512 or NEON.

   2. STEP BY STEP
   - interp_open() gives a context: memory, threads, kernels, the last error. interp_close() frees it
     and everything made from it.
   - A network comes from interp_net_arch(), from the builders (interp_input, interp_conv2d, ...,
     interp_net_build), or from a file by interp_onnx_load(). A part of a network may be called again
     with the same parameters by interp_reuse(); "multiview:resnet18" is made so.
   - Data sets are plain arrays (interp_dataset), filled by interp_data_open() or by hand.
   - interp_train() trains; interp_trainer_step() is for a loop of one's own.
   - interp_predict() predicts; a workspace (interp_workspace_new, interp_forward, interp_backward)
     does it without allocating, and gives gradients of inputs, parameters and layers.
   - interp_attribute() says which inputs, or numbers of a layer, an output depends on, an attributor
     (interp_attributor_new) the same of one picture after the other, sooner;
     interp_attribution_score() how far to believe that, on pictures of interp_dataset_shapes() against
     the truth; interp_attribution_randomise() on which layers it depends; interp_tcav() whether it grows along a concept; interp_canonical() says what a class
     looks like to the network, interp_confusion_count() where it is wrong.
   - interp_lca_new() shares every step's loss change out among the parameters, of interp_train() or of a
     loop of one's own, of all samples, of classes or of single examples; interp_net_groups() and
     interp_net_groups_match() say what sums are of; interp_lca_curvature() finds the directions in which
     the loss is most curved, for allocations along them; interp_lca_analysis_new() looks at a run of such steps: who helped, how often, how
     unevenly, and whether layers do so together.
   - interp_mode_diagnose() says which labels a network does badly on, interp_mode_select_layer() in which
     layer they are lost, interp_mode_heat_maps() and interp_mode_select_inputs() what to train on next;
     interp_mode_train() does all of it in rounds, beside a control whose inputs are drawn at random;
     interp_paired_test() and interp_holm() say whether it was worth it.
   - interp_pca(), interp_tsne() and interp_umap() lay points of many numbers out in the plane,
     interp_embed_quality() says how faithfully; interp_knn() finds nearest neighbours.
   - interp_onnx_save() and interp_weights_save() write what was trained;
     interp_onnx_serialize_as() with weights in half or a quarter of the bytes, or laid out for flash.
   - The view functions draw plain arrays: charts, panels, graphs, confusion matrices, an HTML report.

   3. RULES THAT HOLD EVERYWHERE
   - Calls that can fail return an interp_status; interp_error() has the sentence. On error, outputs
     are as they were. Nothing prints, exits or aborts.
   - Every call with many options takes a descriptor; NULL, or 0 in a field, is the default written
     beside the field.
   - Arrays are dense, row-major float32, images [N,C,H,W]; models of [N,H,W,C] become such by
     interp_onnx_load_desc.channels_first. Letters: N batch, C channels, H W height
     and width, K classes, n samples, d dimensions.
   - Results are bit-identical for one binary, instruction set and seed at any number of threads.
   - A context is for one thread at a time. A built network may be shared by contexts in several
     threads, each with a workspace of its own, as long as none trains it.
   - Sums of products run in float32 in a fixed order; statistics, losses and attributions in double.

   4. MEMORY
   Everything comes from the context's allocator (interp_desc.allocator), or from one buffer of yours
   (interp_desc.buffer), and counts towards interp_desc.memory_limit; batches are cut to keep the
   limit where that does not change results. Sizes are known beforehand, exactly, because the query
   runs the layout itself: interp_workspace_bytes(), interp_attribute_bytes(), interp_tsne_bytes() ... Forward, backward and
   training steps allocate nothing.

   5. BUILD OPTIONS, defined before the include
       INTERP_STATIC       all functions static: the compiler drops what is not used
       INTERP_NO_RARE_OPS  no ops beyond those most networks are made of: no recurrent,
                           quantised, transposed, resizing, scattering ones
       INTERP_NO_TRAIN     no training, losses, evaluation, canonical inputs
       INTERP_NO_ONNX      no ONNX and no weights files
       INTERP_NO_ATTR      no attribution
       INTERP_NO_LCA       no loss change allocation
       INTERP_NO_MODE      no debugging by heat maps
       INTERP_NO_EMBED     no neighbours, t-SNE, UMAP
       INTERP_NO_DYNAMICS  no Morse graphs, Conley indices, Gaussian processes
       INTERP_NO_VIEW      no drawing, reports, TensorBoard
       INTERP_NO_SIMD      scalar kernels only
       INTERP_NO_THREADS   no threads; also no pthread.h
       INTERP_NO_STDIO     no files, no environment; memory in, memory out
       INTERP_NO_MALLOC    never calls malloc: give a buffer or an allocator
       INTERP_SELF         "name.h", when this file was renamed: it includes itself, once per
                           instruction set
       INTERP_ASSERT(c)    checks of our own mistakes; off by default
   stb_image.h, when included before interp.h, adds PNG and JPEG reading and .gz and .npz inflation;
   stb_image_write.h smaller PNG files. Both are optional.

   6. KERNELS
   INTERP_ISA=scalar|avx2|avx512|neon in the environment, or interp_desc.isa, forces an instruction
   set. Kernels are written once and compiled once for each. 3x3 convolutions of many planes and
   their gradients go by Winograd's F(4x4, 3x3), which rounds 2 to 3 times as much as plain sums, those of small images by
   F(2x2, 3x3); interp_desc.no_winograd turns it off. Many small images are convolved with a lane for each: the same numbers
   as one by one, sooner.

   7. NOT THERE
   No GPU, no float16 arithmetic, no control flow in graphs. MSVC is written
   for, but not tested.

   Licence: MIT-0 or Unlicense, at your choice; see the end of LICENSE. */

#!/bin/sh
# The command-line tool from outside: what it writes, what it leaves alone, what it refuses and how.
# Usage: test_tool [TOOL]      TOOL: default interp beside this file
# Environment: RUNNER in front of the tool (valgrind, an emulator). Each function is a claim.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
root=$(pwd)
tool=${1:-$here/interp}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0
absent=77 # what a claim returns when what it needs is not installed

interp()
{
    # shellcheck disable=SC2086
    ${RUNNER:-} "$tool" "$@"
}

# Runs a claim in a folder of its own. Not as a condition: in one the shell forgets set -e.
claim()
{
    mkdir "$dir/$1"
    (
        cd "$dir/$1" || exit
        set -e
        "$1"
    ) >"$dir/log" 2>&1
    code=$?
    if [ $code -eq 0 ]; then
        passed=$((passed + 1))
    elif [ $code -eq $absent ]; then
        skipped=$((skipped + 1))
    else
        failed=$((failed + 1))
        echo "  FAILED $1"
        tail -n 15 "$dir/log" | sed 's/^/    | /'
    fi
    rm -rf "${dir:?}/$1"
}

# refused CODE TEXT ARGUMENT...: ends with the code and one line on stderr that holds the text.
refused()
{
    want=$1 text=$2
    shift 2
    code=0
    interp "$@" >refused.out 2>refused.err || code=$?
    if [ "$code" -ne "$want" ] || [ "$(wc -l <refused.err)" -ne 1 ] || [ -s refused.out ] ||
        ! grep -q '^interp: error: ' refused.err || ! grep -qF -- "$text" refused.err; then
        echo "code $code, wanted $want and \"$text\": interp $*"
        cat refused.err refused.out
        exit 1
    fi
    rm refused.err refused.out
}

# The names in a folder, hidden ones too, on one line.
names()
{
    find "$1" -mindepth 1 | sed "s|^$1/||" | sort | tr '\n' ' '
}

# A table of $1 rows of $2 numbers.
table()
{
    awk -v n="$1" -v d="$2" 'BEGIN { srand(1); for (i = 0; i < n; i++)
        for (j = 1; j <= d; j++) printf "%.3f%s", rand(), j < d ? "," : "\n" }'
}

# Made once for all: a small network for pictures, one for tables, and eight samples for each.
shared_models()
{
    interp train --data digits --arch cnn --epochs 2 --quiet -o "$dir/cnn"
    interp train --data iris --epochs 2 --quiet -o "$dir/iris"
    table 8 64 >"$dir/x.csv"
}

# ---- what is measured

lca_writes_everything_and_offline_it_is_the_same()
{
    set -- --data digits --store full --by class --validation 0.2 --quiet
    interp lca "$@" --arch mlp:64-8-10 --optimizer momentum --lr 0.05 --epochs 1 --json -o o >o.json
    for f in loss helped helped_histograms histogram layers overfitting helped_layers gini oscillation \
        trajectories_layers peaks neurons_dense1 neurons_dense2 trajectories_neurons \
        trajectories_parameters classes; do
        head -c 8 o/$f.png | grep -q PNG
    done
    for f in inputs weights; do head -c 6 o/$f.gif | grep -q GIF89a; done
    grep -q '^all,' o/figures.csv
    grep -q '"needed_for_90_percent"' o.json
    grep -q '"inputs.gif"' o.json
    [ -n "$(find o/tensorboard -name 'events.out.tfevents.*')" ]
    # each step's sums by layer are those of its classes
    awk -F, 'FNR > 1 { if (FILENAME == "o/classes.csv") c[$1 $3] += $4; else l[$1 $2] = $3 }
        END { for (k in l) { d = l[k] - c[k]; if (d * d > 1e-12) exit 1; n++ } exit !n }' \
        o/classes.csv o/lca_layers.csv
    interp lca "$@" --model o/model.onnx --weights o/weights.npy --samples train -o p
    cmp o/lca.npy p/lca.npy
    [ "$(wc -c <o/gradients.npy)" -eq "$(wc -c <o/lca.npy)" ]
    cmp o/lca_layers.csv p/lca_layers.csv
    [ ! -e p/weights.npy ] && [ ! -e p/gradients.npy ]
    interp lca --data digits --arch mlp:64-8-10 --epochs 1 --no-pictures --quiet -o o
    [ "$(names o)" = 'figures.csv histogram.csv lca_layers.csv model.onnx neurons.csv neurons.npy peaks.csv residual.csv tensorboard times_helped.csv ' ]
}

# As a library of others reads them: every frame, its time, and that they differ.
lca_animations_are_read_by_others()
{
    /usr/bin/python3 -c 'import PIL' 2>/dev/null || return $absent
    interp lca --data digits --arch mlp:64-8-10 --epochs 1 --quiet -o o
    /usr/bin/python3 -c '
from PIL import Image
m = Image.open("o/inputs.gif")
frames = []
for i in range(m.n_frames):
    m.seek(i)
    frames.append(m.convert("RGB").tobytes())
    assert m.info["duration"] == 120, m.info
assert m.n_frames > 20 and len(set(frames)) == m.n_frames and m.info["loop"] == 0'
}

# By Google's protobuf: each record, its checksums, what its plugin shows; one run, layer by layer, with
# curves of every step and pictures of several.
lca_events_are_what_tensorboard_reads()
{
    interp lca --data digits --arch mlp:64-8-10 --epochs 1 --quiet -o o
    "$root/tools/check_tensorboard.py" o/tensorboard/* >events
    steps=$(($(wc -l <o/residual.csv) - 1))
    for tag in all/loss all/helped dense1/lca dense2/helped; do grep -q " $tag: $steps steps" events; done
    for tag in dense1/allocations dense2/neurons; do
        awk -v tag="$tag:" '$1 == tag { n = $2 } END { exit !(n > 10) }' events
    done
    for tag in dense1/neurons_by_step input/pixels; do
        awk -v tag="$tag:" '$1 == tag { n = $2 } END { exit !(n > 3) }' events
    done
    printf x | dd of="$(echo o/tensorboard/*)" bs=1 seek=4000 conv=notrunc 2>/dev/null
    if "$root/tools/check_tensorboard.py" o/tensorboard/* >events; then exit 1; fi
}

lca_events_are_there_while_the_training_goes()
{
    # shellcheck disable=SC2086
    ${RUNNER:-} "$tool" lca --data digits --arch mlp:64-8-10 --epochs 10000 --quiet -o o 2>log &
    pid=$!
    until [ "$(cat o/.interp-*/tensorboard/* 2>/dev/null | wc -c)" -gt 10000 ]; do sleep 0.05; done
    kill -INT $pid
    code=0
    wait $pid || code=$?
    [ $code -eq 1 ]
    [ ! -e o ]
}

lca_sums_are_by_whatever_is_asked_for()
{
    by()
    {
        interp lca --data digits --arch mlp:64-8-10 --epochs 1 --quiet --no-pictures --by "$1" -o "$2"
        awk -F, 'NR > 1 { n[$2]++; s += $3 } END { for (k in n) printf "%s ", k > "names"
            printf "%.6f\n", s }' "$2/lca_layers.csv"
        tr ' ' '\n' <names | sed '/^$/d' | sort | tr '\n' ' '
        echo
    }
    by layer layer >layer.txt
    sum=$(head -n 1 layer.txt)
    [ "$(tail -n 1 layer.txt)" = 'dense1 dense2 ' ]
    printf '# two of them\nfirst ^dense1\nends weight$\n' >groups.txt
    for what in kind:'biases weights ' variable:'dense1.bias dense1.weight dense2.bias dense2.weight ' \
        'regex=weight|bias:bias weight ' 'regex=t1,1:others ' 'groups.txt:ends first others '; do
        by "$(echo "${what%%:*}" | sed 's/=/:/')" o >o.txt
        [ "$(head -n 1 o.txt)" = "$sum" ]
        [ "$(tail -n 1 o.txt)" = "${what#*:}" ]
    done
    by neuron o >o.txt
    [ "$(head -n 1 o.txt)" = "$sum" ]
    [ "$(tail -n 1 o.txt | wc -w)" -eq 36 ] # of "dense1 0" and so on
    # each example: what its layers allocate is what its loss changes by, all of them the whole
    interp lca --data digits --arch mlp:64-8-10 --epochs 1 --quiet --by example:2000,layer -o e
    head -c 8 e/examples_extreme.png | grep -q PNG
    [ "$(sed -n '2,$p' e/residual.csv | wc -l)" -gt 9 ]
    awk -F, 'FNR == 1 { next } FILENAME == "e/residual.csv" { change += $3 - $2; next }
        { own += $3; sum += $4; d = $4 - $5 - $6; if (d * d > 1e-12) exit 1 }
        END { d = own - change; e = sum - change; exit !(d * d < 1e-10 && e * e < 1e-5) }' \
        e/residual.csv e/examples.csv
    refused 2 'give example:N' lca --data digits --by example:x -o r
    refused 2 'exclude each other' lca --data digits --by class,example -o r
    refused 2 'one thing at a time' lca --data digits --by kind,neuron -o r
    refused 1 'a ) is missing' lca --quiet --data digits --by 'regex:(a' -o r
    printf 'lonely\n' >groups.txt
    refused 1 'lonely needs a pattern' lca --quiet --data digits --by groups.txt -o r
}

# The most curved directions at four moments, of all samples and of five: they and the rest are the whole.
lca_goes_along_directions()
{
    interp lca --data digits --arch mlp:64-8-10 --epochs 1 --quiet --store full --no-pictures -o o
    interp lca --data digits --model o/model.onnx --weights o/weights.npy --samples train --quiet \
        --directions 2 --by example:5 -o p
    [ "$(wc -l <p/directions.csv)" -eq 10 ]
    awk -F, 'FNR == 1 { next } FILENAME == "p/residual.csv" { want += $4; next } { sum += $4 }
        $3 != "" && $3 <= 0 { exit 1 }
        END { d = want - sum; exit !(d * d < 1e-10) }' p/residual.csv p/directions.csv
    [ "$(wc -c <p/polca.npy)" -eq $((128 + $(sed 1d p/residual.csv | wc -l) * 5 * 8 * 4)) ]
    refused 2 'needs the --weights' lca --data digits --directions 2 -o r
}

lca_experiments_do_what_they_say()
{
    total()
    {
        name=$1
        shift
        interp lca --data digits --arch mlp:64-8-10 --optimizer momentum --lr 0.05 --epochs 1 --quiet \
            --no-pictures "$@" -o "$name"
        awk -F, '$1 == "dense2" { print $3 }' "$name/figures.csv" >"$name.total"
        awk -F, 'NR == 2 { a = $2 } { b = $3 } END { print b - a }' "$name/residual.csv" >"$name.change"
    }
    total plain
    total frozen --freeze dense2@0
    total late --layer-delay dense2=3
    total calm --layer-momentum dense2=0
    total small --layer-l2 dense2=0.1
    total other --layer-optimizer dense2=adam --layer-lr dense2=0.001
    total steady --layer-schedule 'dense[2]=constant'
    total straight --straight-path
    total control --control
    [ "$(cat frozen.total)" = 0 ]
    for name in late calm small other steady control straight; do
        if cmp -s plain.total $name.total; then exit 1; fi
    done
    # another way to the same end changes the loss by as much
    awk 'NR == FNR { a = $1; next } { d = a - $1; exit !(d * d < 1e-10) }' plain.change straight.change
    refused 2 'give LAYER=NAME, adam' lca --data digits --layer-optimizer dense2=lion -o o
    refused 2 'give LAYER=STEPS' lca --data digits --layer-delay dense2=-1 -o o
    refused 2 'need all samples' lca --data digits --by class --subsample 10 -o o
    refused 2 'give layer, variable' lca --quiet --data digits --by pixel -o o
    [ ! -e o ]
}

inspect_measures_what_training_never_saw()
{
    interp train --data digits --arch linear --epochs 2 --seed 3 --quiet --json -o r >train.json
    interp inspect r/model.onnx --data digits --seed 5 --canonical-steps 2 --quiet --json -o i >i.json
    want=$(sed 's/.*"test_accuracy":\([0-9.]*\).*/\1/' train.json)
    grep -q "\"samples\":359,\"accuracy\":$want," i.json
    cmp r/confusion.csv i/confusion.csv
    grep -q '"macro":{"precision":0.*"weighted":{.*"canonical":\[{"class":0,.*"projector/tensors.tsv"' \
        i.json
    for f in tensors.tsv metadata.tsv sprite.png projector_config.pbtxt; do
        test -s i/projector/$f
    done
    test -s i/embedding.html
    interp inspect r/model.onnx --data digits --canonical-steps 2 --quiet --method umap --n-epochs 20 \
        --layer input -o u 2>err || grep -q 'has no such layer' err
}

confusion_tables_have_means_and_shares()
{
    interp inspect "$dir/iris/model.onnx" --data iris --canonical-steps 2 --quiet --normalize true -o i
    test "$(sed -n 's/,.*//p' i/confusion.csv | tail -n 2 | tr '\n' ' ')" = 'macro weighted '
    awk -F, 'NR == 1 && $2 != "setosa" { exit 1 }
        NR > 1 && (s = $2 + $3 + $4 - 1) * s > 1e-12 { exit 1 }' i/confusion_normalized.csv
    interp inspect "$dir/iris/model.onnx" --data iris --canonical-steps 2 --quiet -o i
    test ! -e i/confusion_normalized.csv
    refused 2 'give one of none, true, pred, all' inspect "$dir/iris/model.onnx" --data iris \
        --normalize rows -o i
}

embed_lays_rows_out()
{
    interp embed digits --quiet --json -o e >e.json
    test "$(names e)" = 'embedding.html embedding.npy projector projector/metadata.tsv projector/projector_config.pbtxt projector/sprite.png projector/tensors.tsv quality.csv scatter.png '
    awk -F, 'NR == 1 && $0 != "measure,value" { exit 1 }
        $1 == "trustworthiness" { t = $2 } $1 == "knn_preservation" { p = $2 } $1 == "kl" { kl = $2 }
        END { exit !(t > 0.9867 && p > 0.578 && kl < 0.769) }' e/quality.csv
    grep -q '"method":"t-SNE","n":1797,"d":64,"n_components":2,"seconds":[0-9.e-]*,"trustworthiness":0.99' e.json
    grep -qE 'https?://' e/embedding.html && return 1
    table 60 5 >x.csv
    awk 'BEGIN { for (i = 0; i < 60; i++) print i % 3 }' >y.csv
    for m in umap pca; do
        interp embed x.csv --method $m --labels y.csv --predictions y.csv --n-epochs 30 --quiet -o $m
        test -s $m/embedding.html
    done
    grep -q '^explained_variance_2,0' pca/quality.csv
    interp embed x.csv --perplexity 5,15 --quiet -o two
    interp embed x.csv --perplexity 5 --quiet -o one
    if cmp -s one/embedding.npy two/embedding.npy; then return 1; fi
    grep -q '^knn_accuracy,' umap/quality.csv
    interp embed x.csv --method umap --threads 1 --seed 3 --quiet -o a
    interp embed x.csv --method umap --threads 3 --seed 3 --quiet -o b
    cmp a/embedding.npy b/embedding.npy
    interp embed digits --model "$dir/cnn/model.onnx" --pca 20 --standardize --quiet -o layer
    head -1 layer/projector/metadata.tsv | grep -q '^[0-9]'
    { table 5 3; echo 1,nan,2; table 5 3; } >bad.csv
    refused 1 'row 5 has NaN in column 1' embed bad.csv -o c
}

embed_writes_what_the_projector_reads()
{
    interp embed digits --method pca --n-components 3 --quiet -o e
    "$root/tools/check_tensorboard.py" e/projector/projector_config.pbtxt >read
    grep -q 'digits: 1797 points of 64 numbers' read
    sed -i 5d e/projector/metadata.tsv
    code=0
    "$root/tools/check_tensorboard.py" e/projector/projector_config.pbtxt >read || code=$?
    [ $code -eq 1 ] && grep -q '1796 lines for 1797 points' read
}

attributions_are_laid_out_as_points()
{
    m=$dir/cnn/model.onnx x=$dir/x.csv
    interp attribute "$m" --input "$x" --method saliency,grad_cam --embed pca --quiet -o a
    for f in saliency grad_cam; do
        test -s a/${f}_points/embedding.html && test -s a/${f}_points/projector/tensors.tsv
        grep -q "<a href=\"${f}_points/embedding.html\">$f as points</a>" a/gallery.html
    done
    test "$(wc -c <a/saliency_points/embedding.npy)" -eq 192 # a header and 8 points
    interp attribute "$m" --input "$x" --method saliency --quiet -o a
    test ! -e a/saliency_points/embedding.html && ! grep -q '<nav>' a/gallery.html
    refused 2 'give one of tsne, umap, pca' attribute "$m" --input "$x" --method saliency --embed x -o b
    refused 2 'one target each' attribute "$m" --input "$x" --method saliency --embed pca \
        --target all -o b
}

# Attributions are rows like others, and pictures; neighbours are found by any way.
embed_takes_attributions_and_ways_to_neighbours()
{
    interp attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --method saliency --quiet -o a
    interp embed a/saliency.npy --method umap --n-neighbors 4 --n-epochs 20 --quiet -o e
    test -s e/projector/sprite.png
    interp embed digits --method umap --quiet --no-quality --json -o exact >exact.json
    interp embed digits --method umap --knn descent --quiet --json -o near >near.json
    grep -q '"knn_recall":1[,.]' exact.json
    awk -F, '$1 == "knn_recall" { r = $2 } $1 == "knn_accuracy" { a = $2 }
        END { exit !(r > 0.98 && r <= 1 && a > 0.97) }' near/quality.csv
    refused 2 'give one of auto, exact, tree, descent' embed digits --knn x -o e
}

dynamics_writes_graph_sets_and_tiles()
{
    awk 'BEGIN { for (i = 0; i <= 400; i++) { x = i / 400; printf "%.6f,%.6f\n", x, 3.2 * x * (1 - x) } }' >p.csv
    interp dynamics --pairs p.csv --subdivide 9 --lower=-0.1 --upper 1.1 --conley --cmgdb --quiet --json -o d >d.json
    test "$(names d)" = 'CMGDB_morse_sets.csv CMGDB_mvmap.txt CMGDB_retract.txt morse_graph.dot morse_graph.json morse_graph.png morse_sets.csv morse_sets.png retraction.npy retraction.png '
    cmp d.json d/morse_graph.json
    grep -q '"boxes":512,"nodes":\[{"id":0,"boxes":[0-9]*,"conley":\["x^2-1","0"\]' d.json
    head -1 d/morse_sets.csv | grep -qx 'l0,u0,node'
    head -1 d/CMGDB_mvmap.txt | grep -qx 512
    interp dynamics --pairs p.csv --subdivide 9 --threads 3 --lower=-0.1 --upper 1.1 --quiet -o t
    cmp d/morse_sets.csv t/morse_sets.csv
    interp dynamics --pairs p.csv --surrogate gp --kernel matern52 --deviations 1 --subdivide 8:10 --quiet -o g
    grep -q '"gp":{"length"' g/morse_graph.json
    awk 'BEGIN { for (i = 0; i < 1000; i++) { x = i % 10 / 9; y = int(i / 10) % 10 / 9; z = int(i / 100) / 9
        printf "%.4f,%.4f,%.4f,%.4f,%.4f,%.4f\n", x, y, z, x / (2 - x), y / (2 - y), z / 2 } }' >space.csv
    interp dynamics --pairs space.csv --subdivide 9 --quiet -o space
    test -s space/retraction.png && head -1 space/morse_sets.csv | grep -qx 'l0,l1,l2,u0,u1,u2,node'
    cut -d, -f1 p.csv >x.csv && cut -d, -f2 p.csv >fx.csv
    interp dynamics --pairs x.csv,fx.csv --subdivide 9 --lower=-0.1 --upper 1.1 --quiet -o s
    cmp d/morse_sets.csv s/morse_sets.csv
}

dynamics_follows_trainings()
{
    interp dynamics --data iris --models 40 --epochs 100 --subdivide 10 --threads 1 --quiet -o a
    interp dynamics --data iris --models 40 --epochs 100 --subdivide 10 --threads 3 --quiet -o b
    cmp a/weights.npy b/weights.npy
    cmp a/morse_graph.dot b/morse_graph.dot
    test "$(names a)" = 'accuracy.png accuracy_by_tile.png entropy.csv entropy.png models.csv morse_graph.dot morse_graph.json morse_graph.png morse_sets.csv morse_sets.png probabilities.npy retraction.npy retraction.png weights.csv weights.npy weights.png '
    test "$(wc -l <a/models.csv)" = 41
    interp dynamics --data digits --classes 0,1 --arch tiny --models 3 --epochs 3 --sweep layers=1,2 --subdivide 8 --quiet -o c
    test -s c/accuracy.png && test -s c/layers_1/models.csv && test -s c/layers_2/retraction.png
}

dynamics_refuses_what_it_cannot_do()
{
    printf '0.1,0.2\n0.3,0.4\n' >p.csv
    printf '0.1,0.2\n0.3,nan\n' >n.csv
    printf '0.1,0.2,0.3\n0.3,0.1,0.1\n' >odd.csv
    refused 2 'dynamics needs --pairs' dynamics -o d
    refused 1 'row 1 holds a number that is not finite' dynamics --pairs n.csv -o d
    refused 1 'it has 3 columns' dynamics --pairs odd.csv -o d
    refused 2 'the domain needs a width' dynamics --pairs p.csv --lower 1 --upper 1 -o d
    refused 2 'too many' dynamics --pairs p.csv --subdivide 40 -o d
    refused 2 'MIN' dynamics --pairs p.csv --subdivide 12:10 -o d
    refused 1 'memory' dynamics --pairs p.csv --subdivide 24 --memory 10M -o d
    refused 1 'nothing.npy' dynamics --pairs nothing.npy -o d
    refused 2 'one for each axis' dynamics --pairs p.csv --lower 0,0 -o d
}

embed_refuses_what_it_cannot_do()
{
    table 20 4 >x.csv
    printf '1\n2\n' >y.csv
    refused 1 'it holds 2 numbers for 20 rows' embed x.csv --labels y.csv -o e
    refused 2 'give one of tsne, umap, pca' embed x.csv --method som -o e
    refused 2 'numbers from 1 on' embed x.csv --perplexity 5,x -o e
    refused 2 't-SNE makes 1 to 3' embed x.csv --n-components 4 -o e
    refused 2 'rows have 4 numbers' embed x.csv --image-size 3x3 -o e
    refused 2 'needs --labels' embed x.csv --method umap --supervised -o e
    refused 1 'has no layer "nowhere"' embed digits --model "$dir/cnn/model.onnx" --layer nowhere -o e
    refused 1 'nothing.csv' embed nothing.csv -o e
    test ! -e e
}

# probe PAGE SCRIPT N: the page in a browser, where there is one: the events of a user, and what comes of
# them: N claims.
probe()
{
    if [ -n "${RUNNER:-}" ]; then return $absent; fi
    browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
        return $absent
    {
        sed '/<\/body>/,$d' "$1"
        echo '<script>'
        cat "$root/tests/$2"
        echo '</script></body></html>'
    } >probe.html
    timeout 100 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --user-data-dir="$PWD/profile" --virtual-time-budget=8000 --window-size=1300,850 \
        --dump-dom "file://$PWD/probe.html" >dom.html 2>browser.log || return $absent # it does not start
    sed -n '/id="probe"/,/<\/pre>/p' dom.html
    grep -q "all $3 claims hold" dom.html
}

a_browser_shows_points_and_asks_the_network_for_nothing()
{
    interp embed digits --method pca --quiet -o e
    probe e/embedding.html points_probe.js 11
}

a_browser_filters_and_enlarges_the_gallery()
{
    interp attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --method saliency --quiet -o p
    column target p/summary.csv | awk '{ print (NR > 3 ? $1 : ($1 + 1) % 10) }' >y.csv
    interp attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --labels y.csv --quiet \
        --method saliency,grad_cam -o g
    probe g/gallery.html gallery_probe.js 11
}

attribute_takes_data_classes_and_what_the_model_was_trained_on()
{
    m=$dir/cnn/model.onnx x=$dir/x.csv
    interp attribute "$m" --data digits --samples 12 --method saliency,grad_cam --target true -o d 2>log
    grep -q '^grad_cam: of layer ".*", as --layer was not given$' log
    test "$(wc -l <d/summary.csv)" -eq 25 && test -s d/saliency_11.png && test ! -e d/saliency_12.png
    grep -q 'data-4="yes"' d/gallery.html
    test "$(column residual d/summary.csv | sort -u)" = nan
    interp attribute "$m" --input "$x" --method deep_lift --target 3,8 --quiet -o two
    for k in 3 8; do
        interp attribute "$m" --input "$x" --method deep_lift --target $k --quiet -o one
        column output one/summary.csv >one.csv
        awk -F, -v k=$k 'NR > 1 && $3 == k { print $4 }' two/summary.csv | cmp - one.csv
    done
    test -s two/deep_lift_classes_7.png && test "$(wc -c <two/deep_lift.npy)" -eq $((128 + 4 * 8 * 2 * 64))
    # numbers brought to what the model knows, as if they had been given so
    awk -F, -v OFS=, '{ for (i = 1; i <= NF; i++) $i = ($i - 0.5) / 2; print }' "$x" >half.csv
    interp attribute "$m" --input "$x" --preprocess 0.5:2 --method saliency --quiet -o a
    interp attribute "$m" --input half.csv --method saliency --quiet -o b
    cmp a/saliency.npy b/saliency.npy
    # scores are of what was explained
    interp evaluate-attribution "$m" --input "$x" --attribution one --quiet -o e
    test "$(column target e/scores.csv | sort -u)" = 8
    refused 2 'exclude each other' attribute "$m" --input "$x" --data digits --method saliency -o r
    refused 2 '"x" is no class' attribute "$m" --input "$x" --method saliency --target 3,x -o r
    refused 2 'classes are not known' attribute "$m" --input "$x" --method saliency --target true -o r
    refused 1 'there are 8 samples' attribute "$m" --input "$x" --method saliency --labels half.csv -o r
    refused 1 'takes 1 channels' attribute "$m" --input "$x" --method saliency --preprocess imagenet -o r
    refused 2 'give imagenet, or MEAN:SD' attribute "$m" --input "$x" --method saliency \
        --preprocess 0.5 -o r
    refused 2 'not several' evaluate-attribution "$m" --input "$x" --attribution a --target 1,2 -o r
    test ! -e r
}

# A model of images [N,8,8,3]: Transpose, Conv, Relu, GlobalAveragePool, Flatten.
model_with_channels_last()
{
    base64 -d <<'END'
CAcSADqZAgokCgF4EgFjIglUcmFuc3Bvc2UqEQoEcGVybUAAQANAAUACoAEHCg8KAWMKAXcSAW0iBENvbnYKDAoBbRIBciIEUmVs
dQoZCgFyEgFwIhFHbG9iYWxBdmVyYWdlUG9vbAoPCgFwEgF5IgdGbGF0dGVuEgFnKm8IAggDCAIIAhABQgF3SmAAAEDAAAAAwAAA
gL8AAAAAAACAPwAAAEAAAEBAAABAwAAAAMAAAIC/AAAAAAAAgD8AAABAAABAQAAAQMAAAADAAACAvwAAAAAAAIA/AAAAQAAAQEAA
AEDAAAAAwAAAgL9aHAoBeBIXChUIARIRCgMSAU4KAggICgIICAoCCANiFAoBeRIPCg0IARIJCgMSAU4KAggCQgQKABAN
END
}

images_with_channels_last_are_taken_and_written_so()
{
    model_with_channels_last >last.onnx
    awk 'BEGIN { for (i = 0; i < 2; i++) for (k = 0; k < 192; k++)
        printf "%d%s", (i * 5 + k * 7 + int(k / 9) * 3) % 11, k < 191 ? "," : "\n" }' >x.csv
    interp attribute last.onnx --input x.csv --method occlusion,grad_cam,deep_lift \
        --set window=8x8x1 --set stride=8x8x1 --quiet -o a
    for k in occlusion deep_lift; do
        head -c 128 a/$k.npy | grep -q '(2, 8, 8, 3)'
    done
    head -c 128 a/grad_cam.npy | grep -q '(2, 8, 8)'
    test -s a/deep_lift_1.png && test -s a/gallery.html
    # what a window over one channel takes away is the same at all its pixels, which are 3 apart
    tail -c +129 a/occlusion.npy | od -An -v -tx4 -w12 | head -n 64 | sort -u >channels
    test "$(wc -l <channels)" -eq 1
    # arrays with channels last go in as they came out, and channels first as well
    interp evaluate-attribution last.onnx --input x.csv --attribution a/deep_lift.npy --quiet -o e
    interp evaluate-attribution last.onnx --input x.csv --method deep_lift --quiet -o f
    column deletion e/scores.csv >1
    column deletion f/scores.csv | cmp - 1
    interp run last.onnx --input a/deep_lift.npy --quiet -o r
    interp convert last.onnx -o again.onnx --quiet
    interp run again.onnx --input a/deep_lift.npy --quiet -o s
    cmp r/y.npy s/y.npy
    interp info again.onnx --json --quiet >info.json
    grep -q '\[8,8,3\]' info.json
}

# column NAME FILE: its numbers, one a line.
column()
{
    awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next }
        { print $at }' "$2"
}

attributions_are_scored_and_ranked()
{
    m=$dir/cnn/model.onnx x=$dir/x.csv
    interp attribute "$m" --input "$x" --method saliency,grad_cam,deep_lift --quiet -o a
    table 8 64 | tr '0123456789' '0000000001' >mask.csv
    interp evaluate-attribution "$m" --input "$x" --attribution a --mask mask.csv --quiet -o e
    test "$(names e)" = 'agreement.csv curves.csv curves.png ranking.csv scores.csv '
    awk -F, 'NR > 1 && ($2 * $2 > 1 || $1 == "mass") { exit 1 }' e/agreement.csv
    test "$(wc -l <e/scores.csv)" -eq 25 && test "$(wc -l <e/ranking.csv)" -eq 4
    test "$(wc -l <e/curves.csv)" -eq $((1 + 3 * (2 * 33 + 2 * 9)))
    for score in deletion insertion road flipping mass; do
        test "$(column "${score}_rank" e/ranking.csv | sort -n | tr '\n' ' ')" = '1 2 3 '
    done
    test -z "$(column max_sensitivity e/scores.csv | tr -d '\n')"
    # layers drawn anew, from the last: all of them leave little of the gradient
    interp evaluate-attribution "$m" --input "$x" --method saliency,grad_cam --cascade top_down --quiet -o c
    test "$(head -n 2 c/randomisation.csv | cut -d, -f 2-4 | tail -n 1)" = 'top_down,1,dense1'
    test "$(awk -F, '$1 == "saliency" { last = $5 } END { print (last < 0.6) }' c/randomisation.csv)" = 1
    test -s c/randomisation.png
    refused 2 'cascade is of --method' evaluate-attribution "$m" --input "$x" --attribution a \
        --cascade top_down -o r
    # the same attribution from its file and from its method, which is also tried nearby
    interp evaluate-attribution "$m" --input "$x" --attribution a/deep_lift.npy --quiet -o f
    interp evaluate-attribution "$m" --input "$x" --method deep_lift --threads 2 --json --quiet -o g \
        >g.json
    for score in completeness infidelity deletion insertion road irof sensitivity_n complexity; do
        test "$(column $score f/scores.csv)" = "$(column $score g/scores.csv)"
    done
    test "$(column randomisation g/scores.csv | grep -c '[0-9]')" -eq 8
    grep -q '"samples":8,"attributions":\[{"name":"deep_lift","mean_rank":1,.*"mass":null' g.json
    grep -q '"files":\["curves.csv","curves.png","ranking.csv","scores.csv"\]' g.json
}

scores_refuse_what_does_not_fit()
{
    m=$dir/cnn/model.onnx x=$dir/x.csv
    table 7 64 >seven.csv
    table 8 64 | sed '3s/^[^,]*/nan/' >nan.csv
    table 3 64 | tr 1-9 0 >zero.csv
    interp attribute "$m" --input "$x" --method saliency --quiet -o a
    mkdir empty
    set -- evaluate-attribution "$m" --input "$x" -o r
    refused 2 'give --attribution A.npy' "$@"
    refused 1 'seven.csv: its shape is [7,64] but there are 8 samples of [1,8,8]' "$@" \
        --attribution seven.csv
    refused 1 'nan.csv: the attribution of sample 2 holds NaN' "$@" --attribution nan.csv
    refused 1 'no .npy file in it fits' "$@" --attribution empty
    refused 1 'none.npy' "$@" --attribution none.npy
    refused 2 'two attributions are called saliency' "$@" --attribution a/saliency.npy --method saliency
    refused 1 'give a number for each of 8 x 8 pixels' "$@" --method saliency --mask zero.csv
    table 8 64 | tr 1-9 0 >zero.csv
    refused 1 'no pixel of sample 0' "$@" --method saliency --mask zero.csv
    refused 1 'it attributes to a layer' "$@" --method layer_conductance --layer conv2
    refused 1 'target 77' "$@" --method saliency --target 77
    refused 2 '--set is an option of --method' "$@" --attribution a --set abs=0
    refused 2 'exclude each other' evaluate-attribution --test-bed --input "$x" -o r
    refused 2 'MODEL.onnx is missing' evaluate-attribution --input "$x" -o r
    test ! -e r
}

the_test_bed_knows_the_truth()
{
    interp evaluate-attribution --test-bed --samples 2 --method grad_cam,occlusion,saliency -o b 2>log
    awk '/the network is right on/ { found = 1; if ($11 + 0 < 95) exit 1 } END { exit !found }' log
    test "$(head -c 4 b/methods.png | tail -c 3)" = PNG
    # the truth is worth more than chance: of 1024 pixels about a sixth are in the masks
    column mass b/ranking.csv | awk '$1 < 0.2 { exit 1 }'
    interp evaluate-attribution b/test_bed/model.onnx --input b/test_bed/inputs.npy --quiet -o c \
        --mask b/test_bed/masks.npy --attribution b/test_bed/attributions
    for score in mass rank pointing sparseness; do
        test "$(column $score b/scores.csv)" = "$(column $score c/scores.csv)"
    done
    refused 1 'needs the name of a layer' evaluate-attribution --test-bed --samples 2 -o d \
        --method layer_conductance --quiet
}

# ---- results appear together or not at all

an_interrupted_training_keeps_its_epochs()
{
    # shellcheck disable=SC2086
    ${RUNNER:-} "$tool" train --data digits --arch linear --epochs 100000 -o r 2>log &
    pid=$!
    while ! grep -q '^epoch   *5/' log; do sleep 0.05; done
    kill -INT $pid
    code=0
    wait $pid || code=$?
    test $code -eq 1
    tail -n 1 log | grep -q '^interp: error: train was cancelled after [0-9]* epochs: '
    test "$(wc -l <r/history.csv)" -gt 5
    interp info r/model.onnx >/dev/null
    interp info r/best.onnx >/dev/null
    test "$(names r | grep -c interp-)" -eq 0
}

a_failed_command_changes_nothing()
{
    interp run "$dir/cnn/model.onnx" --input "$dir/x.csv" --classify --quiet -o o
    cp -r o before
    printf '1,2,3\n' >short.csv
    refused 1 'its shape is [1,3]' run "$dir/cnn/model.onnx" --input short.csv -o o
    refused 1 'target 77' attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --method saliency \
        --target 77 -o o
    refused 1 'its samples are [4] but' inspect "$dir/cnn/model.onnx" --data iris -o o
    refused 1 'no.csv' train --data csv:no.csv -o o
    diff -r before o
    refused 1 'its shape is [1,3]' run "$dir/cnn/model.onnx" --input short.csv -o new
    test ! -e new
}

a_place_that_cannot_be_written_is_found_before_the_work()
{
    : >file
    for command in "train --data digits --epochs 100000" "run $dir/cnn/model.onnx --input $dir/x.csv" \
        "attribute $dir/cnn/model.onnx --input $dir/x.csv --method all" \
        "inspect $dir/cnn/model.onnx --data digits" "embed digits" demo; do
        # shellcheck disable=SC2086
        refused 1 'file/o: the folder could not be made' $command -o file/o
        # shellcheck disable=SC2086
        refused 1 'file: this is not a folder' $command -o file
    done
}

methods_of_layers_neurons_and_concepts()
{
    attribute="attribute $dir/cnn/model.onnx --input $dir/x.csv --layer dense1 --quiet"
    # shellcheck disable=SC2086
    interp $attribute --method layer_integrated_gradients,layer_lrp --target all -o o
    test "$(names o)" = 'layer_integrated_gradients.npy layer_lrp.npy summary.csv '
    test "$(grep -c ',layer_lrp,9,' o/summary.csv)" -eq 8
    table 5 64 >concept.csv
    # shellcheck disable=SC2086
    interp $attribute --method neuron_saliency,tcav --target 3 --set concept=concept.csv \
        --set random="$dir/x.csv" -o p
    test "$(wc -l <p/tcav.csv)" -eq 2
    test -e p/neuron_saliency_0.png
    # shellcheck disable=SC2086
    refused 1 'samples of the size' $attribute --method tcav --set concept=concept.csv -o q
    # shellcheck disable=SC2086
    refused 2 'is not for tcav' $attribute --method neuron_saliency --target all -o q
    # shellcheck disable=SC2086
    refused 2 'no such method' $attribute --method layer_nonsense -o q
    # shellcheck disable=SC2086
    refused 2 'give NODE:RULE' $attribute --method lrp --set rule_of=dense1 -o q
    interp attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --method kernel_shap,lime,smooth_grad \
        --set segments=9 --set base=input_x_gradient --quiet -o q
}

results_of_two_runs_do_not_mix()
{
    table 3 64 >three.csv
    interp attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --method saliency,var_grad --quiet -o o
    : >o/saliency_mine.png
    interp attribute "$dir/cnn/model.onnx" --input three.csv --method saliency --quiet -o o
    test "$(find o -name 'saliency_[0-9].png' | wc -l)" -eq 3
    test "$(find o -name 'var_grad_[0-9].png' | wc -l)" -eq 8
    test -e o/saliency_mine.png
    cp -r "$dir/iris" r
    interp train --data iris --epochs 1 --quiet -o r
    test "$(find r/tensorboard -type f | wc -l)" -eq 1
    interp run "$dir/cnn/model.onnx" --input three.csv --classify --quiet -o p
    interp run "$dir/cnn/model.onnx" --input three.csv --quiet -o p
    test "$(names p)" = 'logits.npy '
    mkdir p/.interp-999999999 # of a process that was killed
    interp run "$dir/cnn/model.onnx" --input three.csv --quiet -o p
    test "$(names p)" = 'logits.npy '
}

resume_refuses_another_seed_and_other_data()
{
    table 60 4 | awk -F, '{ print $0 "," int($1 * 2) }' >d1.csv
    sed '7s/^0/9/' d1.csv >d2.csv
    set -- --arch linear --epochs 2 --batch 16 --resume --quiet -o r
    interp train --data csv:d1.csv "$@"
    refused 1 'another seed' train --data csv:d1.csv --seed 1 "$@"
    refused 1 'other data' train --data csv:d2.csv "$@"
    interp train --data csv:d1.csv "$@"
    test -s r/best.onnx && test "$(wc -l <r/history.csv)" -eq 3
}

# ---- memory

# least ARGUMENT...: the limit that is named does, one KB less does not.
least()
{
    code=0
    interp "$@" --memory 1K --quiet -o m 2>err || code=$?
    test $code -eq 1 && test "$(wc -l <err)" -eq 1
    k=$(sed -n 's/^interp: error: --memory 1K: .*; give --memory \([0-9]*\)K or more.*/\1/p' err)
    echo "least $k KB: $*"
    refused 1 "give --memory ${k}K or more" "$@" --memory $((k - 1))K --quiet -o m
    interp "$@" --memory "${k}K" --quiet -o m
}

every_command_names_the_least_memory_that_does()
{
    least train --data digits --arch cnn --epochs 1 --validation 0.5
    least train --data iris --arch linear --epochs 1
    least run "$dir/cnn/model.onnx" --input "$dir/x.csv"
    least attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --method saliency,smooth_grad
    least inspect "$dir/cnn/model.onnx" --data digits --canonical-steps 2
    least evaluate-attribution "$dir/cnn/model.onnx" --input "$dir/x.csv" --method saliency
    least embed digits --no-quality --n-iter 10
    least embed digits --no-quality --method umap --n-epochs 10
}

# ---- data and models

data_of_every_kind_finds_a_network()
{
    interp train --data iris --epochs 1 --quiet -o r
    interp info r/model.onnx | grep -q 'classes: setosa, versicolor, virginica'
    interp info r/model.onnx --json | grep -q '"classes":\["setosa","versicolor","virginica"\]'
    interp train --data digits,size=4x6 --arch vgg-half --epochs 1 --batch 1500 --quiet -o r
    interp info r/model.onnx | grep -q 'one sample \[1,4,6\]'
    interp train --data digits --arch mlp --epochs 1 --quiet --freeze dense1@0 -o r
    interp train --data shapes:80,size=16x20 --epochs 1 --quiet -o r
    interp info r/model.onnx | grep -q 'classes: disc, square, triangle, cross'
    refused 2 ':N samples and ,size=HxW' train --data shapes:x -o r
    refused 1 'sides of 16' train --data shapes,size=9x9 -o r
    refused 2 ',size=HxW' train --data digits,size=4 -o r
    refused 1 'only images' train --data iris,size=4x4 -o r
    refused 1 'digits and iris' train --data flowers -o r
    interp run "$dir/cnn/model.onnx" --input "$dir/x.csv" --quiet -o o
    refused 1 'it has no labels' train --data npy:o/logits.npy -o r
    refused 1 'o/logits.npy: it has 80 labels' train --data npy:o/logits.npy,o/logits.npy -o r
}

arrays_of_any_shape_that_fits_are_taken()
{
    tr , '\n' <"$dir/x.csv" | head -n 64 | tr '\n' , | sed 's/,$/\n/' >one.csv
    interp run "$dir/cnn/model.onnx" --input one.csv --json --quiet -o o | grep -q '"samples":1,'
    interp run "$dir/cnn/model.onnx" --input "$dir/x.csv" --json --quiet -o o |
        grep -q '"shape":\[8,10\]'
    refused 1 'give [n,1,8,8]' run "$dir/cnn/model.onnx" --input o/logits.npy -o p
    table 3 64 | sed '2s/^[^,]*//' >hole.csv
    refused 1 'hole.csv: sample 1 holds NaN' run "$dir/cnn/model.onnx" --input hole.csv -o p
    refused 1 'its inputs are "input"' run "$dir/cnn/model.onnx" --input "image=$dir/x.csv" -o p
}

weights_that_are_not_numbers_are_named()
{
    cp "$dir/cnn/model.onnx" bad.onnx
    printf '\377\377\377\377\377\377\377\377' |
        dd of=bad.onnx bs=1 seek=$(($(wc -c <bad.onnx) / 2)) conv=notrunc 2>/dev/null
    for command in run "attribute --method saliency"; do
        # shellcheck disable=SC2086
        refused 1 '" hold NaN' $command bad.onnx --input "$dir/x.csv" -o p
    done
    refused 1 'bad.onnx: its weights "' inspect bad.onnx --data digits -o p
}

pictures_are_fitted_and_named()
{
    interp attribute "$dir/cnn/model.onnx" --input "$dir/x.csv" --method saliency --quiet -o pics
    mkdir -p two/b two/a && cp pics/saliency_1.png two/b/one.png && cp pics/saliency_2.png two/a/x.PNG
    cp pics/saliency_[034].png two/a && cp pics/saliency_[567].png two/b
    interp run "$dir/cnn/model.onnx" --input two/b --classify -o o 2>log
    grep -q 'two/b: 4 of 4 pictures fitted to \[1,8,8\], the first from \[3,' log
    head -n 2 o/predictions.csv | tail -n 1 | grep -q '^0,[0-9]*,.*,one.png$'
    interp train --data folder:two,size=12x12 --epochs 1 --quiet -o r
    interp run r/model.onnx --input two/a --classify --quiet -o o
    grep -qE '^sample,class,probability,top5,name,file$' o/predictions.csv
    grep -qE '^3,[01],.*,[ab],x.PNG$' o/predictions.csv
    interp attribute r/model.onnx --input two/b/one.png --method saliency --target b --quiet -o o
    grep -qE '^0,saliency,1,.*,b,one.png$' o/summary.csv
    interp inspect r/model.onnx --data folder:two --canonical-steps 2 -o i 2>log
    grep -q 'fitted from \[3,.*\] to \[3,12,12\]' log
    mv two/b two/c
    refused 1 'its class "c" is none' inspect r/model.onnx --data folder:two --quiet -o i
}

info_tells_of_every_node_and_draws_the_graph()
{
    m=$dir/cnn/model.onnx
    interp info "$m" --batch 2 --picture graph.png >table.txt
    grep -qE '^conv1 +Conv +\[32,8,8\] +288 +18432 +8192$' table.txt
    interp info "$m" --json --methods >info.json
    grep -q '"method_bytes":{"saliency":[1-9]' info.json
    interp info "$m" --methods | grep -q '^anchors  *[1-9][0-9]* bytes$'
    grep -q '"name":"conv1","op":"Conv","sample_shape":\[32,8,8\],"parameters":288,"macs":18432,' \
        info.json
    test "$(grep -o '"parameters":[0-9]*' info.json | sed 's/.*://' |
        awk 'NR == 1 { all = $1; next } { sum += $1 } END { print sum == all }')" -eq 1
    test "$(head -c 4 graph.png | tail -c 3)" = PNG
    cp graph.png before.png
    refused 1 'end the name with' info "$m" --picture graph.gif
    refused 1 'no.onnx' info no.onnx --picture graph.png
    cmp graph.png before.png
}

converted_models_say_the_same()
{
    m=$dir/cnn/model.onnx
    interp run "$m" --input "$dir/x.csv" --quiet -o before
    interp convert "$m" -o again.onnx --quiet
    interp run again.onnx --input "$dir/x.csv" --quiet -o after
    cmp before/logits.npy after/logits.npy
    interp convert "$dir/iris/model.onnx" -o named.onnx --quiet
    interp info named.onnx | grep -q 'classes: setosa, versicolor, virginica'
    interp convert "$m" -o w.safetensors --quiet && interp convert "$m" -o w.npz --quiet
    test -s w.safetensors && test "$(head -c 2 w.npz)" = PK
    interp convert "$m" -o 3-small.model.h --quiet
    size=$(sed -n 's/^static const unsigned char model_3_small\[\([0-9]*\)\] = {$/\1/p' 3-small.model.h)
    test "$(grep '^[0-9,]*$' 3-small.model.h | tr -cd , | wc -c)" -eq "$size"
}

conversion_tells_what_it_loses()
{
    m=$dir/cnn/model.onnx
    interp convert "$m" -o half.onnx --float16 --quiet --data digits >log
    grep -qE '^float16: 67360 weights in 5 arrays; largest change 0\.0[0-9]* % ' log
    grep -qE '^accuracy on [0-9]* samples: [0-9.]* % before, [0-9.]* % after$' log
    interp convert "$m" -o byte.onnx --int8 --quiet --json >log
    grep -qE '"storage":"int8","arrays":5,"weights":67360,"largest_error":0\.003' log
    test "$(wc -c <half.onnx)" -lt 150000 && test "$(wc -c <byte.onnx)" -lt 80000
    cp half.onnx kept.onnx
    refused 1 'no.onnx' convert no.onnx -o half.onnx
    refused 1 'its samples are [4]' convert "$m" -o half.onnx --int8 --data iris
    cmp half.onnx kept.onnx
    refused 2 'exclude each other' convert "$m" -o x.onnx --int8 --float16
    refused 2 'go into .onnx and .h' convert "$m" -o x.npz --int8
    refused 2 'end the name with .onnx, .h, .safetensors or .npz' convert "$m" -o x.pt
    refused 2 'give one of them' convert "$m" -o x.onnx --data digits
    refused 2 '-o FILE is missing' convert "$m"
    test ! -e x.onnx
}

mode_mends_a_network_and_accounts_for_it()
{
    interp mode --data digits --arch mlp:64-16-16-10 --epochs 3 --rounds 2 --repeats 2 --fault starve:3:0.05 \
        --metric dot,random --space layer,input --json --quiet -o o >o.json
    for f in layers rounds rounds_label pool differences heatmaps/input_hci heatmaps/layer_dhwi \
        heatmaps/input_dhci selection/best selection/worst selection/earthmover2d; do
        head -c 8 o/$f.png | grep -q PNG
    done
    head -n 1 o/rounds.csv | grep -q '^metric,repeat,round,label,accuracy_mode,accuracy_control,label_accuracy_mode,label_accuracy_control,samples'
    head -n 1 o/significance.csv | grep -q '^metric,measure,mean_difference,ci_low,ci_high,p_wilcoxon,p_t,repeats'
    head -n 1 o/layers.csv | grep -q '^layer,node,op,features,train_accuracy,val_accuracy'
    grep -q '"metric":"dot/input/wrong"' o.json
    # the pool loses what is selected, and nothing else
    awk -F, 'NR > 1 { if ($3 == 0) { n = $20; used = 0 } else used += $9
        if ($19 != used || $19 + $20 != n || $4 != 3) exit 1; rows++ } END { exit rows < 12 }' o/rounds.csv
    [ "$(wc -l <o/significance.csv)" -eq 13 ]
    [ "$(wc -l <o/diagnosis.csv)" -eq 11 ]
    cp o/rounds.csv first.csv
    interp mode --data digits --arch mlp:64-16-16-10 --epochs 3 --rounds 2 --repeats 2 --fault starve:3:0.05 \
        --metric dot,random --space layer,input --no-pictures --quiet --threads 1 -o o
    cut -d, -f1-20 first.csv >a && cut -d, -f1-20 o/rounds.csv >b && cmp a b
    [ ! -e o/layers.png ]
    # a model from a file, and one with convolutions
    interp mode --data digits --model "$dir/cnn/model.onnx" --rounds 1 --theta 1 --quiet --no-pictures -o p
    grep -q conv p/layers.csv || grep -q Conv p/layers.csv || grep -q Relu p/layers.csv
    interp mode --data digits --arch lenet --epochs 1 --rounds 1 --fault mislabel:2:0.3 --metric earthmover2d \
        --space input --quiet -o q
    refused 2 'starve:LABEL:SHARE' mode --data digits --fault hunger:1 -o r
    refused 2 'lists them' mode --data digits --metric x -o r
    refused 2 'give wrong, typical' mode --data digits --choice x -o r
    refused 2 'give layer or input' mode --data digits --space x -o r
    refused 2 'no images' mode --data iris --augment-pool 1 --quiet -o r
    refused 2 '3 classes' mode --data iris --fault starve:7:0.5 --quiet -o r
}

# ---- calls that are wrong

wrong_calls_are_refused_in_one_line()
{
    m=$dir/cnn/model.onnx x=$dir/x.csv
    refused 2 'give one of adam, adamw, sgd, rmsprop, momentum' train --data iris --optimizer x -o r
    refused 2 'give one of constant, step, cosine, linear' train --data iris --schedule x -o r
    refused 2 'give saliency, input_x_gradient' attribute "$m" --input "$x" --method x -o r
    refused 2 'give one of auto, scalar, avx2, avx512, neon' train --data iris --isa x -o r
    refused 2 'no images' train --data iris --augment flip -o r
    refused 2 'rising epochs' train --data iris --milestones 20,10 -o r
    refused 2 'multiply_by_inputs=2' attribute "$m" --input "$x" --method saliency \
        --set multiply_by_inputs=2 -o r
    refused 2 'window=1,x' attribute "$m" --input "$x" --method occlusion --set window=1,x -o r
    refused 1 'along 1 numbers' attribute "$m" --input "$x" --method occlusion --set window=2,8,8 -o r
    printf '1\n2\n3\n' >mask.csv
    refused 1 'shape of the mask' attribute "$m" --input "$x" --method lime --mask mask.csv -o r
    refused 2 'classes count from 0' attribute "$m" --input "$x" --method saliency --target -1 -o r
    printf '0.5\n1\n1\n1\n1\n1\n1\n1\n' >y.csv
    refused 1 '--target y.csv: ' attribute "$m" --input "$x" --method saliency --target y.csv -o r
    refused 2 '-o DIR is missing' run "$m" --input "$x"
    printf 'a,b,c\n1,2,0\n1,2,1\n' >t.csv
    refused 1 '(a, b, c)' train --data csv:t.csv,label=d -o r
    test ! -e r
}

if shared_models >"$dir/log" 2>&1; then
    # shellcheck disable=SC2013 # names, not lines
    for f in $(sed -n '/^# ---- what is measured/,$s/^\([a-z_]*\)()$/\1/p' "$0" | grep -vxE 'least|column|probe|model_with_channels_last'); do
        claim "$f"
    done
else
    echo '  FAILED shared_models'
    cat "$dir/log"
    failed=1
fi
echo "$(basename "$0"): $passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]

// ONNX Runtime as a worker of bench_nets.py: answers the questions of bench_nets.c, forward only.
// `onnx FILE` says which model the next `prepare` is about.
//
//   node worker_ort.js FOLDER_OF_NODE_MODULES THREADS
'use strict';
let ort;
try {
  ort = require(require('path').resolve(process.argv[2], 'onnxruntime-node'));
} catch (error) { // bench_nets.py says so
  process.exit(1);
}
const threads = Number(process.argv[3]);
const sampleSeconds = 0.03, shown = 5;
let model, session, feeds, repeats;

// Processor time when there is one thread, which other programs cannot spoil.
function seconds() {
  if (threads > 1) return performance.now() / 1e3;
  const used = process.cpuUsage();
  return (used.user + used.system) / 1e6;
}

async function sample() {
  const start = seconds();
  for (let i = 0; i < repeats; i++) await session.run(feeds);
  return (seconds() - start) / repeats;
}

async function prepare(net, task, batch) {
  if (task !== 'forward') throw new Error('forward only');
  const dims = /^(mlp|lenet5)/.test(net) ? [batch, 1, 28, 28] : [batch, 3, 224, 224];
  const x = new Float32Array(dims.reduce((a, b) => a * b));
  for (let i = 0; i < x.length; i++) x[i] = (i * 7919 % 1009) / 1009 - 0.5;
  session = await ort.InferenceSession.create(model, {
    executionProviders: ['cpu'], intraOpNumThreads: threads, interOpNumThreads: 1,
    executionMode: 'sequential', graphOptimizationLevel: 'all'});
  feeds = {[session.inputNames[0]]: new ort.Tensor('float32', x, dims)};
  const y = (await session.run(feeds))[session.outputNames[0]].data;
  repeats = 1;
  repeats = 1 + Math.floor(sampleSeconds / await sample());
  return 'ok ' + Array.from(y.slice(0, shown)).join(' ');
}

async function answer(line) {
  const [command, a, b, batch] = line.split(' ');
  try {
    if (command === 'onnx') { model = a; return 'ok'; }
    return command === 'prepare' ? await prepare(a, b, Number(batch)) : String(await sample());
  } catch (error) {
    return 'error ' + String(error.message).replace(/\s+/g, ' ');
  }
}

(async () => {
  for await (const line of require('readline').createInterface({input: process.stdin}))
    process.stdout.write(await answer(line) + '\n');
})();

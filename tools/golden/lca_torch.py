#!/usr/bin/python3
"""Loss change allocation in PyTorch's float64 beside that of the tool, on the same trajectory.

    build/interp train --data npy:X.npy,Y.npy --arch ARCH --epochs 1 --augment none -o RUN
    tools/golden/lca_torch.py RUN/model.onnx X.npy Y.npy --steps 50

The network is read from ONNX (Gemm, Conv, Relu, Tanh, MaxPool, Flatten, Dropout as in use). Without
--weights the trajectory is made here: SGD with momentum in float64 from the model's weights, each row
rounded to float32. Then A[t, i] = (w[t+1, i] - w[t, i]) * (g(0) + 4 g(1/2) + g(1)) / 6, every gradient of
the mean cross-entropy of all samples, against lca.npy of `interp lca --max-splits 2`. Exit 1 when a
parameter is further off than 1e-4 of the largest magnitude.

Needs python3-torch, python3-onnx, python3-numpy.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


class Net:
    """An ONNX graph as a function of its flat parameters."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        self.nodes = graph.node
        self.input = graph.input[0].name
        self.output = graph.output[0].name
        arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.arrays = [(n, a) for n, a in arrays.items() if a.ndim > 0]

    def initial(self):
        return np.concatenate([a.ravel() for _, a in self.arrays]).astype(np.float64)

    def logits(self, flat, x):
        values, at = {self.input: x}, 0
        for name, a in self.arrays:
            values[name] = flat[at:at + a.size].reshape(a.shape)
            at += a.size
        for node in self.nodes:
            a = {p.name: onnx.helper.get_attribute_value(p) for p in node.attribute}
            v = [values[i] for i in node.input if i in values]
            values[node.output[0]] = self.apply(node.op_type, a, v)
        return values[self.output]

    @staticmethod
    def apply(op, a, v):
        if op == 'Gemm':
            return v[0] @ (v[1].T if a.get('transB') else v[1]) + v[2]
        if op == 'Conv':
            pads = a.get('pads', [0] * 4)
            x = F.pad(v[0], (pads[1], pads[3], pads[0], pads[2]))
            return F.conv2d(x, v[1], v[2] if len(v) > 2 else None, a.get('strides', 1), 0,
                            a.get('dilations', 1), a.get('group', 1))
        if op == 'MaxPool':
            return F.max_pool2d(v[0], a['kernel_shape'], a['strides'])
        if op == 'Flatten':
            return v[0].flatten(1)
        if op == 'Relu':
            return torch.relu(v[0])
        if op == 'Tanh':
            return torch.tanh(v[0])
        if op in ('Dropout', 'Identity'):
            return v[0]
        sys.exit('no rule for ' + op)

    def gradient(self, flat, x, y):
        """Loss and gradient of the mean over samples, a hundred at a time."""
        w = torch.tensor(flat, dtype=torch.float64, requires_grad=True)
        total = 0.0
        for i in range(0, len(y), 100):
            loss = F.cross_entropy(self.logits(w, x[i:i + 100]), y[i:i + 100], reduction='sum')
            (loss / len(y)).backward()
            total += loss.item() / len(y)
        return total, w.grad.numpy()


def trajectory(net, x, y, steps, batch, lr, momentum):
    w, v = net.initial(), 0.0
    rows = [w.astype(np.float32)]
    random = np.random.RandomState(0)
    for _ in range(steps):
        some = random.choice(len(y), min(batch, len(y)), replace=False)
        v = momentum * v + net.gradient(w, x[some], y[some])[1]
        w = w - lr * v
        rows.append(w.astype(np.float32))
    return np.stack(rows)


def allocate(net, weights, x, y):
    rows, losses = [], []
    before, g0 = net.gradient(weights[0], x, y)
    for a, b in zip(weights[:-1], weights[1:]):
        middle = net.gradient((a + b) / 2, x, y)[1]
        after, g1 = net.gradient(b, x, y)
        rows.append((b - a) * (g0 + 4 * middle + g1) / 6)
        losses.append(after - before)
        before, g0 = after, g1
    return np.stack(rows), np.array(losses)


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('model')
    p.add_argument('x')
    p.add_argument('y')
    p.add_argument('--weights', help='trajectory [steps + 1, parameters]; without: it is made here')
    p.add_argument('--steps', type=int, default=50)
    p.add_argument('--batch', type=int, default=100)
    p.add_argument('--lr', type=float, default=0.05)
    p.add_argument('--momentum', type=float, default=0.9)
    p.add_argument('--tool', default='build/interp')
    o = p.parse_args()
    net = Net(o.model)
    x = torch.tensor(np.load(o.x), dtype=torch.float64)
    y = torch.tensor(np.load(o.y).astype(np.int64))
    with tempfile.TemporaryDirectory() as folder:
        weights = o.weights
        if not weights:
            weights = os.path.join(folder, 'weights.npy')
            np.save(weights, trajectory(net, x, y, o.steps, o.batch, o.lr, o.momentum))
        subprocess.run([o.tool, 'lca', '--data', 'npy:%s,%s' % (o.x, o.y), '--model', o.model,
                        '--weights', weights, '--max-splits', '2', '--store', 'full', '-o', folder],
                       check=True)
        ours = np.load(os.path.join(folder, 'lca.npy')).astype(np.float64)
        want, change = allocate(net, np.load(weights).astype(np.float64), x, y)
    largest = np.abs(want).max()
    off = np.abs(ours - want).max() / largest
    print('%d steps of %d parameters, %d samples: largest allocation %.3e, tool and float64 apart by '
          '%.2e of it; float64 sums to %.6f of a loss change of %.6f, the tool to %.6f'
          % (want.shape + (len(y), largest, off, want.sum(), change.sum(), ours.sum())))
    return 0 if off <= 1e-4 else 1


if __name__ == '__main__':
    sys.exit(main())

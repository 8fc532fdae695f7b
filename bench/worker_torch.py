#!/usr/bin/python3
"""The networks of bench_nets.c in PyTorch; answers the same questions on standard input, see there.

    worker_torch.py THREADS

`weights FILE` reads what bench_nets wrote, so that both compute the same; the networks are written
out here with their layers in the order in which interp.h makes them. Tasks "attr.METHOD" are those of
captum, where Python finds it, each at its fastest setting.
"""
import json
import struct
import sys
import time

try:
    import torch
    import torch.nn as nn
except ImportError:  # bench_nets.py says so
    sys.exit(1)
try:
    import captum.attr
except ImportError:  # then only the tasks attr.METHOD are refused
    captum = None

SAMPLE_SECONDS = 0.03
LEARNING_RATE = 1e-3
TARGET_CLASS = 3
SHOWN = 5
LCA_MOVE = 1e-3
LCA_CHUNK = 4096  # samples of a pass
WINDOW, STRIDE, TILE = 15, 8, 16  # pixels: of occlusion, and of the tiles that are features
STEPS, COALITIONS = 50, 200


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        self.short = nn.Identity() if stride == 1 else nn.Sequential(
            nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.main(x) + self.short(x))


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
              nn.MaxPool2d(3, 2, 1)]
    width = 64
    for stage in range(4):
        for block in range(2):
            layers.append(Block(width, 64 << stage, 2 if stage and not block else 1))
            width = 64 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


class MobileBlock(nn.Module):
    """Expand, depthwise, squeeze and excite, project (Tan and Le 2019)."""

    def __init__(self, width_in, width, expand, kernel, stride):
        super().__init__()
        wide = width_in * expand
        layers = []
        if expand > 1:
            layers += [nn.Conv2d(width_in, wide, 1, bias=False), nn.BatchNorm2d(wide),
                       nn.SiLU(inplace=True)]
        layers += [nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
                   nn.BatchNorm2d(wide), nn.SiLU(inplace=True)]
        self.wide = nn.Sequential(*layers)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, width_in // 4, 1),
                                  nn.SiLU(inplace=True), nn.Conv2d(width_in // 4, wide, 1),
                                  nn.Sigmoid())
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))
        self.add = stride == 1 and width_in == width

    def forward(self, x):
        y = self.wide(x)
        y = self.project(y * self.gate(y))
        return x + y if self.add else y


def efficientnet_b0():
    layers = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.SiLU(inplace=True)]
    width = 32
    for expand, channels, repeats, stride, kernel in (
            (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
            (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)):
        for i in range(repeats):
            layers.append(MobileBlock(width, channels, expand, kernel, 1 if i else stride))
            width = channels
    return nn.Sequential(*layers, nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280),
                         nn.SiLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(1280, 1000))


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 50),
                         nn.ReLU(), nn.Linear(50, 10))


NETS = {'resnet18': resnet18, 'efficientnet-b0': efficientnet_b0, 'lenet5': lenet5,
        'mlp:784-100-50-10': mlp}


def load(net, path):
    """Takes the weights of a safetensors file that names layers by kind and number."""
    with open(path, 'rb') as f:
        head = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        data = bytearray(f.read())
    kinds = {nn.Conv2d: 'conv', nn.BatchNorm2d: 'bn', nn.Linear: 'dense'}
    count = dict.fromkeys(kinds, 0)
    for module in net.modules():
        if type(module) not in kinds: continue
        count[type(module)] += 1
        for part, value in module.state_dict().items():
            if part == 'num_batches_tracked': continue
            entry = head['%s%d.%s' % (kinds[type(module)], count[type(module)], part)]
            begin, end = entry['data_offsets']
            x = torch.frombuffer(data[begin:end], dtype=torch.float32).reshape(entry['shape'])
            if part == 'weight' and isinstance(module, nn.Linear): x = x.t()
            value.copy_(x)


def attribution(net, method, x):
    """A call of captum."""
    a, tile = captum.attr, x.shape[-1] // TILE
    rows = torch.arange(x.shape[-1]) // TILE
    mask = (rows[:, None] * tile + rows[None, :])[None, None]
    torch.manual_seed(1)
    if method in ('deep_lift', 'guided_backprop'):
        for m in net.modules():  # its hooks do not bear what is done in place
            if hasattr(m, 'inplace'): m.inplace = False
    if method == 'saliency':
        return lambda: a.Saliency(net).attribute(x.detach(), TARGET_CLASS, abs=False)
    if method == 'integrated_gradients':
        return lambda: a.IntegratedGradients(net).attribute(x, 0, TARGET_CLASS, n_steps=STEPS,
                                                            internal_batch_size=1)
    if method == 'deep_lift':
        return lambda: a.DeepLift(net).attribute(x, 0, TARGET_CLASS)
    if method == 'guided_backprop':
        return lambda: a.GuidedBackprop(net).attribute(x, TARGET_CLASS)
    if method == 'occlusion':
        window, stride = (x.shape[1], WINDOW, WINDOW), (x.shape[1], STRIDE, STRIDE)
        return lambda: a.Occlusion(net).attribute(x, window, stride, 0, TARGET_CLASS)
    if method == 'feature_ablation':
        return lambda: a.FeatureAblation(net).attribute(x, 0, TARGET_CLASS, feature_mask=mask)
    if method == 'shapley_value_sampling':
        return lambda: a.ShapleyValueSampling(net).attribute(x, 0, TARGET_CLASS, feature_mask=mask,
                                                             n_samples=1)
    if method == 'kernel_shap':
        return lambda: a.KernelShap(net).attribute(x, 0, TARGET_CLASS, feature_mask=mask,
                                                   n_samples=COALITIONS)
    raise ValueError('no method ' + method)


class Allocation:
    """Loss change allocation of a step by Simpson's rule, the gradient at its start being known."""

    def __init__(self, net, x, y):
        self.net, self.x, self.y, self.p = net, x, y, list(net.parameters())
        flat = torch.arange(sum(p.numel() for p in self.p))
        move = LCA_MOVE * ((flat * 7919 % 1009).float() / 1009 - 0.5)
        self.move, at = [], 0
        for p in self.p:  # flat as interp.h has them: weights [in, out]
            part = move[at:at + p.numel()]
            self.move.append(part.reshape(p.shape[::-1]).t() if p.dim() > 1 else part)
            at += p.numel()
        self.start = self.gradient()

    def gradient(self):
        sums = [torch.zeros(p.shape, dtype=torch.float64) for p in self.p]
        for i in range(0, len(self.y), LCA_CHUNK):
            loss = nn.functional.cross_entropy(self.net(self.x[i:i + LCA_CHUNK]),
                                               self.y[i:i + LCA_CHUNK], reduction='sum')
            for s, g in zip(sums, torch.autograd.grad(loss / len(self.y), self.p)): s += g
        return sums

    def go(self, by):
        with torch.no_grad():
            for p, m in zip(self.p, self.move): p += by * m

    def step(self):
        self.go(0.5)
        middle = self.gradient()
        self.go(0.5)
        end = self.gradient()
        lca = [m * (a + 4 * b + c) / 6 for m, a, b, c in zip(self.move, self.start, middle, end)]
        self.start, self.move = end, [-m for m in self.move]
        return lca

    def shown(self, lca):
        flat = torch.cat([(v.t() if v.dim() > 1 else v).reshape(-1) for v in lca])
        ends = torch.stack([flat[:SHOWN], flat.flip(0)[:SHOWN]], 1).reshape(-1)
        return torch.cat([flat.sum().reshape(1), ends])


class Job:
    def __init__(self, name, task, batch, weights, images):
        self.net, self.task, self.repeats = NETS[name](), task, 1
        with torch.no_grad(): load(self.net, weights)
        small = name in ('lenet5', 'mlp:784-100-50-10')
        shape = (batch, 1, 28, 28) if small else (batch, 3, 224, 224)
        i = torch.arange(shape[0] * shape[1] * shape[2] * shape[3])
        self.x = ((i * 7919 % 1009).float() / 1009 - 0.5).reshape(shape)
        if images:
            with open(images, 'rb') as f: pixels = bytearray(f.read(self.x.numel()))
            self.x = (torch.frombuffer(pixels, dtype=torch.uint8).float() / 255).reshape(shape)
        self.y = torch.arange(batch) % 10
        self.explain = None
        self.lca = Allocation(self.net, self.x, self.y) if task == 'lca' else None
        if self.lca: return
        if task == 'train':
            self.loss = nn.CrossEntropyLoss()
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=LEARNING_RATE)
        else:
            self.net.eval().requires_grad_(False)
            self.x.requires_grad_(task == 'saliency')
        self.explain = attribution(self.net, task[5:], self.x) if task[:5] == 'attr.' else None

    def step(self):
        """One step; returns results, to compare the first of them."""
        if self.lca: return self.lca.step()
        if self.explain: return self.explain()
        if self.task == 'forward':
            with torch.no_grad(): return self.net(self.x)
        if self.task == 'saliency':
            return torch.autograd.grad(self.net(self.x)[:, TARGET_CLASS].sum(), self.x)[0]
        self.optimizer.zero_grad()
        loss = self.loss(self.net(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss

    def sample(self, clock):
        start = clock()
        for _ in range(self.repeats): self.step()
        return (clock() - start) / self.repeats


def main():
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    job = weights = images = None
    for line in sys.stdin:
        words = line.split()
        try:
            if words[0] == 'weights':
                weights = words[1]
                reply = 'ok'
            elif words[0] == 'images':
                images = words[1] if words[1] != '-' else None
                reply = 'ok'
            elif words[0] == 'prepare':
                job = Job(words[1], words[2], int(words[3]), weights, images)
                first = job.step()
                first = job.lca.shown(first) if job.lca else first.flatten()[:SHOWN]
                reply = 'ok ' + ' '.join('%.9g' % v for v in first.tolist())
                job.repeats = 1 + int(SAMPLE_SECONDS / job.sample(clock))
            else:
                reply = '%.9g' % job.sample(clock)
        except Exception as error:
            reply = 'error %s: %s' % (type(error).__name__, ' '.join(str(error).split()))
        print(reply, flush=True)


main()

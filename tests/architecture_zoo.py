"""Small networks of every ordinary kind, each with the shape of one input: what a map from inputs to outputs can be.

Widths are small, so that a dense Jacobian is cheap; the operations are those of the networks that people use.
"""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


class Function(nn.Module):
    """A function as a module, with the modules that it uses."""

    def __init__(self, function, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function

    def forward(self, x):
        return self.function(x, *self.parts)


class First(nn.Module):
    """The sequence that a recurrent network returns, without its states."""

    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x):
        return self.recurrent(x)[0]


class GRULoop(nn.Module):
    """A recurrence written out, which returns its last state."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x):  # (time, 3)
        h = x.new_zeros(4)
        for row in x:
            h = self.cell(row, h)
        return h


class Attention(nn.Module):
    """Scaled dot products by the fused function, with heads, and a causal mask where ``causal``."""

    def __init__(self, width=8, heads=2, causal=False):
        super().__init__()
        self.inwards, self.outwards = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x):  # (tokens, width)
        q, k, v = self.inwards(x).unflatten(-1, (3, self.heads, -1)).permute(1, 2, 0, 3)
        y = functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=self.causal)[0]
        return self.outwards(y.transpose(0, 1).flatten(1))


class WindowAttention(nn.Module):
    """Shifted windows of a picture (1, H, W, C): rolled, cut, and masked where pieces that were apart meet (Liu et al.
    2021). The mask is built by assignment in place at each call."""

    def __init__(self, width=4, window=2, shift=1):
        super().__init__()
        self.qkv, self.window, self.shift = nn.Linear(width, 3 * width), window, shift

    def forward(self, x):
        n, height, width, channels = x.shape
        w, s = self.window, self.shift
        x = torch.roll(x, (-s, -s), (1, 2))
        cut = x.view(n, height // w, w, width // w, w, channels).transpose(2, 3).reshape(-1, w * w, channels)
        q, k, v = self.qkv(cut).chunk(3, -1)
        logits = q @ k.mT / channels**0.5
        region = x.new_zeros(height, width)
        steps = ((0, -w), (-w, -s), (-s, None))
        for i, (top, bottom) in enumerate(steps):
            for j, (left, right) in enumerate(steps):
                region[top:bottom, left:right] = 3 * i + j
        region = region.view(height // w, w, width // w, w).transpose(1, 2).reshape(-1, w * w)
        mask = region[:, None] - region[:, :, None]
        mask = mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0)
        y = (logits + mask).softmax(-1) @ v
        y = y.view(n, height // w, width // w, w, w, channels).transpose(2, 3).reshape(n, height, width, channels)
        return torch.roll(y, (s, s), (1, 2))


class VisionTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(0.1 * torch.randn(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.token.expand(len(x), -1, -1), tokens), 1) + self.place
        return self.head(self.norm(self.encoder(tokens))[:, 0])


class ConvNeXtBlock(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(functional.gelu(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class ResNetBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.Conv2d(6, 6, 3, 1, 1, bias=False)
        self.one, self.two, self.skip = nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.Conv2d(3, 6, 1, 2)

    def forward(self, x):
        y = functional.relu(self.one(self.first(x)), inplace=True)
        y = self.two(self.second(y))
        y += self.skip(x)
        return y.relu_()


class SwiGLU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.value, self.out = nn.Linear(7, 12), nn.Linear(7, 12), nn.Linear(12, 5)

    def forward(self, x):
        return self.out(functional.silu(self.gate(x)) * self.value(x))


class SqueezeExcitation(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.down, self.up = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)

    def forward(self, x):
        y = functional.hardswish(self.first(x), inplace=True)
        gate = functional.hardsigmoid(self.up(functional.relu(self.down(functional.adaptive_avg_pool2d(y, 1)))))
        return y * gate


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.middle = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        left = functional.leaky_relu(self.down(x), 0.1)
        y = functional.elu(self.middle(functional.max_pool2d(left, 2)))
        return self.last(torch.cat((left, self.up(y)), -3))


class InPlace(nn.Module):
    """A scan that fills a buffer entry by entry, as in state-space models and hand-written recurrences."""

    def __init__(self):
        super().__init__()
        self.inwards, self.onwards = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x):  # (time, 3)
        states = x.new_zeros(len(x), 4)
        h = x.new_zeros(4)
        for t in range(len(x)):
            h = torch.tanh(self.inwards(x[t]) + self.onwards(h))
            states[t] = h
        states[1:] += 0.5 * states[:-1].clone()
        return states.mul_(2)


class SharedWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(6, 6)

    def forward(self, x):
        y = x
        for _ in range(4):
            y = x + torch.tanh(self.step(y))
        return functional.linear(y, self.step.weight.T)


def spectral(module):
    """Power iteration to convergence, so that evaluation in either precision has the same norm."""
    module = parametrizations.spectral_norm(module, n_power_iterations=30)
    module(torch.zeros(2, module.in_features))
    return module


def convolutions():
    relu = nn.ReLU
    return {
        "convolution, 1d": (
            lambda: nn.Sequential(nn.Conv1d(2, 5, 3, padding=1), relu(), nn.Conv1d(5, 3, 3, 2)),
            (2, 9),
        ),
        "convolution, 2d": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Conv2d(5, 4, 3)), (3, 7, 6)),
        "convolution, 3d": (lambda: nn.Sequential(nn.Conv3d(2, 4, 2), relu(), nn.Conv3d(4, 2, 2)), (2, 4, 3, 4)),
        "convolution, strided": (
            lambda: nn.Sequential(nn.Conv2d(3, 6, 5, 2, 2), relu(), nn.Conv2d(6, 4, 3, 3)),
            (3, 9, 8),
        ),
        "convolution, dilated": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, dilation=2), nn.Sigmoid()), (2, 8, 7)),
        "convolution, circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 6)),
        "convolution, grouped": (
            lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ChannelShuffle(2), nn.Conv2d(8, 4, 1, groups=4)),
            (4, 5, 5),
        ),
        "convolution, depthwise": (
            lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.ReLU6(), nn.Conv2d(4, 6, 1)),
            (4, 5, 6),
        ),
        "convolution, transposed": (
            lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), nn.ELU(), nn.ConvTranspose2d(4, 2, 2)),
            (3, 4, 3),
        ),
        "ConvNeXt block": (ConvNeXtBlock, (4, 6, 6)),
        "residual block": (ResNetBlock, (3, 6, 6)),
        "squeeze and excitation": (SqueezeExcitation, (3, 6, 5)),
        "U-net": (UNet, (2, 6, 6)),
    }


def recurrent():
    return {
        "RNN": (lambda: First(nn.RNN(3, 5, 2)), (4, 3)),
        "GRU": (lambda: First(nn.GRU(3, 5, 2)), (4, 3)),
        "GRU, bidirectional": (lambda: First(nn.GRU(3, 4, bidirectional=True)), (3, 3)),
        "LSTM": (lambda: First(nn.LSTM(3, 5, 2)), (4, 3)),
        "LSTM, batch first": (lambda: First(nn.LSTM(3, 4, 1, batch_first=True, proj_size=2)), (4, 3)),
        "LSTM, bidirectional": (lambda: First(nn.LSTM(3, 4, bidirectional=True)), (3, 3)),
        "GRU cell in a loop": (GRULoop, (5, 3)),
        "recurrence in place": (InPlace, (5, 3)),
    }


def attention():
    def multihead(masked):
        mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if masked else None
        return Function(
            lambda x, a: a(x, x, x, attn_mask=mask, need_weights=False)[0],
            nn.MultiheadAttention(8, 2, batch_first=True),
        )

    encoder = dict(dim_feedforward=12, batch_first=True)
    return {
        "attention": (Attention, (5, 8)),
        "attention, causal": (lambda: Attention(causal=True), (5, 8)),
        "multihead attention": (lambda: multihead(False), (5, 8)),
        "multihead attention, masked": (lambda: multihead(True), (5, 8)),
        "window attention": (WindowAttention, (4, 4, 4)),
        "transformer encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, **encoder), (5, 8)),
        "transformer encoder": (
            lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, **encoder), 2, enable_nested_tensor=False),
            (5, 8),
        ),
        "transformer decoder layer": (
            lambda: Function(lambda x, d: d(x, x.flip(0)), nn.TransformerDecoderLayer(8, 2, 12)),
            (4, 8),
        ),
        "vision transformer": (VisionTransformer, (3, 8, 8)),
    }


def normalisations():
    return {
        "batch norm": (
            lambda: nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 5)
            ),
            (3, 5, 6),
        ),
        "batch norm, vectors": (
            lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.SELU(), nn.Linear(8, 4)),
            (6,),
        ),
        "layer norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 4)), (6,)),
        "group norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()), (3, 5, 6)),
        "instance norm": (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Mish()),
            (3, 5, 6),
        ),
        "RMS norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.RMSNorm(8), nn.Softplus(), nn.Linear(8, 4)), (6,)),
        "local response norm": (
            lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.LocalResponseNorm(3)),
            (3, 5, 5),
        ),
        "weight norm": (
            lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 4)),
            (6,),
        ),
        "spectral norm": (lambda: nn.Sequential(spectral(nn.Linear(6, 8)), nn.LeakyReLU(), nn.Linear(8, 4)), (6,)),
    }


def gates_and_pools():
    return {
        "GLU": (lambda: nn.Sequential(nn.Linear(7, 12), nn.GLU(), nn.Linear(6, 5)), (7,)),
        "SwiGLU": (SwiGLU, (7,)),
        "PReLU and softmax": (
            lambda: nn.Sequential(nn.Linear(6, 9), nn.PReLU(), nn.Linear(9, 5), nn.LogSoftmax(-1)),
            (6,),
        ),
        "maximum pooling": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(3, 2, 1), nn.Hardtanh()), (2, 8, 7)),
        "average pooling": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.AvgPool2d(2), nn.CELU()), (2, 8, 7)),
        "adaptive pooling": (
            lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveMaxPool2d(3), nn.AdaptiveAvgPool2d(2), nn.Flatten(-3)),
            (2, 8, 7),
        ),
        "pooling, 1d": (lambda: nn.Sequential(nn.MaxPool1d(2), nn.Conv1d(3, 4, 3), nn.LPPool1d(2, 2)), (3, 12)),
        "interpolation": (
            lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 2, 3)),
            (2, 5, 5),
        ),
        "pixel shuffle": (
            lambda: nn.Sequential(nn.Conv2d(2, 8, 3), nn.PixelShuffle(2), nn.Upsample(scale_factor=2)),
            (2, 4, 5),
        ),
        "padding": (
            lambda: nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(2, 3, 3), nn.ReplicationPad2d(1), nn.Unfold(2)),
            (2, 4, 5),
        ),
        "shared weights": (SharedWeights, (6,)),
        "bilinear, einsum, cumulative": (
            lambda: Function(lambda x, b: torch.einsum("i,j->ij", b(x, x), x).cumsum(0), nn.Bilinear(4, 4, 3)),
            (4,),
        ),
        "Fourier layer": (
            lambda: Function(
                lambda x, a: torch.fft.irfft(torch.fft.rfft(a(x)) * torch.linspace(1, 0, 5), n=8), nn.Linear(6, 8)
            ),
            (6,),
        ),
        "sorting": (lambda: Function(lambda x, a: torch.sort(a(x)).values[:4] * a(x).amax(), nn.Linear(6, 8)), (6,)),
    }


def compiled():
    def mlp():
        return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4))

    return {
        "torch.jit.trace": (
            lambda: torch.jit.trace(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), torch.randn(1, 2, 5, 5)),
            (2, 5, 5),
        ),
        "torch.jit.script": (lambda: torch.jit.script(mlp()), (6,)),
        "torch.compile": (lambda: torch.compile(mlp()), (6,)),
        "torch.compile inside": (lambda: nn.Sequential(nn.Linear(6, 6), torch.compile(mlp())), (6,)),
    }


ZOO = convolutions() | recurrent() | attention() | normalisations() | gates_and_pools() | compiled()


def network(name, dtype):
    """A network of the zoo in evaluation mode, with weights that do not depend on ``dtype``, and one input."""
    build, shape = ZOO[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sum(name.encode()))
        net = build()
        x = torch.randn(shape, dtype=torch.float64)
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(), module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
    return net.eval().to(dtype), x.to(dtype)

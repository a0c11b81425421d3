"""The Mix Transformer encoders (Xie et al., "SegFormer", NeurIPS 2021), with the names of their published weights.

Written from the architecture's description and the names and shapes of the tensors. Each of four stages embeds
overlapping patches of the map before it at a coarser stride. In its blocks all positions attend to a shortened sequence
of themselves.
"""

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from loopda.models.compute.normalisation import DropPath
from loopda.models.compute.recomputation import Recomputed


class EncoderSize(NamedTuple):
    """dims: the channels of the four stages. depths: their numbers of blocks."""

    dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


ENCODERS = {
    "mit_tiny": EncoderSize((16, 32, 64, 96), (1, 1, 1, 1)),  # ours, for two cores: no published weights
    "mit_b0": EncoderSize((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": EncoderSize((64, 128, 320, 512), (2, 2, 2, 2)),
    "mit_b2": EncoderSize((64, 128, 320, 512), (3, 4, 6, 3)),
    "mit_b3": EncoderSize((64, 128, 320, 512), (3, 4, 18, 3)),
    "mit_b4": EncoderSize((64, 128, 320, 512), (3, 8, 27, 3)),
    "mit_b5": EncoderSize((64, 128, 320, 512), (3, 6, 40, 3)),
}
HEADS = (1, 2, 5, 8)  # of the attention, stage by stage
TINY_HEADS = (1, 2, 4, 6)  # those of mit_tiny: 16 channels a head
REDUCTIONS = (8, 4, 2, 1)  # by which keys and values are shortened along each side
STRIDES = (4, 2, 2, 2)  # of the patch embeddings: the maps have strides 4, 8, 16 and 32
PATCHES = (7, 3, 3, 3)  # sides of the overlapping patches
EXPANSION = 4  # of the channels inside the feed-forward network
EPSILON = 1e-6  # of the layer normalisations of blocks and stages; torch's 1e-5 within embeddings and attention


class PatchEmbedding(nn.Module):
    """A map (N, C, H, W) -> tokens (N, h, w, D), normalised; h = ceil(H / stride)."""

    def __init__(self, channels: int, dim: int, *, patch: int, stride: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, stride, padding=patch // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Attention(nn.Module):
    """Every token (N, h, w, D) attends to the tokens of a map that is `reduction` times smaller along each side."""

    def __init__(self, dim: int, *, heads: int, reduction: int):
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, reduction)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        count, height, width, dim = x.shape
        queries = self._split(self.q(x))
        keys, values = self.kv(self._reduced(x)).split(dim, dim=-1)
        attended = functional.scaled_dot_product_attention(queries, self._split(keys), self._split(values))
        return self.proj(attended.transpose(1, 2).reshape(count, height, width, dim))

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, h, w, D) -> (N, heads, h w, D / heads)."""
        return tokens.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _reduced(self, x: Tensor) -> Tensor:
        if self.reduction == 1:
            return x
        short = [max(self.reduction - length, 0) for length in x.shape[1:3]]  # of a map below one patch: images < 32
        x = functional.pad(x.permute(0, 3, 1, 2), (0, short[1], 0, short[0]))
        return self.norm(self.sr(x).permute(0, 2, 3, 1))


class DepthwiseConvolution(nn.Module):
    """A 3x3 convolution of each channel of (N, h, w, D), which gives the tokens information about their position."""

    def __init__(self, channels: int):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class FeedForward(nn.Module):
    """Linear, depthwise convolution, GELU, linear."""

    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, EXPANSION * dim)
        self.dwconv = DepthwiseConvolution(EXPANSION * dim)
        self.fc2 = nn.Linear(EXPANSION * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.dwconv(self.fc1(x))))


class Block(Recomputed):
    """Attention and a feed-forward network, each after a normalisation and with a residual connection."""

    def __init__(self, dim: int, *, heads: int, reduction: int, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPSILON)
        self.attn = Attention(dim, heads=heads, reduction=reduction)
        self.norm2 = nn.LayerNorm(dim, eps=EPSILON)
        self.mlp = FeedForward(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class MixTransformer(nn.Module):
    """Images (N, 3, H, W) -> the maps (N, D, h, w) of the four stages, at strides 4, 8, 16 and 32.

    encoder: a name in ENCODERS. drop_path: the rate of the last block; it rises linearly from 0 at the first.
    """

    def __init__(self, encoder: str, *, drop_path: float = 0.1):
        super().__init__()
        self.dims, depths = ENCODERS[encoder]
        heads = TINY_HEADS if encoder == "mit_tiny" else HEADS
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path * block / last for block in range(sum(depths))])
        for index, (before, dim) in enumerate(pairwise((3, *self.dims))):
            stage = index + 1
            embedding = PatchEmbedding(before, dim, patch=PATCHES[index], stride=STRIDES[index])
            blocks = [
                Block(dim, heads=heads[index], reduction=REDUCTIONS[index], drop_path=next(rates))
                for _ in range(depths[index])
            ]
            setattr(self, f"patch_embed{stage}", embedding)
            setattr(self, f"block{stage}", nn.Sequential(*blocks))
            setattr(self, f"norm{stage}", nn.LayerNorm(dim, eps=EPSILON))
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in (1, 2, 3, 4):
            tokens = getattr(self, f"patch_embed{stage}")(x)
            tokens = getattr(self, f"block{stage}")(tokens)
            x = getattr(self, f"norm{stage}")(tokens).permute(0, 3, 1, 2)
            maps.append(x)
        return maps


def _initialise(part: nn.Module) -> None:
    """Linear layers from a truncated normal of deviation 0.02, convolutions by He's rule, biases 0."""
    if isinstance(part, nn.Linear):
        nn.init.trunc_normal_(part.weight, std=0.02)
        nn.init.zeros_(part.bias)
    elif isinstance(part, nn.Conv2d):
        outgoing = part.kernel_size[0] * part.kernel_size[1] * part.out_channels // part.groups
        nn.init.normal_(part.weight, std=(2 / outgoing) ** 0.5)
        nn.init.zeros_(part.bias)

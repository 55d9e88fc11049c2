"""Vision transformer (Dosovitskiy et al. 2020, arXiv:2010.11929), with pre-norm encoder blocks as published.

An image is cut into patches, and each becomes a token. Shapes of tokens are (tokens, channels): the patches in rows,
after a class token if there is one. Every product is counted: the linear layers, and the two products of attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from explorer.errors import Infeasible
from explorer.networks.arrays import Int, times, uniform
from explorer.networks.calls import Call, call
from explorer.networks.layers import MOST_MACS, TOO_LARGE, Conv, Cost, Dropout, FullyConnected, Layer, Shape, weighted
from explorer.networks.network import Chain, Network, Repeat, Residual, chain
from explorer.spaces.parts import scaled
from explorer.spaces.space import Anchor, Classes, Filters, Multiplier, Pixels, Range, Rate, Space

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Sequence(Shape):
    """The tokens of one image: `size` x `size` patches, and a class token or none."""

    class_token: bool = False

    @cached_property
    def pixels(self) -> Int:
        """Number of tokens."""
        return self.size * self.size + self.class_token

    @property
    def dimensions(self) -> tuple[Int, ...]:
        """Tokens and channels."""
        return self.pixels, self.channels

    def of(self, channels: Int) -> Sequence:
        """Return the same tokens with other channels."""
        return Sequence(channels, self.size, self.class_token)

    def __str__(self) -> str:
        return f"{self.pixels} tokens x {self.channels}"


@cache
def _embedded() -> type[nn.Module]:
    import torch
    from torch import Tensor, nn

    class Embedded(nn.Module):
        """Turns maps (N, C, H, W) into tokens (N, tokens, C), after a class token, and adds learnt positions."""

        def __init__(self, channels: int, patches: int, class_token: bool) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, channels)) if class_token else None
            self.positions = nn.Parameter(torch.empty(1, patches + class_token, channels).normal_(std=0.02))

        def forward(self, maps: Tensor) -> Tensor:
            tokens = maps.flatten(2).transpose(1, 2)
            if self.token is not None:
                tokens = torch.cat([self.token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)
            return tokens + self.positions

    return Embedded


@cache
def _attended() -> type[nn.Module]:
    from torch import Tensor, nn

    class Attended(nn.Module):
        """Multi-head attention of queries, keys and values, side by side in (N, tokens, 3 * C); (N, tokens, C)."""

        def __init__(self, heads: int) -> None:
            super().__init__()
            self.heads = heads

        def forward(self, tokens: Tensor) -> Tensor:
            queries, keys, values = tokens.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
            scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
            attended: Tensor = (scores.softmax(dim=-1) @ values).transpose(1, 2).flatten(2)
            return attended

    return Attended


@cache
def _pooled() -> type[nn.Module]:
    from torch import Tensor, nn

    class Pooled(nn.Module):
        """The class token, which is the first one, or the mean of all tokens: (N, tokens, C) to (N, C, 1, 1)."""

        def __init__(self, pool: str) -> None:
            super().__init__()
            self.pool = pool

        def forward(self, tokens: Tensor) -> Tensor:
            return (tokens[:, 0] if self.pool == "token" else tokens.mean(1))[:, :, None, None]

    return Pooled


@dataclass(frozen=True)
class Embed(Layer):
    """Turn maps into tokens, with a class token if wanted, and add a learnt position to each."""

    class_token: bool
    kind = "embed"

    @property
    def notation(self) -> str:
        """What is added."""
        return "positions, class token" if self.class_token else "positions"

    def output(self, shape: Shape) -> Shape:
        """Return one token per pixel, and the class token."""
        return Sequence(shape.channels, shape.size, self.class_token)

    def cost(self, shape: Shape, out: Shape) -> Cost:
        """Count the positions and the class token."""
        return Cost(params=out.elements + shape.channels * self.class_token)

    def source(self, shape: Shape) -> Call:
        """Return a module that torch lacks."""
        return call(_embedded(), channels=shape.channels, patches=shape.pixels, class_token=self.class_token)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalisation of each token, with a learnt scale and shift per channel."""

    kind = "layer_norm"

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002 (the same shape)
        """Count the scales and shifts."""
        return Cost(params=2 * shape.channels)

    def source(self, shape: Shape) -> Call:
        """Return torch's module, with the epsilon of the published networks."""
        return call("nn.LayerNorm", normalized_shape=shape.channels, eps=1e-6)


@dataclass(frozen=True)
class GELU(Layer):
    """The Gaussian error linear unit."""

    kind = "gelu"

    def source(self, shape: Shape) -> Call:  # noqa: ARG002 (the same for every shape)
        """Return torch's module."""
        return call("nn.GELU")


@dataclass(frozen=True)
class Linear(Layer):
    """A linear layer on each token."""

    channels: Int
    kind = "linear"

    @property
    def notation(self) -> str:
        """The number of channels."""
        return f"linear {self.channels}"

    def output(self, shape: Shape) -> Shape:
        """Return the tokens with other channels."""
        return shape.of(self.channels)

    def cost(self, shape: Shape, out: Shape) -> Cost:
        """Count the products with the weights, for each token."""
        return weighted(times(shape.channels, self.channels), out, bias=True)

    def source(self, shape: Shape) -> Call:
        """Return torch's module."""
        return call("nn.Linear", in_features=shape.channels, out_features=self.channels)


@dataclass(frozen=True)
class Attention(Layer):
    """Multi-head attention of queries, keys and values, which are the three thirds of the input's channels."""

    heads: Int
    kind = "attention"

    @property
    def notation(self) -> str:
        """The number of heads."""
        return f"attention {self.heads} heads"

    def output(self, shape: Shape) -> Shape:
        """Return a third of the channels, which the heads must divide."""
        if uniform(shape.channels // 3 % self.heads != 0):
            raise Infeasible("heads must divide the number of channels")
        return shape.of(shape.channels // 3)

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002 (follows from the output)
        """Count the products of queries with keys and of scores with values; the number of heads does not matter."""
        if uniform(2.0 * out.elements * out.pixels > MOST_MACS):
            raise Infeasible(TOO_LARGE)
        return Cost(macs=2 * out.elements * out.pixels, activations=self.scores(out) + out.elements)

    def accessed(self, shape: Shape, out: Shape) -> Int:
        """Count the scores four times, because softmax reads and writes them as well."""
        return shape.elements + 4 * self.scores(out) + out.elements

    def working(self, shape: Shape, out: Shape) -> Int:  # noqa: ARG002 (follows from the output)
        """Count the scores."""
        return self.scores(out)

    def scores(self, out: Shape) -> Int:
        """Return the number of scores: one for each pair of tokens and each head."""
        return self.heads * out.pixels * out.pixels

    def source(self, shape: Shape) -> Call:  # noqa: ARG002 (the same for every shape)
        """Return a module that shows its products to fvcore, unlike torch's."""
        return call(_attended(), heads=self.heads)


@dataclass(frozen=True)
class TokenPool(Layer):
    """The class token, or the mean of all tokens."""

    pool: str
    kind = "token_pool"
    ends_maps = True

    @property
    def notation(self) -> str:
        """Which of them."""
        return "class token" if self.pool == "token" else "mean of tokens"

    def output(self, shape: Shape) -> Shape:
        """Return a single pixel."""
        return Shape(shape.channels, 1)

    def cost(self, shape: Shape, out: Shape) -> Cost:  # noqa: ARG002 (of the output only)
        """Count the output."""
        return Cost(activations=out.elements)

    def source(self, shape: Shape) -> Call:  # noqa: ARG002 (the same for every shape)
        """Return a module that torch lacks."""
        return call(_pooled(), pool=self.pool)


class VisionTransformer(Space):
    """A design point of the vision transformer family."""

    patch: Pixels = Field(16, description="height and width of a patch in pixels", examples=[4, 8])
    depth: Annotated[Int, Field(ge=1, le=1000)] = Field(12, description="encoder blocks", examples=[1, 2, 4])
    width: Filters = Field(768, description="channels of a token", examples=[12, 24, 48])
    heads: Annotated[Int, Field(ge=1, le=1000)] = Field(
        12, description="attention heads, which divide the width", examples=[1, 3, 4]
    )
    mlp_ratio: Multiplier = Field(4.0, description="hidden units of each MLP per channel", examples=[0.3, 1.0, 4.0])
    pool: Literal["token", "mean"] = Field(
        "token", description="input of the classifier: a class token, or the mean of all tokens"
    )
    dropout: Rate = Field(0.0, description="dropout rate after attention and after the MLP", examples=[0.0, 0.1])
    classes: Classes = Field(1000, description="number of classes", examples=[2, 10])
    input_size: Pixels = Field(224, description="image height and width in pixels", examples=[16, 32])

    name: ClassVar[str] = "vit"
    source: ClassVar[str] = "Dosovitskiy et al. 2020, arXiv:2010.11929"
    presets: ClassVar = {
        "b16": {},
        "b32": {"patch": 32},
        "s16": {"width": 384, "heads": 6},
        "ti16": {"width": 192, "heads": 3},
        "cifar": {
            "patch": 4,
            "depth": 4,
            "width": 32,
            "heads": 2,
            "mlp_ratio": 2.0,
            "pool": "mean",
            "classes": 10,
            "input_size": 32,
        },
    }
    published: ClassVar = {"b16": "ViT-B/16", "b32": "ViT-B/32", "s16": "ViT-S/16", "ti16": "ViT-Ti/16"}
    anchors: ClassVar = (
        Anchor("b16", 86_567_656, "torchvision's vit_b_16"),
        Anchor("b32", 88_224_232, "torchvision's vit_b_32"),
        Anchor("ti16", 5_717_416, "timm's vit_tiny_patch16_224"),
        Anchor("s16", 22_050_664, "timm's vit_small_patch16_224"),
    )

    impossible: ClassVar = (
        ("patch: must divide the image height and width", {"patch": 5}),
        ("attention: heads must divide the number of channels", {"heads": 5}),
    )

    def ranges(self) -> dict[str, Range]:
        """Vary depth, width and the hidden units."""
        heads = self.heads
        return {
            "depth": Range(1, 2 * self.depth),
            "width": Range(max(heads, self.width // 4 // heads * heads), 2 * self.width, heads),
            "mlp_ratio": Range(0.5, 4.0),
        }

    def expand(self) -> Network:
        """Chain the patches, the encoder blocks and the classifier."""
        if uniform(self.input_size % self.patch != 0):
            raise Infeasible("patch: must divide the image height and width")
        layers: dict[str, Layer] = {
            "patches": Conv(self.width, self.patch, self.patch),
            "embed": Embed(class_token=self.pool == "token"),
            "encoder": Repeat(self._block(), self.depth),
            "norm": LayerNorm(),
            "pool": TokenPool(self.pool),
            "classifier": FullyConnected(self.classes),
        }
        return Network(Shape(3, self.input_size), chain(**layers))

    def _block(self) -> Chain:
        drop: dict[str, Layer] = {"dropout": Dropout(self.dropout)} if uniform(self.dropout > 0) else {}
        attention = chain(
            norm=LayerNorm(),
            split=Linear(3 * self.width),
            attention=Attention(self.heads),
            project=Linear(self.width),
            **drop,
        )
        hidden = scaled(self.width, self.mlp_ratio)
        perceptron = chain(norm=LayerNorm(), expand=Linear(hidden), gelu=GELU(), project=Linear(self.width), **drop)
        return chain(attention=Residual(attention), perceptron=Residual(perceptron))

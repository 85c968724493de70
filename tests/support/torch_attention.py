"""Multi-head self-attention in torch, in all the ways in which code bases write it."""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """In one of the spellings of `ATTENTION`."""

    def __init__(self, spelling: str, dim: int, heads: int, bias: bool, dropout: float) -> None:
        super().__init__()
        if spelling == "hf":
            self.query, self.key, self.value = (nn.Linear(dim, dim, bias) for _ in range(3))
        else:
            self.qkv_proj = nn.Linear(dim, 3 * dim, bias)
        self.out_proj = nn.Linear(dim, dim, bias)
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.spelling = ATTENTION[spelling]
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.out_proj(self.spelling(self, x)))

    def heads_apart(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(3, B, h, N, d), unbound: as timm has it."""
        batch, tokens, _ = x.shape
        qkv = self.qkv_proj(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        return query, key, value

    def attend(self, scores: Tensor, value: Tensor) -> Tensor:
        y = torch.matmul(self.dropout(scores.softmax(dim=-1)), value)
        return y.transpose(1, 2).flatten(2)


def separate(self: Attention, x: Tensor) -> Tensor:
    """Hugging Face: three linear layers, the scores divided by √d."""
    parts = []
    for linear in (self.query, self.key, self.value):
        heads = linear(x).view(*x.shape[:-1], self.heads, -1)
        parts.append(heads.permute(0, 2, 1, 3))
    query, key, value = parts
    return self.attend(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), value)


def gather(self: Attention, x: Tensor) -> Tensor:
    """cvnets: one linear layer, parts taken by index, softmax in float."""
    batch, tokens, _ = x.shape
    qkv = self.qkv_proj(x).reshape(batch, tokens, 3, self.heads, -1).transpose(1, 3).contiguous()
    query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    scores = torch.matmul(query * self.scale, key.transpose(-1, -2))
    weights = scores.float().softmax(dim=-1).to(scores.dtype)
    y = torch.matmul(self.dropout(weights), value)
    return y.transpose(1, 2).reshape(batch, tokens, -1)


def chunks(self: Attention, x: Tensor) -> Tensor:
    """cvnets for mobile devices: every head by itself, cut out of the last axis."""
    query, key, value = torch.chunk(self.qkv_proj(x), 3, dim=-1)
    parts = (query * self.scale, key, value)
    heads = zip(*(torch.chunk(part, self.heads, dim=-1) for part in parts), strict=True)
    found = [
        self.dropout(torch.matmul(q, k.transpose(-1, -2)).softmax(dim=-1)) @ v for q, k, v in heads
    ]
    return torch.cat(found, dim=-1)


def sections(self: Attention, x: Tensor) -> Tensor:
    """The same with `split` in place of `chunk`, and the scale on the scores."""
    width = x.shape[-1] // self.heads
    query, key, value = self.qkv_proj(x).split(x.shape[-1], dim=-1)
    found = []
    for q, k, v in zip(*(part.split(width, -1) for part in (query, key, value)), strict=True):
        found.append(torch.softmax(q @ k.transpose(1, 2) * self.scale, -1) @ v)
    return torch.cat(found, -1)


def fused(self: Attention, x: Tensor) -> Tensor:
    """timm: torch's own attention."""
    query, key, value = self.heads_apart(x)
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def scale_query(self: Attention, x: Tensor) -> Tensor:
    """timm without torch's own: the scale on the query."""
    query, key, value = self.heads_apart(x)
    return self.attend(query * self.scale @ key.transpose(-2, -1), value)


def scale_both(self: Attention, x: Tensor) -> Tensor:
    query, key, value = self.heads_apart(x)
    root = math.sqrt(self.scale)
    return self.attend((query * root) @ (key * root).transpose(-2, -1), value)


def scale_scores(self: Attention, x: Tensor) -> Tensor:
    query, key, value = self.heads_apart(x)
    return self.attend(query @ key.transpose(-2, -1) * self.scale, value)


def divide_scores(self: Attention, x: Tensor) -> Tensor:
    query, key, value = self.heads_apart(x)
    return self.attend(query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]), value)


ATTENTION: dict[str, Callable[[Attention, Tensor], Tensor]] = {
    "hf": separate,
    "gather": gather,
    "chunks": chunks,
    "sections": sections,
    "fused": fused,
    "scale on q": scale_query,
    "scale on q and k": scale_both,
    "scale on the scores": scale_scores,
    "scores divided": divide_scores,
}

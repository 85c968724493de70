"""Blocks that no pattern knows, as they come out of single operators."""

from pathlib import Path

import numpy as np

from tests.support.operators import converted


def test_a_convnext_block_stays_in_nhwc(tmp_path: Path) -> None:
    """LayerNorm, linear layers of pixels and LayerScale (arXiv:2201.03545) around a sine."""
    found = converted(
        """
        a = Conv<group=8, pads=[3,3,3,3]>(x, k)  t = Transpose<perm=[0,2,3,1]>(a)
        b = LayerNormalization<axis=-1>(t, g, o) c = MatMul(b, w1)
        d = Sin(c)                               e = MatMul(d, w2)
        f = Mul(e, scale)                        h = Transpose<perm=[0,3,1,2]>(f)
        y = Add(x, h)
        """,
        tmp_path,
        k=(8, 1, 7, 7),
        g=(8,),
        o=(8,),
        w1=(8, 16),
        w2=(16, 8),
        scale=(8,),
    )
    assert found.transposes == 0
    assert "parameter(x, (8,), name=" in found.lines


def test_attention_in_shifted_windows_moves_data_to_the_windows_and_back(tmp_path: Path) -> None:
    """Swin's block (arXiv:2103.14030) with the mask of its windows; images of any number."""
    masks = np.where(np.eye(20) > 0, 0.0, -100.0) * np.tile([0, 1], 3).reshape(1, 6, 1, 1, 1)
    found = converted(
        """
        t = Transpose<perm=[0,2,3,1]>(x)
        r0 = Slice(t, none, two, one)    r1 = Slice(t, two, all, one)   r = Concat<axis=1>(r1, r0)
        p = Reshape(r, apart)            w = Transpose<perm=[0,1,3,2,4,5]>(p)
        s = Reshape(w, windows)          h0 = Reshape(s, heads)
        q = Transpose<perm=[0,2,1,3]>(h0)  k = Transpose<perm=[0,2,3,1]>(h0)
        m = MatMul(q, k)                 b = Add(m, bias)               i = Reshape(b, images)
        j = Add(i, mask)                 l = Reshape(j, scores)         n = Softmax<axis=-1>(l)
        o = MatMul(n, q)                 u = Transpose<perm=[0,2,1,3]>(o)
        v = Reshape(u, windows)          c = Reshape(v, rows)
        d = Transpose<perm=[0,1,3,2,4,5]>(c)  e = Reshape(d, whole)
        f = Transpose<perm=[0,3,1,2]>(e) y = Add(f, x)
        """,
        tmp_path,
        none=[0],
        one=[1],
        two=[2],
        all=[12],
        apart=[-1, 3, 4, 2, 5, 8],
        windows=[-1, 20, 8],
        heads=[-1, 20, 2, 4],
        bias=(1, 2, 20, 20),
        images=[-1, 6, 2, 20, 20],
        mask=masks,
        scores=[-1, 2, 20, 20],
        rows=[-1, 3, 2, 4, 5, 8],
        whole=[-1, 12, 10, 8],
    )
    assert found.transposes == 2
    assert "ops.roll(inputs, -2, axis=1)" in found.lines
    assert "trainable=False" in found.lines  # the mask


def test_what_is_alike_for_all_images_is_repeated_for_each_of_them(tmp_path: Path) -> None:
    """A learned query through layers, and only then as often as there are images."""
    found = converted(
        """
        n = LayerNormalization(query, gain, shift)  r = Relu(n)
        b = Shape<end=1>(x)  t = Concat<axis=0>(b, rest)  e = Expand(r, t)
        f = Reshape(x, flat)  y = MatMul(e, f)
        """,
        tmp_path,
        query=(1, 2, 8),
        gain=(8,),
        shift=(8,),
        rest=[2, 8],
        flat=[0, 8, -1],
    )
    assert "ops.ones_like(inputs[:, 0, 0, 0]" in found.lines

"""Pictures as PNG, for pages that load nothing; Pillow is no requirement of this package."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Colour = tuple[int, int, int]
PALETTE, RGB = 3, 2  # types of colour (ISO/IEC 15948, section 11.2.1)


def png_uri(pixels: Array, palette: Sequence[Colour] = ()) -> str:
    """A picture as a data: URI.

    Args:
        pixels: bytes (height, width, 3), or (height, width) of indices into the palette.
        palette: at most 256 colours.
    """
    height, width = pixels.shape[:2]
    kind = PALETTE if palette else RGB
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    lines = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # each line begins with its filter, none
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if palette:
        chunks.append((b"PLTE", bytes(part for colour in palette for part in colour)))
    chunks += [(b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"

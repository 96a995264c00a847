"""Convolution in NumPy, float64, one output pixel at a time, with its gradients."""

import numpy as np

BORDERS = {
    "zeros": lambda x, pads, fill: np.pad(x, pads, mode="constant", constant_values=fill),
    "reflect": lambda x, pads, fill: np.pad(x, pads, mode="reflect"),
    "symmetric": lambda x, pads, fill: np.pad(x, pads, mode="symmetric"),
    "replicate": lambda x, pads, fill: np.pad(x, pads, mode="edge"),
    "circular": lambda x, pads, fill: np.pad(x, pads, mode="wrap"),
}


def pads_of(padding, size, kernel_size, strides, dilation):
    if padding == "VALID":
        return [(0, 0), (0, 0)]
    if padding == "SAME":
        pads = []
        for n, k, s, d in zip(size, kernel_size, strides, dilation, strict=True):
            last_start = (int(np.ceil(n / s)) - 1) * s
            total = max(0, last_start + 1 + (k - 1) * d - n)
            pads.append((total // 2, total - total // 2))
        return pads
    return [(padding, padding)] * 2 if isinstance(padding, int) else list(padding)


def conv_reference(x, kernel, *, strides, padding, padding_mode, dilation, groups, cotangent=None):
    """The output and, for a cotangent of its shape, the gradients of x and of kernel."""
    strides, dilation = np.broadcast_to(strides, 2), np.broadcast_to(dilation, 2)
    (n, h, w, c), (kh, kw, c_group, c_out) = x.shape, kernel.shape
    pads = pads_of(padding, (h, w), (kh, kw), strides, dilation)
    # which pixel of the image each padded pixel shows; h * w stands for a zero
    index = BORDERS[padding_mode](np.arange(h * w).reshape(h, w), pads, h * w)
    pixels = np.concatenate([x.reshape(n, h * w, c), np.zeros((n, 1, c))], axis=1)
    out_h = len(range(0, index.shape[0] - (kh - 1) * dilation[0], strides[0]))
    out_w = len(range(0, index.shape[1] - (kw - 1) * dilation[1], strides[1]))
    y = np.zeros((n, out_h, out_w, c_out))
    cotangent = np.zeros_like(y) if cotangent is None else cotangent
    dpixels, dkernel = np.zeros_like(pixels), np.zeros_like(kernel)
    for i, j, g in np.ndindex(out_h, out_w, groups):
        rows = i * strides[0] + np.arange(kh) * dilation[0]
        columns = j * strides[1] + np.arange(kw) * dilation[1]
        seen = np.arange(n)[:, None, None], index[np.ix_(rows, columns)]
        ins = slice(g * c_group, (g + 1) * c_group)
        outs = slice(g * c_out // groups, (g + 1) * c_out // groups)
        window, weights, dy = pixels[:, :, ins][seen], kernel[..., outs], cotangent[:, i, j, outs]
        y[:, i, j, outs] = np.einsum("nabc,abco->no", window, weights)
        dkernel[..., outs] += np.einsum("nabc,no->abco", window, dy)
        np.add.at(dpixels[:, :, ins], seen, np.einsum("no,abco->nabc", dy, weights))
    return y, dpixels[:, :-1].reshape(x.shape), dkernel

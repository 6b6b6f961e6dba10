"""The recurrence x ← a x + b over frames, element by element."""

import numpy as np

from liquidvision.liquid.kernels.scalar import kernel


@kernel
def scan(decay, push, start, states):
    """Compute x_t = decay_t x_{t-1} + push_t.

    Args:
        decay, push: (batch, steps, n) real or complex.
        start: (batch, n), the states before the first frame.
        states: (batch, steps, n), filled with the results.
    """
    batch, steps, n = push.shape
    for b in range(batch):
        last = start[b]
        for t in range(steps):
            for j in range(n):
                states[b, t, j] = decay[b, t, j] * last[j] + push[b, t, j]
            last = states[b, t]


@kernel
def scan_backward(decay, states, start, by_states, by_decay, by_push, by_start):
    """The adjoint of `scan`, from the last frame to the first: g_t = by_t + conj(a_{t+1}) g_{t+1}.

    Args:
        decay, states, start: see `scan`.
        by_states: (batch, steps, n), the gradients with respect to the states.
        by_decay, by_push: (batch, steps, n), and by_start (batch, n), filled with the gradients.
    """
    batch, steps, n = by_states.shape
    for b in range(batch):
        g = by_start[b]
        g[:] = 0
        for t in range(steps - 1, -1, -1):
            before = states[b, t - 1] if t > 0 else start[b]
            for j in range(n):
                now = by_states[b, t, j] + g[j]
                by_push[b, t, j] = now
                by_decay[b, t, j] = now * np.conj(before[j])
                g[j] = now * np.conj(decay[b, t, j])

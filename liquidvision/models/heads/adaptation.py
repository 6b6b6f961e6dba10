"""Adaptation without labels: a head's standardisation follows what is lastingly different in a stream."""

import torch
from torch import Tensor, nn

PRIOR_SECONDS = 30.0  # how long a stream is assumed to have shown what training showed, before its first frame
TAU = 60.0  # seconds; time constant of the stream's statistics
LEAK = 300.0  # seconds; time constant with which they return to those of training
MAX_FRAME_SECONDS = 1.0  # a frame stands for at most this, however long ago the frame before it was
MAX_SHIFT = 2.0  # standard deviations
MIN_SPREAD, MAX_SPREAD = 0.5, 2.0
GATE = 0.3  # r.m.s. in standard deviations; a stream with a smaller unexplained shift is left as it is
GATE_WIDTH = 0.3  # share of it over which the gate opens
BLOCK_FRAMES = 64  # frames whose statistics are held in memory at once


class Adaptation(nn.Module):
    """Corrects the lasting shift and spread of a stream's embeddings and features, where training does not explain it.

    m and s are the running mean and standard deviation of the standardised embedding and features (x): they start as
    those of training (0 and 1) with the weight of 30 seconds, have a time constant of 60 seconds, and return to those
    of training with one of 300 seconds. The correction is

        x' = (x - g clip(m, ±2)) / (1 + g (clip(s, ½, 2) - 1))

    The gate g is 0 until the shift of the embedding that the classes do not explain has an r.m.s. of `gate`, and 1 from
    1.3 times that on. This unexplained shift is m less the mean of the classes' embeddings in training, weighted with
    the running mean of the probabilities that each frame alone gives them. So a stream that shows one class for long is
    not taken for a shifted one. With g = 0, x' equals x exactly.

    The state (batch, state_size) holds m, the mean of x² less 1, the mean probabilities, and the seconds beyond the
    first 30 that the statistics stand for, at most 30. New streams have zeros. A frame counts for the time since the
    frame before it; the first frame of a stream, or after a cut, does not count.

    Args:
        embedding: width of an embedding.
        features: width of the features.
        classes: number of classes.

    Attributes:
        gate: see above; above 0.
    """

    def __init__(self, embedding: int, features: int, classes: int) -> None:
        super().__init__()
        self.embedding, self.width, self.classes = embedding, embedding + features, classes
        self.state_size, self.gate = 2 * self.width + classes + 1, GATE
        self.class_means: Tensor  # of standardised embeddings in training
        self.register_buffer("class_means", torch.zeros(classes, embedding))

    def initial(self, batch: int) -> Tensor:
        """Return the state of `batch` new streams."""
        return self.class_means.new_zeros(batch, self.state_size)

    @torch.no_grad()
    def fit(self, z: Tensor, targets: Tensor) -> None:
        """Set the class means from standardised embeddings (n, embedding) and their classes (n,); -1: no class.

        A class without frames has the mean 0.
        """
        members = torch.nn.functional.one_hot(targets.clamp_min(0), self.classes).to(z) * (targets >= 0)[:, None]
        self.class_means.copy_(members.T @ z / members.sum(0).clamp_min(1)[:, None])

    def forward(
        self, z: Tensor, features: Tensor, probabilities: Tensor, dt: Tensor, counted: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update the statistics with frames, and return the frames corrected by them.

        Args:
            z: (batch, steps, embedding) standardised embeddings.
            features: (batch, steps, features) standardised features.
            probabilities: (batch, steps, classes) by each frame alone.
            dt: (batch, steps) seconds since the frame before; 0 leaves the state unchanged.
            counted: (batch, steps) bool, frames that count.
            state: (batch, state_size).

        Returns:
            Corrected embeddings, corrected features, and the new state.
        """
        keep = torch.exp(-dt / LEAK)[..., None]
        weights = torch.where(counted, dt.clamp_max(MAX_FRAME_SECONDS), 0.0)[..., None]
        mean, seconds = state[:, :-1], state[:, -1:]
        corrected: list[tuple[Tensor, Tensor]] = []
        for start in range(0, dt.shape[1], BLOCK_FRAMES):
            span = slice(start, start + BLOCK_FRAMES)
            x = torch.cat([z[:, span], features[:, span]], -1)
            observed = torch.cat([x, x * x - 1, probabilities[:, span]], -1)
            means = []
            for t in range(x.shape[1]):
                weight, kept = weights[:, start + t], keep[:, start + t]
                gain = weight / (PRIOR_SECONDS + seconds + weight)
                mean = (mean + gain * (observed[:, t] - mean)) * kept
                seconds = (seconds + weight).clamp_max(TAU - PRIOR_SECONDS)
                means.append(mean)
            corrected.append(self._correct(x, torch.stack(means, 1)))
        new_z, new_features = (torch.cat(parts, 1) for parts in zip(*corrected, strict=True))
        return new_z, new_features, torch.cat([mean, seconds], 1)

    def _correct(self, x: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return corrected embeddings and features of frames x (batch, steps, width), by the statistics after each."""
        mean, square = means[..., : self.width], means[..., self.width : 2 * self.width]
        spread = (1 + square - mean * mean).clamp(MIN_SPREAD**2, MAX_SPREAD**2).sqrt()
        gate = ((self.unexplained_shift(means) - self.gate) / (GATE_WIDTH * self.gate)).clamp(0, 1)[..., None]
        corrected = (x - gate * mean.clamp(-MAX_SHIFT, MAX_SHIFT)) / (1 + gate * (spread - 1))
        return corrected[..., : self.embedding], corrected[..., self.embedding :]

    def unexplained_shift(self, state: Tensor) -> Tensor:
        """Return the r.m.s. (...) of the shift that the classes do not explain, from states (..., state_size)."""
        shares = state[..., 2 * self.width : 2 * self.width + self.classes]
        return (state[..., : self.embedding] - shares @ self.class_means).square().mean(-1).sqrt()

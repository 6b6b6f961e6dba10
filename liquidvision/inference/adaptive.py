"""Skip the embedding of frames that add nothing new; the memory still steps at every frame, in true time."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.inference.session import Session, run_head
from liquidvision.video.frame import Frame

ADAPTIVE_BATCH = 16  # frames of a file that are decided on together
GRID_SIDE = 11  # cells along each side; large enough that a camera's noise averages out within one
# Differences of a cell's mean are in levels of 0 to 255.
MIN_LIMIT, MAX_LIMIT = 0.3, 3.0  # range of the difference up to which a frame is skipped
LIMIT_PER_LEAD = 30.0  # limit divided by the lead of the best label: less certain frames are embedded sooner
LARGE_CHANGE = 32.0  # frames that differ by more are embedded first, in one batch


class AdaptiveEmbedder:
    """Embed some frames of a stream and reuse their embeddings for frames that add nothing new.

    Each frame is averaged over a coarse grid. A frame between two embedded ones is assumed to lie on the line between
    their grids, and gets the embedding of one of the two: the nearer one more often. (Their mean would be smoother than
    the embedding of any real frame, and the memory would react to that.) Frames after the last embedded one get its
    embedding.

    Frames whose grid is further from that line than a limit are embedded, the worst between each two embedded frames
    first. Then a copy of the memory runs over the frames, and its scores set new limits: lower where the best label
    leads by less. This repeats until no frame exceeds its limit. A live stream usually has one frame at a time: it is
    embedded, or the last embedding is reused.

    The memory steps at every frame, by the true time, with the clock and gap policy of the session.

    Args:
        session: its memory and clock are copied, and do not change.

    Attributes:
        state: the head's state after all frames so far.
    """

    def __init__(self, session: Session) -> None:
        self._model = session.model
        state = session.state_dict()
        self.state = {key: state[key] for key in self._model.head.initial(1, adapt=session.adapt)}
        self._clock = session.clock.copy()
        self._std = torch.tensor(self._model.backbone.preprocessing.std).view(1, 3, 1, 1) * 255
        self._last: tuple[Tensor, Tensor] | None = None  # grid and embedding of the last embedded frame

    @torch.inference_mode()
    def embed(self, frames: Sequence[Frame], pixels: Tensor) -> tuple[Tensor, list[bool]]:
        """Return embeddings of the next frames, computed or reused.

        Args:
            frames: the next n frames of the stream.
            pixels: (n, 3, h, w) their network inputs.

        Returns:
            Embeddings (n, d), and for each frame whether it was embedded itself.
        """
        grids = functional.adaptive_avg_pool2d(pixels * self._std.to(pixels.device), GRID_SIDE)
        steps = [self._clock.tick(frame.time, frame.duration_seconds) for frame in frames]
        if self._last is None:
            values, offset = self._model.backbone(pixels[:1]), 0
        else:  # row 0 is the last embedded frame, before the new ones
            grids, values, offset = torch.cat([self._last[0], grids]), self._last[1], 1
        values = torch.cat([values, values.new_zeros(len(grids) - 1, values.shape[1])])
        embedded, limits = [0], torch.full((len(grids),), MAX_LIMIT, device=grids.device)
        new = large_changes(grids)
        while True:
            if new:
                values[new] = self._model.backbone(pixels[[i - offset for i in new]])
                embedded = sorted(embedded + new)
            before, after, position, distance = find_neighbours(grids, embedded)
            new = worst_frames(distance / limits, before)
            if not new:
                embeddings = values[assign_neighbours(before, after, position)][offset:]
                outputs, state = run_head(self._model.head, embeddings, steps, self.state)
                logits = torch.cat([out.logits[0] for out in outputs])
                limits[offset:] = difference_limits(self._model.task.scores(logits))
                new = worst_frames(distance / limits, before)
                if not new:
                    break
        self.state = state
        self._last = grids[embedded[-1] :][:1], values[embedded[-1] :][:1]
        return embeddings, [i + offset in embedded for i in range(len(frames))]


def grid_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return the largest difference over the cells of grids (n, 3, side, side), as (n,) values of 0 to 255."""
    return (a - b).abs().amax((-3, -2, -1))


def large_changes(grids: Tensor) -> list[int]:
    """Return frames whose grid differs by more than `LARGE_CHANGE` from the previous one returned, or frame 0."""
    found, last = [], 0
    for i in range(1, len(grids)):
        if float(grid_difference(grids[i], grids[last])) > LARGE_CHANGE:
            found.append(i)
            last = i
    return found


def find_neighbours(grids: Tensor, embedded: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compare each frame with the line between the embedded frames around it.

    Args:
        grids: (n, 3, side, side).
        embedded: sorted indices of the embedded frames, from 0.

    Returns:
        For each frame, (n,) each: the index of the embedded frame before it (itself, if embedded), the index of the one
        after it, its position between the two from 0 to 1, and the distance of its grid from the line. The position is
        0 at embedded frames and after the last one.
    """
    indices = torch.tensor(embedded)
    rank = torch.searchsorted(indices, torch.arange(len(grids)), right=True)
    before, after = indices[rank - 1], indices[rank.clamp(max=len(indices) - 1)]
    from_before, to_after = grid_difference(grids, grids[before]), grid_difference(grids, grids[after])
    between = (before != after).to(grids.device)
    position = torch.where(between, from_before / (from_before + to_after), 0.0).nan_to_num(0.0)
    line = torch.lerp(grids[before], grids[after], position[:, None, None, None])
    return before, after, position, grid_difference(grids, line)


def assign_neighbours(before: Tensor, after: Tensor, position: Tensor) -> Tensor:
    """Return for each frame the index of the embedded frame whose embedding it gets, (n,).

    `after` is chosen as often as the positions add up to, by error diffusion.
    """
    assigned, error = before.clone(), 0.0
    for i, part in enumerate(position.tolist()):
        error += part
        if error >= 0.5:
            assigned[i] = after[i]
            error -= 1
    return assigned


def difference_limits(scores: Tensor) -> Tensor:
    """Return the difference up to which a frame may be skipped, (n,), from its scores (n, classes)."""
    best = functional.pad(scores, (0, 1)).topk(2, -1).values  # padded, so that a single class has a lead
    return (LIMIT_PER_LEAD * (best[:, 0] - best[:, 1])).clamp(MIN_LIMIT, MAX_LIMIT)


def worst_frames(excess: Tensor, before: Tensor) -> list[int]:
    """Return the frame with the largest excess above 1 between each two embedded frames, if there is one."""
    found = []
    for start in before.unique().tolist():
        group = torch.where((before == start).to(excess.device), excess, 0.0)
        i = int(group.argmax())
        if group[i] > 1:
            found.append(i)
    return found

"""Skip frames that add nothing new: they are not embedded, and the memory steps over them in true time."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from liquidvision.inference.session import Session, run_head
from liquidvision.video.frame import Frame

ADAPTIVE_BATCH = 16  # frames of a file that are decided on together
GRID_SIDE = 11  # along each side; within one, the noise of a camera averages out
MIN_LIMIT, MAX_LIMIT = 0.3, 3.0  # of 255: how far one cell may be from what was assumed of the picture
LIMIT_PER_LEAD = 30.0  # of 255, times the lead of the label: what is all but undecided is looked at again
LARGE_CHANGE = 32.0  # of 255: pictures that have changed by so much are embedded together, before anything is assumed


class AdaptiveEmbedder:
    """Embed some frames of a stream and reuse their embeddings for the frames that add nothing new.

    Each frame is averaged over a coarse grid. A frame between two embedded ones is assumed to lie on the line between
    them, at the place where its grid puts it. It gets the embedding of one of the two, of the nearer one more often:
    their mean would be smoother than the embedding of any real frame, and the memory reacts to that. After the last
    embedded frame its embedding is kept.

    Frames whose grid is further from that line than a limit are embedded, the worst between each two embedded frames
    first. Then the memory is run on trial. Its scores set new limits, which are lower where the best label leads by
    less. This repeats until no frame exceeds its limit. A live stream mostly has one frame at a time: it is embedded,
    or the last embedding is kept.

    The memory steps at every frame, by the true time, with the clock and gap policy of the session.

    Args:
        session: its memory and clock are copied for the trials, and do not change.

    Attributes:
        state: of the head after the frames embedded so far.
    """

    def __init__(self, session: Session) -> None:
        self._model = session.model
        state = session.state_dict()
        self.state = {key: state[key] for key in self._model.head.initial(1)}
        self._clock = session.clock.copy()
        self._std = torch.tensor(self._model.backbone.preprocessing.std).view(1, 3, 1, 1) * 255
        self._last: tuple[Tensor, Tensor] | None = None  # grid and embedding of the picture that was embedded last

    @torch.inference_mode()
    def embed(self, frames: Sequence[Frame], pixels: Tensor) -> tuple[Tensor, list[bool]]:
        """Embeddings (n, d) of the next frames, whose network inputs are (n, 3, h, w); and which were embedded."""
        cells = functional.adaptive_avg_pool2d(pixels * self._std.to(pixels.device), GRID_SIDE)
        steps = [self._clock.tick(frame.time, frame.duration_seconds) for frame in frames]
        if self._last is None:
            values, old = self._model.backbone(pixels[:1]), 0
        else:  # the picture that was embedded last goes before the new ones
            cells, values, old = torch.cat([self._last[0], cells]), self._last[1], 1
        values = torch.cat([values, values.new_zeros(len(cells) - 1, values.shape[1])])
        seen, limit = [0], torch.full((len(cells),), MAX_LIMIT, device=cells.device)
        new = large_changes(cells)
        while True:
            if new:
                values[new] = self._model.backbone(pixels[[i - old for i in new]])
                seen = sorted(seen + new)
            low, high, share, off = neighbours(cells, seen)
            new = worst_frames(off / limit, low)
            if not new:
                assumed = values[assign_neighbours(low, high, share)][old:]
                outputs, state = run_head(self._model, assumed, steps, self.state)
                logits = torch.cat([out.logits[0] for out in outputs])
                limit[old:] = difference_limits(self._model.task.scores(logits))
                new = worst_frames(off / limit, low)
                if not new:
                    break
        self.state = state
        self._last = cells[seen[-1] :][:1], values[seen[-1] :][:1]
        return assumed, [i + old in seen for i in range(len(frames))]


def grid_difference(a: Tensor, b: Tensor) -> Tensor:
    """How far grids (n, 3, cells, cells) are from others, in their cell that is furthest, 0 to 255."""
    return (a - b).abs().amax((-3, -2, -1))


def large_changes(cells: Tensor) -> list[int]:
    """Indices of frames whose grid differs by more than `LARGE_CHANGE` from the last one listed, or from the first."""
    found, last = [], 0
    for i in range(1, len(cells)):
        if float(grid_difference(cells[i], cells[last])) > LARGE_CHANGE:
            found.append(i)
            last = i
    return found


def neighbours(cells: Tensor, seen: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each picture: which of `seen` come before and after it, how far on the way it is, and how far off the way.

    The way goes from the one's grid to the other's: 0 to 1. At each of `seen`, and after the last, it is 0.
    """
    at = torch.tensor(seen)
    place = torch.searchsorted(at, torch.arange(len(cells)), right=True)
    low, high = at[place - 1], at[place.clamp(max=len(at) - 1)]
    gone, to_go = grid_difference(cells, cells[low]), grid_difference(cells, cells[high])
    share = torch.where((low != high).to(gone.device), gone / (gone + to_go), 0.0).nan_to_num(0.0)
    return low, high, share, grid_difference(cells, torch.lerp(cells[low], cells[high], share[:, None, None, None]))


def assign_neighbours(low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    """Of each picture, which of the two stands for it: `high` as often as the shares of a way add up to."""
    taken, owed = low.clone(), 0.0
    for i, part in enumerate(share.tolist()):
        owed += part
        if owed >= 0.5:
            taken[i] = high[i]
            owed -= 1
    return taken


def difference_limits(scores: Tensor) -> Tensor:
    """How far pictures may be off, by the probabilities (n, classes) that the memory would give."""
    best = functional.pad(scores, (0, 1)).topk(2, -1).values  # of one class the lead is all there is
    return (LIMIT_PER_LEAD * (best[:, 0] - best[:, 1])).clamp(MIN_LIMIT, MAX_LIMIT)


def worst_frames(excess: Tensor, low: Tensor) -> list[int]:
    """The picture that is most over its limit, 1, of those between each two that were embedded."""
    found = []
    for start in low.unique().tolist():
        among = torch.where((low == start).to(excess.device), excess, 0.0)
        i = int(among.argmax())
        if among[i] > 1:
            found.append(i)
    return found

"""Let weights/actions restart at cuts: fit the limit to training clips, and measure what that brings.

    python tools/fit_actions_cuts.py --work WORK [-m actions] [-o weights/actions] [--save-json PATH]

The weights stay as they were trained; only the limit is new (liquidvision/models/heads/cuts.py). Clips of the
renderer's `train` split are embedded for it, and clips of its `test` split to measure it: each after the whole of
another one, with some of the frames of both left out, with and without restarts. Embeddings are kept in WORK, one file
a clip.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from liquidvision import LiquidHead, Model
from liquidvision.models.model import share_tensors
from tools.actions.clips import embed_clips, instants, read_clip
from tools.actions.fit import steps_between
from tools.bench_actions import RATE, SAMPLINGS
from tools.benchmark_results import Result, add_save_option, make_result, render_table, save_result
from tools.figures import ACTIONS

# The renderer makes no cuts within its clips. A limit that is exceeded more often costs more than it finds.
FALSE_ALARMS_PER_MINUTE = 0.1
SHARES = (0.0, 0.5, 0.75)  # of the frames that are left out
FIRST_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where embeddings are kept")
    parser.add_argument("-m", "--model", default="actions")
    parser.add_argument("-o", "--out", type=Path, default=Path("weights/actions"))
    parser.add_argument("--clips", type=int, default=220, help="training clips")
    parser.add_argument("--test-clips", type=int, default=60)
    add_save_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = Model.from_pretrained(options.model)
    if model.labels != ACTIONS or not isinstance(model.head, LiquidHead):
        parser.error(f"the labels of {options.model} are not the rendered actions")

    def train_times(seed: int) -> np.ndarray:
        return instants(seed, seconds=8.0, rate=25.0, jitter=0.5)

    def test_times(seed: int) -> np.ndarray:
        return SAMPLINGS["25 frames a second"](np.random.default_rng(seed))

    train = embed_clips(model.backbone, options.work, "train", "train", range(options.clips), train_times)
    test = embed_clips(model.backbone, options.work, "test25", "test", range(options.test_clips), test_times)
    head = with_restarts(model.head, train, model.first_dt)
    backward = None if model.backward_head is None else restarting(model.backward_head)
    if backward is not None:
        share_tensors(head, backward)
    card = (model.folder / "README.md").read_text(encoding="utf-8") if model.folder else ""
    sides = {"without restarts": restarting(model.head, on=False), "with restarts": head}
    result = measure(sides, [read_clip(path) for path in test], model.first_dt)
    save_result(options.save_json, result)
    new = Model(model.backbone, head, model.labels, name=model.name, first_dt=model.first_dt, backward_head=backward)
    new.save_pretrained(options.out, card=card)
    print(f"{render_table(result)}\n\nlimit {head.cuts.limit.tolist() if head.cuts else None}\nwritten: {options.out}")


def restarting(head: torch.nn.Module, *, on: bool = True) -> LiquidHead:
    """Return a head with the same weights, with or without restarts at cuts."""
    assert isinstance(head, LiquidHead)
    new = LiquidHead(replace(head.config, restart_at_cuts=on)).eval()
    weights = {name: value for name, value in head.state_dict().items() if on or not name.startswith("cuts.")}
    new.load_state_dict(weights, strict=False)
    return new


@torch.inference_mode()
def with_restarts(head: LiquidHead, clips: list[Path], first_dt: float) -> LiquidHead:
    """Return the head with a limit that the clips, of equal length, seldom exceed."""
    new = restarting(head)
    times, _, embeddings = (np.stack(part) for part in zip(*map(read_clip, clips), strict=True))
    z = (torch.from_numpy(embeddings).float() - new.mean) * new.inverse_std
    assert new.cuts is not None
    dts = steps_between(torch.from_numpy(times), first_dt)
    new.cuts.fit(z, dts, [z.shape[1]] * len(z), false_alarms=FALSE_ALARMS_PER_MINUTE)
    return new


@torch.inference_mode()
def measure(
    heads: dict[str, LiquidHead], clips: list[tuple[np.ndarray, np.ndarray, np.ndarray]], first_dt: float
) -> Result:
    """Return how many frames of clips after others are right, by head and share of frames left out."""
    columns = [
        {"key": "first", "title": f"first {FIRST_SECONDS:g} s after the cut", "digits": 1},
        {"key": "later", "title": "later", "digits": 1},
        {"key": "alone", "title": "first second, without the other clip", "digits": 1},
    ]
    rows = []
    for share in SHARES:
        right: dict[str, list[np.ndarray]] = {name: [] for name in heads}
        new: dict[str, list[np.ndarray]] = {name: [] for name in heads}
        after: list[np.ndarray] = []
        draw = np.random.default_rng(0)
        kept = [(t[keep], y[keep], x[keep]) for t, y, x in clips for keep in [draw.random(len(t)) >= share]]
        for number, (times, labels, values) in enumerate(kept):
            before = kept[number - 1]
            gap = 1 / (RATE * (1 - share))
            joined = np.concatenate([before[0] - before[0][-1] + times[0] - gap, times])
            xs = torch.from_numpy(np.concatenate([before[2], values])).float()[None]
            dts = steps_between(torch.from_numpy(joined)[None], first_dt)
            alone = steps_between(torch.from_numpy(times)[None], first_dt)
            after.append(times - times[0] < FIRST_SECONDS)
            for name, head in heads.items():
                said = head(xs, dts).logits[0, len(before[0]) :].argmax(-1).numpy()
                right[name].append(said == labels)
                new[name].append(head(xs[:, len(before[0]) :], alone).logits[0].argmax(-1).numpy() == labels)
        first = np.concatenate(after)
        for name in heads:
            own, of_new = np.concatenate(right[name]), np.concatenate(new[name])
            means = {"first": own[first], "later": own[~first], "alone": of_new[first]}
            title = name if not share else f"{name}, {share:.0%} of frames dropped"
            rows.append({"name": title, **{key: 100 * float(values.mean()) for key, values in means.items()}})
    title = f"The model actions on {len(clips)} rendered clips of 10 s, each after another: percent of frames right"
    return make_result(title, columns, rows)


if __name__ == "__main__":
    main()

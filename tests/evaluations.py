"""Synthetic evaluations for tests of the report."""

from typing import Any

import numpy as np

from liquidvision.metrics.classification import ClipScores, classification_metrics

POINTS = 400
STILL = "data:image/webp;base64,UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="
CURVES = {
    "drop": [(share, f"{share:.0%} of frames dropped") for share in (0.0, 0.25, 0.5, 0.75)],
    "rate": [(1 / n, "every frame" if n == 1 else f"one frame in {n}") for n in (1, 2, 3, 4)],
    "blackout": [(share, f"{share:.0%} of the time black, 0.4 s at a time") for share in (0.0, 0.1, 0.25, 0.5)],
    "noise": [(sigma, f"noise of {sigma:.0%} of the range") for sigma in (0.0, 0.05, 0.1, 0.2)],
    "blur": [(sigma, f"blur of {sigma:g} % of the shorter side") for sigma in (0.0, 1.0, 2.0, 4.0)],
    "dark": [(1 - gain, f"{gain:.0%} of the light") for gain in (1.0, 0.5, 0.25, 0.1)],
}
RIVALS = {
    "gated": ("liquid: LTC, gated equilibrium", 0.0),
    "gated reset": ("liquid: LTC, gated equilibrium, reset at every frame", -0.09),
    "cfc": ("liquid: CfC", 0.005),
    "gru": ("GRU", 0.01),
    "none": ("traces only, no cell", -0.03),
    "probe": ("linear probe of each frame", -0.16),
    "ema": ("probe, exponential moving average", -0.11),
    "pooled": ("linear probe of the mean embedding so far", 0.06),
}


def evaluation(
    labels: tuple[str, ...] = ("calm", "fight"),
    *,
    videos: int = 24,
    frames: int = 90,
    whole_clip: bool = True,
    background: str | None = None,
    full: bool = True,
    skill: tuple[float, float] = (1.5, 0.5),
    seed: int = 0,
) -> dict[str, Any]:
    """Return a plausible evaluation whose figures are measured on synthetic scores.

    Args:
        labels: of the model.
        videos: number of videos.
        frames: per video.
        whole_clip: whether one label holds for a whole clip; otherwise labels change.
        background: one of the labels.
        full: include robustness, comparison, training, timing and stills; otherwise only the required parts.
        skill: how far the true class stands out with memory, and by each frame alone.
        seed: of the random scores.
    """
    random = np.random.default_rng(seed)
    memory, alone = [], []
    for number in range(videos):
        times = np.cumsum(random.uniform(0.02, 0.06, frames))
        truth = np.full(frames, number % len(labels))
        if not whole_clip:
            for start in np.sort(random.integers(0, frames, 5)):
                truth[start:] = random.integers(len(labels))
        hard = random.normal(0, 0.8)
        noise = random.normal(0, 1.5, (frames, len(labels)))
        slow = np.stack([np.convolve(column, np.ones(15) / 4, "same") for column in noise.T], 1)
        for clips, logits, gain in ((memory, slow, skill[0]), (alone, noise, skill[1])):
            logits[np.arange(frames), truth] += gain + hard
            clips.append(ClipScores(truth, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), times))
    sides = {
        side: classification_metrics(clips, labels, background=background, whole_clip=whole_clip)
        for side, clips in (("memory", memory), ("frame", alone))
    }
    made: dict[str, Any] = {
        "format": "liquidvision-evaluation",
        "version": 1,
        "created": "2025-01-31T12:00:00+00:00",
        "liquidvision": "0.1.0",
        "model": {
            "name": "made-up",
            "cell": "gated",
            "backbone": "mobilenet_v2",
            "parameters": 54_321,
            "labels": list(labels),
        },
        "data": {
            "name": "clips",
            "part": "test",
            "videos": videos,
            "frames": videos * frames,
            "seconds": float(sum(clip.times[-1] - clip.times[0] for clip in memory)),
            "background": background,
            "notes": [],
        },
        "clip_accuracy": sides["memory"]["clip_accuracy"],
        **sides,
        "videos": [row(i, *pair, labels, whole_clip) for i, pair in enumerate(zip(memory, alone, strict=True))],
    }
    return made | extras(made, random) if full else made


def row(
    number: int, memory: ClipScores, alone: ClipScores, labels: tuple[str, ...], whole_clip: bool
) -> dict[str, Any]:
    """Return the row of a video."""
    places = np.unique(np.linspace(0, len(memory.truth) - 1, POINTS).round().astype(int))
    decided, by_frames = (int(side.clip_scores.argmax()) if whole_clip else None for side in (memory, alone))
    right = decided == memory.truth[0] if whole_clip else (memory.predicted == memory.truth).mean() >= 0.5
    return {
        "name": f"scene{number // 4}/clip{number:03}.mp4",
        "label": labels[memory.truth[0]] if whole_clip else None,
        "group": f"scene{number // 4}",
        "times": [round(float(time), 4) for time in memory.times[places]],
        "truth": memory.truth[places].tolist(),
        "memory": memory.predicted[places].tolist(),
        "frame": alone.predicted[places].tolist(),
        "score": [round(float(score), 4) for score in memory.scores.max(1)[places]],
        "right": bool(right),
        "clip_prediction": decided,
        "frame_clip_prediction": by_frames,
    }


def extras(made: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """Return the optional parts."""
    metric = "frame_accuracy" if made["clip_accuracy"] is None else "clip_accuracy"
    best, alone = made["memory"][metric], made["frame"][metric]
    robustness = {}
    for name, levels in CURVES.items():
        robustness[name] = []
        for place, (level, text) in enumerate(levels):
            loss = 0.03 * place**1.5
            point = {"level": level, "text": text, "memory": best - 0.6 * loss, "frame": alone - loss}
            if name in ("drop", "rate"):
                point["memory_without_dt"] = best - 1.5 * loss
            robustness[name].append({key: max(v, 0.0) if key != "text" else v for key, v in point.items()})
    rows = []
    for name, (text, gap) in RIVALS.items():
        mean, half = min(1.0, best + gap), 0.04
        rows.append(
            {
                "name": name,
                "text": text,
                "mean": mean,
                "mean_dropped": mean - 0.03,
                "mean_after": mean - 0.05,
                "mean_after_75": mean - 0.08,
                "stressed": {
                    test: {
                        "minus_reference": None
                        if name == "gated"
                        else {"mean": gap, "low": gap - 0.04, "high": gap + 0.04}
                    }
                    for test in ("dropped", "after", "after_75")
                },
                "low": mean - half,
                "high": min(1.0, mean + half),
                "sd_seeds": 0.006 if "probe" not in text else None,
                "minus_reference": None
                if name == "gated"
                else {"mean": mean - best, "low": mean - best - 0.03, "high": mean - best + 0.03},
                "parameters": 54_321 if "probe" not in text else None,
                "flips_per_minute": float(random.uniform(1, 30)),
                "frame_accuracy": mean - 0.02,
                "tuned": "τ = 0.8 s; τ = 1.6 s" if name == "ema" else None,
            }
        )
    epochs = list(range(1, 41))
    videos = sorted(made["videos"], key=lambda video: video["right"])
    for video in videos[:8]:
        video |= {"still": STILL, "still_time": 1.5, "still_prediction": 0, "still_score": 0.97}
    return {
        "data": made["data"]
        | {
            "skipped": [{"name": "broken.mp4", "error": "moov atom not found"}],
            "split_by": "group",
            "seen_in_training": 0,
        },
        "robustness_metric": metric,
        "robustness": robustness,
        "compare": {
            "metric": metric,
            "rows": rows,
            "seeds": 3,
            "folds": 5,
            "dropped": 0.75,
            "after": True,
            "stress_tests": {test: test for test in ("dropped", "after", "after_75")},
            "reference": "gated",
        },
        "training": {
            "epochs": epochs,
            "loss": [float(0.3 + 1.2 * np.exp(-e / 8) + random.normal(0, 0.01)) for e in epochs],
            "validation": [float(0.5 + np.exp(-e / 6) + 0.004 * e + random.normal(0, 0.02)) for e in epochs],
            "metric": "loss",
        },
        "timing": {"p50_ms": 11.4, "p95_ms": 14.9, "frames": 120, "device": "cpu", "threads": 4},
        "videos": videos,
    }

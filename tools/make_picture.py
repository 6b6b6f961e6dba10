"""Make docs/actions.webp, the moving picture at the top of the README: the bundled sample, compared.

python tools/make_picture.py [-o docs/actions.webp]
"""

import argparse
from pathlib import Path

from PIL import Image

from liquidvision import Model, Overlay, predict

SAMPLE = Path(__file__).parents[1] / "samples" / "actions.mp4"
SECONDS_A_PICTURE = 0.12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/actions.webp"))
    parser.add_argument("--width", type=int, default=560)
    options = parser.parse_args()
    overlay = Overlay(("label", "bars", "timeline"), top_k=3, compare=True)
    pictures, due = [], 0.0
    for frame, prediction in predict(SAMPLE, Model.from_pretrained("actions")):
        image = overlay.draw(frame.image, prediction)
        if frame.time >= due:
            height = round(options.width * image.shape[0] / image.shape[1])
            pictures.append(Image.fromarray(image).resize((options.width, height), Image.Resampling.LANCZOS))
            due += SECONDS_A_PICTURE
    options.out.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(
        options.out,
        save_all=True,
        append_images=pictures[1:],
        duration=round(SECONDS_A_PICTURE * 1000),
        loop=0,
        quality=55,
        method=6,
    )
    print(f"{options.out}: {len(pictures)} pictures, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

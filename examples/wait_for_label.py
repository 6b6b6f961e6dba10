"""Watch a camera until one label has held for half a second.

python examples/wait_for_label.py LABEL [SOURCE]    # SOURCE: 0 for the first camera, a URL, or a file
"""

import sys

import liquidvision as lv

HOLD = 0.5  # seconds
MAX_GAP = 1.0  # seconds without a frame after which nobody knows whether the label held

wanted = sys.argv[1] if len(sys.argv) > 1 else "walks right"
source = sys.argv[2] if len(sys.argv) > 2 else "samples/actions.mp4"
model = lv.Model.from_pretrained("actions")
held = None  # seconds for which the wanted label has held
for _, prediction in lv.predict(source, model):
    if prediction.label != wanted:
        held = None
    elif held is None or prediction.dt > MAX_GAP:
        held = 0.0
    else:
        held += prediction.dt  # 0 where the source's clock steps back
        if held >= HOLD:
            print(f"{wanted!r} has held for {held:.2f} s at {prediction.time:.2f} s")
            break
else:
    print(f"the source ended before {wanted!r} held for {HOLD} s")

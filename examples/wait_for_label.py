"""Watch a camera until one label has held for half a second.

python examples/wait_for_label.py LABEL [SOURCE]    # SOURCE: 0 for the first camera, a URL, or a file
"""

import sys

import liquidvision as lv

HOLD = 0.5  # seconds

wanted = sys.argv[1] if len(sys.argv) > 1 else "walks right"
source = sys.argv[2] if len(sys.argv) > 2 else "samples/actions.mp4"
model = lv.Model.from_pretrained("actions")
since = None  # when the wanted label began
for _, prediction in lv.predict(source, model):
    if prediction.label != wanted:
        since = None
    elif since is None:
        since = prediction.time
    elif prediction.time - since >= HOLD:
        print(f"{wanted!r} has held since {since:.2f} s")
        break
else:
    print(f"the source ended before {wanted!r} held for {HOLD} s")

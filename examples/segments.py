"""A feed that arrives in segments: save the memory after one, and load it before the next.

python examples/segments.py
"""

import liquidvision as lv

CLIP, STATE = "samples/actions.mp4", "memory.safetensors"

model = lv.Model.from_pretrained("actions")

session = lv.Session(model)
with lv.open_video(CLIP, stop=2.0) as segment:
    *_, (_, prediction) = lv.predict(segment, model, session=session)
session.save(STATE)
print(f"first segment ends at {prediction.time:.2f} s: {prediction.label}")

# Later, perhaps in another process.
session = lv.Session(model)
session.load(STATE)
with lv.open_video(CLIP, start=2.0, stop=4.0) as segment:
    for frame, prediction in lv.predict(segment, model, session=session):
        if frame.index == 0:
            print(f"the next one starts at {prediction.time:.2f} s: {prediction.label}")
print(f"and ends at {prediction.time:.2f} s: {prediction.label}")

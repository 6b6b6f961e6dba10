"""Two streams, one model: the model is shared, each stream has a memory of its own.

python examples/two_streams.py [SOURCE SOURCE]
"""

import sys
from itertools import islice

import liquidvision as lv

sources = sys.argv[1:3] if len(sys.argv) > 2 else ["samples/actions.mp4", "samples/actions_vfr.mp4"]
model = lv.Model.from_pretrained("actions")
streams = [lv.predict(source, model) for source in sources]  # each makes its own session
for (_, first), (_, second) in islice(zip(*streams, strict=False), 0, 100, 20):
    print(f"{first.time:5.2f} s {first.label:14}  |  {second.time:5.2f} s {second.label}")
for stream in streams:
    stream.close()  # closes the files and ends their reading threads

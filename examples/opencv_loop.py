"""Keep your own OpenCV loop, and push its pictures into a session, each with its time.

python examples/opencv_loop.py [CLIP]
"""

import sys
from fractions import Fraction
from itertools import count

import cv2

import liquidvision as lv

MILLISECOND = Fraction(1, 1000)

capture = cv2.VideoCapture(sys.argv[1] if len(sys.argv) > 1 else "samples/actions.mp4")
session = lv.Session(lv.Model.from_pretrained("actions"))
for index in count():
    ok, bgr = capture.read()
    if not ok or index == 100:
        break
    # The time is the source's own. For a camera without times, take time.monotonic() right after read().
    time = round(capture.get(cv2.CAP_PROP_POS_MSEC))
    prediction = session.push(lv.Frame(bgr[:, :, ::-1], index, time, MILLISECOND))
    if index % 25 == 0:
        print(f"{prediction.time:5.2f} s  {prediction.label}  {prediction.score:.0%}")
capture.release()

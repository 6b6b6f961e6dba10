"""Video frames: pixels at exact times, their readers and writers."""

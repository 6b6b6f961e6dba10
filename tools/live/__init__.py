"""A real RTSP server that stops and starts, for tools/try_outages.py."""

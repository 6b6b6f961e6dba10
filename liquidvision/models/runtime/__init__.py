"""Faster ways to run a backbone: OpenVINO on the CPU, CUDA graphs on a GPU."""

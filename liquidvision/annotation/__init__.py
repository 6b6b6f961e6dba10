"""Labelled intervals of videos, and the file formats that hold them."""

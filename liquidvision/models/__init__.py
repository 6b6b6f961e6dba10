"""Models: preprocessing, backbones, heads, and the folders that hold them."""

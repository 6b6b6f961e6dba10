"""The browser demo: a page, the server behind it, and teaching by showing."""

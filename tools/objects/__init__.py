"""Parts of the program that makes the bundled model `objects`."""

"""Programs that make and measure what the project ships."""

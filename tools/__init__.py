"""Programs that make and measure the bundled models, samples and benchmarks."""

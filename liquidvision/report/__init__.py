"""The parts of the report's page: words, charts, tables and timelines, and the template they are laid out by."""

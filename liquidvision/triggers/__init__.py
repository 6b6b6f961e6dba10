"""Rules over predictions, the events that they fire, and what is done with events."""

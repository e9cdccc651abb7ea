"""A model file, checked; and what a caller feeds it."""

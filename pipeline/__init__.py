"""The conductor of the stages: configuration, run directory, commands, report."""

"""This CPU: what it can do, and native code for it."""

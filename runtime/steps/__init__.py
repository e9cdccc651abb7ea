"""A unit of the plan, bound to a kernel."""

"""Transfer: the activity of one sequence applied to other images."""

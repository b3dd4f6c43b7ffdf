"""Tables and plots of a benchmark."""

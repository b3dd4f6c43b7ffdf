"""Running the cells of a benchmark."""

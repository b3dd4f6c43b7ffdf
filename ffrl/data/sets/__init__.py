"""Every data set, a file each: a ``DATA_SET`` that says what is known of it; what reads it is imported on demand."""

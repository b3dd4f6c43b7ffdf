"""The command line: parses arguments and calls; everything heavy is imported inside the commands."""

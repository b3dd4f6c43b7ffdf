"""Types of fields by name: every file here is one, by what its ``FIELDS`` makes of a configuration."""

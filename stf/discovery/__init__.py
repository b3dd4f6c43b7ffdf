"""The search for the fields: learnt on encoded sequences by expectation-maximisation, with moves between models."""

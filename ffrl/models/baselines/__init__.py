"""Other models of image sequences in the same harness: same encoder, decoder, trainer, data and evaluation."""

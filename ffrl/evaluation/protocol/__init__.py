"""What is measured on: which sequences, along which paths, for which kind of model."""

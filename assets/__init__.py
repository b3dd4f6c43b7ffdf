"""Files that come with the package: the first 10,000 MNIST digits (see README.md for their source and licence)."""

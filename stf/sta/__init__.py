"""Sparse transformation analysis as published (arXiv:2410.05564): a baseline, with all that it alone needs."""

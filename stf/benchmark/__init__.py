"""Grids of models, data sets and seeds, trained and measured cell by cell, as tables and plots."""

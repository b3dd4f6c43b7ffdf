"""Evaluation of trained models: pure functions of a model, held-out sequences and a seed; nothing here ever trains."""

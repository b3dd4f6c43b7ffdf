"""Flow-factorised representation learning: the core that all three modes share."""

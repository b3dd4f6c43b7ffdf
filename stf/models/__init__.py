"""Models that infer which fields act."""

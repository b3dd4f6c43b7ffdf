"""Figures of fields in latent space."""

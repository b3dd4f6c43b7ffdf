"""The flow of the latents: equation (1), its integrators and the change of density."""

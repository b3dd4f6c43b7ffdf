"""How latent codes hold the factors of a frame: known factors, and scores that are computed from matrices."""

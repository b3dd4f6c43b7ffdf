"""Fields in latent space: ridge functions, their potentials and the Hamilton-Jacobi residual."""

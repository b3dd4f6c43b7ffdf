"""Priors and likelihoods in closed form."""

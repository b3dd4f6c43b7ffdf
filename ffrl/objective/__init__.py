"""What is maximised: the evidence lower bound, and the bound of the paper."""

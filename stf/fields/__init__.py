"""Fields with a curl-free and a divergence-free part."""

"""How figures are drawn: style, rows of activity, animations."""

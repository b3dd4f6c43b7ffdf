"""One model of a table, and how it is written for a terminal, in HTML, Markdown and LaTeX."""

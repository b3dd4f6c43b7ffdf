"""How to come by the files of a data set."""

"""Dead letters: what there is, what is wrong with each, and sending them again after a fix."""

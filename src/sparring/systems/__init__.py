"""What is special to the systems of the paper: starting data, ground truth, and how good a committee is for them."""

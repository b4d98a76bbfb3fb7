"""Learning from the user's own traffic: labels, how they are made, and how what was learnt is put to use."""

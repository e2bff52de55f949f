"""PaiNN for a whole committee: sums over neighbours with derivatives that are written out."""

"""Which labels make a potential of copper right where nobody trained it: strained, melted, and at other surfaces."""

"""Energy barriers: minimum-energy paths between two minima."""

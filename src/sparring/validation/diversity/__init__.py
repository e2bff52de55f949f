"""How different the structures are that each way of sampling finds."""

"""How structures come in from files: what columns and header keys mean, which formats there are, what is refused."""

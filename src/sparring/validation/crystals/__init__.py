"""Parts that the validations of crystals share: crystals, surfaces of members and labels, tables, figures, files."""

"""Parts that all studies share: layout of the folder, jobs, merging of records, tables, figures, command line."""

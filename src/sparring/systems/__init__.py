"""Systems: all that is special to what is studied, as one value that a section of the configuration builds."""

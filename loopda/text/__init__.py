"""Text files, names of files, and strict YAML."""

"""The built-in data set: a procedural town, rendered by day and by night with true labels."""

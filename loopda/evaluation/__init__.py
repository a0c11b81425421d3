"""Prediction, confusion matrices and scores, and zips for the test server."""

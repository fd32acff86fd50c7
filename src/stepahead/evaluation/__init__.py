"""Recordings, prequential scoring, and its report."""

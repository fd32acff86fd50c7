"""The engine for programs: one reading at a time, or columns from NumPy and pandas."""

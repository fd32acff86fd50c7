"""The shared nouns and promises: errors, records, banks, settings. Imports nothing of ours."""

"""Feeds with a known best answer, CSV playback and the embedded broker. The package never imports this."""

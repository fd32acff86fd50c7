"""Payload decoders: bytes and topic to columns."""

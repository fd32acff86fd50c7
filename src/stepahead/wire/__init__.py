"""MQTT client, topics and payload formats: the only room that knows MQTT."""

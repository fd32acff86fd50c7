"""What a forecast looks like on the wire: JSON, columns, SenML, line protocol, Sparkplug B, a template."""

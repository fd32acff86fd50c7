"""The live page: it is handed a read-only view of the service, and asks nobody else."""

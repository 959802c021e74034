"""Poolward: PgBouncer in front of a PostgreSQL that runs out of connections; planned, proved, reversible."""

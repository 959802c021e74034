"""The test lab: real systemd hosts as containers, sample services on them, and the incident on demand."""

"""What cutovers and rollbacks did, told from their journals: events in, records and text out. Pure."""

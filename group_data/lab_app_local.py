"""The lab's wishes with a pooler on each application host: the same services, each behind that of its own host."""

from group_data.lab import *  # noqa: F403
from group_data.lab import services as _declared

pgbouncer_topology = "app-local"
pgbouncer_settings = {}
services = [{word: said for word, said in service.items() if word != "pooler"} for service in _declared]

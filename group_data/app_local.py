"""What is wanted where the poolers stand on the application hosts: production's words, but for where things run."""

from group_data.prod import *  # noqa: F403
from group_data.prod import services as _declared

pgbouncer_topology = "app-local"

# Each service's pooler is that of its own host.
services = [{word: said for word, said in service.items() if word != "pooler"} for service in _declared]

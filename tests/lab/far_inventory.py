"""Services in containers of the Docker host, poolers and database on others: addresses are translated between."""

from lab.inventory import lab_hosts

databases = lab_hosts("databases")
poolers = lab_hosts("poolers")
apps = lab_hosts("docker")

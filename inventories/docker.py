"""The lab's Docker host (`python -m lab up --with dock1`): PostgreSQL, the services and PgBouncer as containers."""

from lab.inventory import lab_hosts

databases = lab_hosts("docker")
poolers = lab_hosts("docker")
apps = lab_hosts("docker")

"""The test lab with a pooler on each application host; group_data/lab_app_local.py says what is wanted of them."""

from lab.inventory import lab_hosts

databases = lab_hosts("databases")
apps = lab_hosts("apps")

# The same hosts in another part: what is said of a host in several groups is put together. The services of app1 use
# the Unix socket of its pooler, those of app2 127.0.0.1.
poolers = [("app1", {"pgbouncer_settings": {"listen_addr": ""}}), ("app2", {})]

import logging

from pyinfra import config, state

from poolward import hostless
from poolward.deploys import connecting

# pyinfra reads this file from the directory it is started in. One failing host stops the whole run:
# without this line `pyinfra -y` carries on with the other hosts. Only a rollback begins without what it does not need.
config.FAIL_PERCENT = 0
state.should_raise_failed_hosts = connecting.failed_hosts_end_the_run
# A database that is known by its connection string alone has no host to connect to.
state.init = hostless.initialised(state)
config.CONNECT_TIMEOUT = 10
config.REQUIRE_PYINFRA_VERSION = "~=3.10"

# pyinfra says in one line why a host cannot be reached; paramiko prints a traceback behind it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

from pyinfra import config

# pyinfra reads this file from the directory it is started in. One failing host stops the whole run:
# without this line `pyinfra -y` carries on with the other hosts.
config.FAIL_PERCENT = 0
config.CONNECT_TIMEOUT = 10
config.REQUIRE_PYINFRA_VERSION = "~=3.10"

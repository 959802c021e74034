# pyinfra -y inventories/prod.py deploy/pgbouncer.py
from poolward.deploys.pgbouncer import pgbouncer

pgbouncer()

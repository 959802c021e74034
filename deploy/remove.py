# pyinfra -y inventories/prod.py deploy/remove.py: the way back from deploy/pgbouncer.py
from poolward.deploys.remove import remove

remove()

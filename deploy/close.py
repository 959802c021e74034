# pyinfra -y inventories/prod.py deploy/close.py [--data only=worker,cron]: nobody goes past the pooler any more
from poolward.deploys.direct_path import close

close()

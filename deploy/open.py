# pyinfra -y inventories/prod.py deploy/open.py [--data only=worker,cron]: the way back from deploy/close.py
from poolward.deploys.direct_path import open_again

open_again()

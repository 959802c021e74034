# pyinfra -y inventories/prod.py deploy/cutover.py [--data only=worker,cron] [--data pause_after=1] [--data soak=60]
from poolward.deploys.cutover import cutover

cutover()

# pyinfra -y inventories/prod.py deploy/rollback.py [--data only=worker,cron]: services back to their direct connections
from poolward.deploys.cutover import rollback

rollback()

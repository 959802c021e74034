# pyinfra -y inventories/prod.py deploy/verify.py: changes nothing
from poolward.deploys.verify import verify

verify()

# Wait until a command that changes a service has ended, whoever gave it.
# variables: patience (seconds)
alone "$patience"

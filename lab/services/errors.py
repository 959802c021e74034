"""What a sample service has seen fail since it started, by SQLSTATE, as JSON: `errors.py PORT`."""

import json
import sys
import urllib.error
import urllib.request

try:
    body = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health", timeout=2).read()
except urllib.error.HTTPError as unhealthy:
    body = unhealthy.read()
print(json.dumps(json.loads(body)["failed"]))

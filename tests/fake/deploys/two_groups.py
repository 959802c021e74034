import os

from pyinfra import host
from pyinfra.operations import server

from poolward.operations import stage

if "databases" in host.groups:
    server.shell(name="database 1", commands="true")
    server.shell(name="database 2", commands="true")
    server.shell(name="database 3", commands="true")
if os.environ.get("POOLWARD_STAGE"):
    stage.complete(name="stage")
if "poolers" in host.groups:
    server.shell(name="pooler 1", commands="true")
    server.shell(name="pooler 2", commands="true")

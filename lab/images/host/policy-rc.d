#!/bin/sh
# While an image is built, no package starts its daemon. Hosts do not have this file.
exit 101

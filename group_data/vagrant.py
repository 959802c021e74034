"""The Vagrant machines are the lab's hosts, so the same is wanted of them."""

# pyinfra drops what is imported by name, and keeps what comes with a star.
from group_data.lab import *  # noqa: F403

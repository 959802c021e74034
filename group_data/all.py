"""What holds for every host of every inventory."""

# Operators log in as themselves and become root by sudo. Whoever logs in as root sets this to False.
_sudo = True

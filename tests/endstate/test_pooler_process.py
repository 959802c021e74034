"""Process, listeners and what lies beside the configuration of every pooler, whichever way it runs."""

from __future__ import annotations

import re

from tests.endstate.fleet import Pooler

CONFIG, USERLIST = "/etc/pgbouncer", "/etc/pgbouncer/userlist.txt"


def test_no_throwaway_process_is_left(pooler: Pooler):
    processes = pooler.host.process.filter(comm="pgbouncer")
    assert processes
    assert [process.args for process in processes if "trial" in process.args] == []


def test_running_process_may_open_what_it_may_need(pooler: Pooler):
    limits = pooler.host.check_output("cat /proc/%s/limits", str(pooler.pid))
    soft = int(re.search(r"^Max open files +(\d+)", limits, re.MULTILINE)[1])
    servers = sum(int(row["max_connections"]) for row in pooler.served.values())
    assert soft >= int(pooler.running["max_client_conn"]) + servers


def test_userlist_holds_whom_it_should_and_nobody_else(pooler: Pooler):
    # names only: the secrets stay on the host
    names = pooler.host.check_output('sed -n \'s/^"\\([^"]*\\)" ".*/\\1/p\' %s', USERLIST).splitlines()
    assert sorted(names) == sorted(pooler.userlist)


def test_nothing_of_an_unfinished_run_is_left(pooler: Pooler):
    leftovers = "find %s -name '.poolward' -o -name '*.part'; find /run -maxdepth 1 -name 'poolward.*'"
    assert pooler.host.check_output(leftovers, CONFIG) == ""


def test_it_listens_where_the_inventory_says(pooler: Pooler):
    for address in pooler.listen_addresses:
        # PgBouncer binds * twice, once per family, where the host has both
        bound = "0.0.0.0" if address == "*" else address
        assert f"tcp://{bound}:{pooler.port}" in pooler.listening
    assert f"unix://{pooler.socket_directory}/.s.PGSQL.{pooler.port}" in pooler.listening

"""Package, unit, process, files and listeners of every pooler host."""

from __future__ import annotations

import re

from tests.endstate.fleet import Pooler

CONFIG, INI, USERLIST = "/etc/pgbouncer", "/etc/pgbouncer/pgbouncer.ini", "/etc/pgbouncer/userlist.txt"
DROP_IN = "/etc/systemd/system/pgbouncer.service.d/poolward.conf"


def test_package_is_installed_new_enough_and_held(pooler: Pooler):
    package = pooler.host.package("pgbouncer")
    assert package.is_installed
    assert tuple(int(part) for part in package.version.split("-")[0].split(".")) >= (1, 18)
    assert "pgbouncer" in pooler.host.check_output("apt-mark showhold").split()


def test_running_binary_is_the_installed_one(pooler: Pooler):
    assert pooler.version >= (1, 18)
    assert pooler.host.package("pgbouncer").version.startswith(".".join(map(str, pooler.version)))


def test_service_is_enabled_and_running_from_the_unit_on_disk(pooler: Pooler):
    service = pooler.host.service("pgbouncer")
    assert service.is_enabled
    assert service.is_running
    assert DROP_IN in pooler.unit("DropInPaths").split()
    assert pooler.unit("NeedDaemonReload") == "no"


def test_no_throwaway_process_is_left(pooler: Pooler):
    processes = pooler.host.process.filter(comm="pgbouncer")
    assert processes
    assert [process.args for process in processes if "trial" in process.args] == []


def test_running_process_may_open_what_it_may_need(pooler: Pooler):
    limits = pooler.host.check_output("cat /proc/%s/limits", pooler.unit("MainPID"))
    soft = int(re.search(r"^Max open files +(\d+)", limits, re.MULTILINE)[1])
    servers = sum(int(row["max_connections"]) for row in pooler.served.values())
    assert soft >= int(pooler.running["max_client_conn"]) + servers


def test_configuration_belongs_to_root_and_only_the_service_reads_it(pooler: Pooler):
    assert not pooler.host.file(CONFIG).mode & 0o022
    found = pooler.host.check_output("stat -c '%%n %%U:%%G %%a' %s %s %s", INI, USERLIST, DROP_IN).splitlines()
    assert found == [f"{INI} root:postgres 640", f"{USERLIST} root:postgres 640", f"{DROP_IN} root:root 644"]


def test_no_file_beside_the_configuration_is_open_to_others(pooler: Pooler):
    assert pooler.host.check_output("find %s -type f -perm /026", CONFIG) == ""


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

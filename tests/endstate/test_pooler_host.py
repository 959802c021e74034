"""Package, unit and files of every pooler host that runs PgBouncer from Debian's package."""

from __future__ import annotations

from tests.endstate.fleet import Pooler

RUNTIME = "package"
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


def test_the_services_of_its_own_host_start_after_it_and_stop_before_it(pooler: Pooler):
    assert pooler.own_units <= set(pooler.unit("Before").split())


def test_configuration_belongs_to_root_and_only_the_service_reads_it(pooler: Pooler):
    assert not pooler.host.file(CONFIG).mode & 0o022
    found = pooler.host.check_output("stat -c '%%n %%U:%%G %%a' %s %s %s", INI, USERLIST, DROP_IN).splitlines()
    assert found == [f"{INI} root:postgres 640", f"{USERLIST} root:postgres 640", f"{DROP_IN} root:root 644"]


def test_no_file_beside_the_configuration_is_open_to_others(pooler: Pooler):
    assert pooler.host.check_output("find %s -type f -perm /026", CONFIG) == ""

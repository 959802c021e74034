"""The lab's hosts as Vagrant machines (see Vagrantfile); group_data/vagrant.py says what is wanted of them."""

from lab.vagrant import vagrant_hosts

databases = vagrant_hosts("databases")
poolers = vagrant_hosts("poolers")
apps = vagrant_hosts("apps")

# variables: port
file=$(PGCONNECT_TIMEOUT=5 runuser -u postgres -- psql -X -qAt -v ON_ERROR_STOP=1 -p "$port" -d postgres -c 'SHOW hba_file')
section hba
indented <"$file"
section end

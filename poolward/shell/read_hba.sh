# variables: port
file=$(ask postgres -c 'SHOW hba_file')
section hba
indented <"$file"
section end

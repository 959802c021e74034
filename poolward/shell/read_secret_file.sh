# variables: name (of a file of the configuration that holds secrets)
section text
[ ! -f "$config_dir/$name" ] || indented <"$config_dir/$name"
section end

# Lead standard input and output to a Unix socket as a service's own user, who may be the only one its directory lets in
# and whom the pooler may ask for (peer). A + comes first, once it is connected. perl-base is on every Debian.
# variables: unit (whose user it is; empty for root), path
user=root
if [ -n "$unit" ]; then
    pid=$(systemctl show "$unit" -p MainPID --value)
    [ "$pid" = 0 ] || user=$(stat -c %U "/proc/$pid")
fi
command -v perl >/dev/null || fail "there is no perl on this host, which Debian's package perl-base has"
exec runuser -u "$user" -- perl -MIO::Socket::UNIX -MIO::Select -e '
    my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "$ARGV[0]: $!\n";
    my $both = IO::Select->new(\*STDIN, $socket);
    syswrite(STDOUT, "+");
    while (1) {
        for my $from ($both->can_read) {
            sysread($from, my $bytes, 65536) or exit;
            my $to = $from == $socket ? \*STDOUT : $socket;
            while (length $bytes) {
                my $written = syswrite($to, $bytes) or exit;
                substr($bytes, 0, $written, "");
            }
        }
    }' "$path"

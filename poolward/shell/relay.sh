# relay COMMAND... -- PATH | ADDRESS PORT: lead standard input and output to a Unix socket or a TCP port, opened by what the
# command in front makes of this process (another user, another network). A + comes first, once it is connected.
relay() {
    command -v perl >/dev/null || fail "there is no perl on this host, which Debian's package perl-base has"
    prefix=
    while [ "$1" != -- ]; do
        prefix="$prefix '$(printf '%s' "$1" | sed "s/'/'\\\\''/g")'"
        shift
    done
    shift
    eval "exec $prefix -- perl -MIO::Socket::IP -MIO::Socket::UNIX -MIO::Select -e \"\$relay\" \"\$@\""
}
# shellcheck disable=SC2016 - perl
relay='
    my $socket = @ARGV == 1 ? IO::Socket::UNIX->new(Peer => $ARGV[0])
        : IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5);
    $socket or die "@ARGV: $!\n";
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
    }'
